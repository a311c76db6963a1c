"""Buses that carry no more than they have time for, if the models keep up their rates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tdse.search.demands import Demand, Kind, no_way
from tdse.search.formula import Formula
from tdse.search.limits import TOLERANCE


class _Transfer(NamedTuple):
    """A tensor's way over a bus: made by an operator in a memory, read by others in another.

    The host stands as -1 among the operators.
    """

    share: float
    producer: int
    readers: tuple[int, ...]
    source: int
    target: int


class Buses:
    """The buses of a formula's problem. Each is only stated once a placement overloads it."""

    def __init__(self, formula: Formula) -> None:
        self._formula = formula
        self._known: dict[tuple[int, tuple[int, ...]], list[_Transfer]] = {}
        self._stated: set[tuple[int, tuple[int, ...]]] = set()

    def refine(self, variants: Sequence[int], models: Collection[int]) -> None:
        """States the buses that a placement overloads.

        Args:
            variants: of each operator.
            models: those that must keep up their rates.
        """
        problem = self._formula.problem
        timed = tuple(model for model in models if np.isfinite(problem.period_us[model]))
        for bus in range(problem.n_buses if timed else 0):
            key = (bus, timed)
            if key not in self._known:
                self._known[key] = list(self._transfers(bus, timed))
            if key not in self._stated and self._share(self._known[key], variants) > 1 + TOLERANCE:
                self._stated.add(key)
                self._state(self._known[key], [Demand(Kind.PERIOD, model) for model in timed])

    def _transfers(self, bus: int, models: Sequence[int]) -> Iterator[_Transfer]:
        problem = self._formula.problem
        on_bus = (problem.link_bus == bus) & ~no_way(problem)
        pairs = [(source, target) for source, target in np.argwhere(on_bus) if source != target]
        timed = np.isin(np.arange(problem.n_models), models)
        periods_us = np.where(timed, problem.period_us, np.inf)[problem.model_of]
        for value in problem.values:
            ends = (value.producer, *value.consumers) if value.producer >= 0 else value.consumers
            # Which of the models that share an input has it carried depends on the schedule.
            period_us = float(periods_us[list(ends)].max())
            readers = (*value.consumers, -1) if value.is_output else value.consumers
            for pair in pairs:
                time_us = float(problem.link_latency_us[pair])
                time_us += float(problem.link_us_per_byte[pair]) * value.size_bytes
                if time_us / period_us > 0:
                    source, target = map(int, pair)
                    yield _Transfer(time_us / period_us, value.producer, readers, source, target)

    def _share(self, transfers: Sequence[_Transfer], variants: Sequence[int]) -> float:
        """The share of its time that a bus is busy."""
        problem = self._formula.problem
        home = problem.device_memory[problem.variant_device[list(variants)]].tolist()
        # The last is the host's, which stands for -1.
        home.append(int(problem.device_memory[0]))
        return sum(
            one.share
            for one in transfers
            if home[one.producer] == one.source
            and any(home[op] == one.target for op in one.readers)
        )

    def _state(self, transfers: Sequence[_Transfer], demands: Sequence[Demand]) -> None:
        """The transfers on a bus take no more than all of its time."""
        formula = self._formula
        carried, shares = [], []
        for one in transfers:
            made = self._in_memory(one.producer, one.source)
            read = [self._in_memory(op, one.target) for op in one.readers]
            if made is None or all(there is None for there in read):
                continue
            carried.append(formula.variable())
            shares.append(one.share)
            for there in read:
                if there is not None:
                    away = (-literal for literal in made + there)
                    formula.clause((*away, carried[-1]), *demands)
        formula.weigh(np.array(shares), carried, 1.0 + TOLERANCE, tuple(demands))

    def _in_memory(self, op: int, memory: int) -> tuple[int, ...] | None:
        """The literal of an operator that is in a memory; of the host none, or None for never."""
        if op >= 0:
            return (self._formula.among(op, self._formula.memories[memory]),)
        return () if memory == self._formula.problem.device_memory[0] else None
