"""What makes a placement valid, as clauses and weighted sums over 0/1 variables.

There is a variable for each operator and variant, and helpers. What does not depend on time is
stated exactly: a placement keeps to it if and only if there are cuts with which its regions do.
Of deadlines, periods, the energy budget and the memories' sizes only what is necessary is stated,
as the rest depends on the schedule: what is excluded is never valid, what is allowed may still
break one of those.

A literal is a variable's number, negative for its negation, as in the DIMACS format.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tdse.search.through import least_through_us, possible_variants
from tdse.search.demands import Demand, Kind, known_costs, no_way
from tdse.search.problem import Floats, Ints, Longs, Problem

# The evaluation adds floating-point numbers; what is above a limit by less may be rounding.
_TOLERANCE = 1e-9
# Z3 takes weights of 32 bits; their sum must fit as well.
_MOST = 2**29


@dataclass(frozen=True)
class Clause:
    """At least one of the literals is true, as long as all of the demands are made."""

    literals: tuple[int, ...]
    demands: tuple[Demand, ...] = ()


@dataclass(frozen=True)
class Sum:
    """The weights of the true literals add up to the limit at most, as long as demanded.

    Attributes:
        weights: positive.
        literals: as many.
        limit: may be negative, so that nothing keeps to it.
        demands: none if it always holds.
    """

    weights: tuple[int, ...]
    literals: tuple[int, ...]
    limit: int
    demands: tuple[Demand, ...] = ()


Constraint = Clause | Sum


class Statement:
    """The variables of a problem, and the constraints over them.

    Attributes:
        problem: the placement problem.
        n_variables: they are numbered from 1 on, first those of ``on``.
        constraints: in the order in which they were stated; some are added by ``refine``.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n_variables = problem.n_ops * problem.n_variants
        self.constraints: list[Constraint] = []
        self._groups: dict[tuple[int, tuple[int, ...]], int] = {}
        timed = np.flatnonzero(np.isfinite(problem.period_us)).tolist()
        self._timed = tuple(Demand(Kind.PERIOD, model) for model in timed)
        self._free_buses = {
            bus: list(self._transfers(bus)) for bus in (range(problem.n_buses) if timed else ())
        }
        self._devices = _members(problem.variant_device, problem.n_devices)
        memory = problem.device_memory[problem.variant_device]
        self._memories = _members(memory, problem.n_memories)
        self._costs = known_costs(problem)
        self._possible = possible_variants(problem)
        self._through_us = least_through_us(problem)
        self._state()

    def on(self, op: int, variant: int) -> int:
        """The literal of an operator that runs as a variant."""
        return op * self.problem.n_variants + variant + 1

    def refine(self, variants: Sequence[int]) -> bool:
        """States what a placement breaks of the rules that are not stated from the start.

        Those are that a single region is connected, that constants of very many bytes fit, and that
        buses keep up with the models' rates. Few placements break them, and all that could be said
        about them is much.

        Args:
            variants: of each operator; keeps to all that was stated before.

        Returns:
            It breaks a rule.
        """
        known = len(self.constraints)
        for variant in np.flatnonzero(self.problem.single_region).tolist():
            self._connect(variant, variants)
        for device in range(self.problem.n_devices):
            self._refuse_overfull(device, variants)
        for bus, transfers in list(self._free_buses.items()):
            if self._share(transfers, variants) > 1 + _TOLERANCE:
                self._state_bus(self._free_buses.pop(bus))
        return len(self.constraints) > known

    def _state(self) -> None:
        problem = self.problem
        for op in range(problem.n_ops):
            row = tuple(self.on(op, variant) for variant in range(problem.n_variants))
            self._clause(row)
            self.constraints.append(Sum((1,) * len(row), row, 1))
        self._state_choices()
        for index, (one, other) in enumerate(problem.forbidden_pairs.tolist()):
            for variants in self._devices:
                apart = (-self._among(one, variants), -self._among(other, variants))
                self._clause(apart, Demand(Kind.FORBIDDEN_PAIR, index))
        self._state_links()
        self._state_regions()
        self._state_sizes()
        self._state_times()

    def _state_choices(self) -> None:
        problem = self.problem
        for op in range(problem.n_ops):
            for variant in np.flatnonzero(np.isinf(problem.cost_us[op])).tolist():
                self._clause((-self.on(op, variant),), Demand(Kind.LEGALITY, op))
            if (pin := int(problem.pins[op])) >= 0:
                self._clause((self.on(op, pin),), Demand(Kind.PIN, op))
            if (device := int(problem.device_pins[op])) >= 0:
                there = self._among(op, self._devices[device])
                self._clause((there,), Demand(Kind.DEVICE_PIN, op))
        for u, v in problem.links:
            for variant in np.flatnonzero(problem.prefix).tolist():
                before = (-self.on(v, variant), self.on(u, variant))
                self._clause(before, Demand(Kind.PREFIX, variant))

    def _state_links(self) -> None:
        problem = self.problem
        blocked = [(int(a), int(b)) for a, b in np.argwhere(no_way(problem))]
        host = int(problem.device_memory[0])
        pairs = {(value.producer, op) for value in problem.values for op in value.consumers}
        makers = sorted({value.producer for value in problem.values if value.is_output})
        for source, target in blocked:
            demand = Demand(Kind.NO_LINK, source * problem.n_memories + target)
            for producer, consumer in sorted(pairs):
                reads = -self._among(consumer, self._memories[target])
                if producer >= 0:
                    made = -self._among(producer, self._memories[source])
                    self._clause((made, reads), demand)
                elif source == host:
                    self._clause((reads,), demand)
            for op in makers if target == host else ():
                self._clause((-self._among(op, self._memories[source]),), demand)

    def _state_regions(self) -> None:
        """Single regions are convex, and do not wait for each other in a circle.

        A helper says of an operator that it comes after a region that it is not in. Nothing that
        does may be in that region. Another single region that holds such an operator comes after
        the region as a whole.
        """
        problem, singles = self.problem, np.flatnonzero(self.problem.single_region).tolist()
        waits = {(one, other): self._variable() for one in singles for other in singles}
        for single in singles:
            demand = Demand(Kind.SINGLE_REGION, single)
            after = [self._variable() for _ in range(problem.n_ops)]
            for u, v in problem.links:
                self._clause((-self.on(u, single), self.on(v, single), after[v]), demand)
                self._clause((-after[u], after[v]), demand)
            for op in range(problem.n_ops):
                self._clause((-after[op], -self.on(op, single)), demand)
                for other in singles:
                    if other != single:
                        late = (-after[op], -self.on(op, other), waits[single, other])
                        self._clause(late, demand, Demand(Kind.SINGLE_REGION, other))
        for one in singles:
            for other in singles:
                both = tuple(Demand(Kind.SINGLE_REGION, s) for s in (one, other))
                if one < other:
                    self._clause((-waits[one, other], -waits[other, one]), *both)
                for last in singles:
                    if len({one, other, last}) == 3:
                        through = (-waits[one, other], -waits[other, last], waits[one, last])
                        self._clause(through, *both, Demand(Kind.SINGLE_REGION, last))

    def _state_sizes(self) -> None:
        """Constants fit on devices and in memories, there beside what an operator handles."""
        problem = self.problem
        sizes = np.repeat(problem.parameter_bytes[:, None], problem.n_variants, axis=1)
        for device, variants in enumerate(self._devices):
            limit = float(problem.parameter_capacity_bytes[device])
            self._sum(sizes, variants, limit, Demand(Kind.PARAMETERS, device))
        handled = problem.parameter_bytes.astype(np.float64)
        for value in problem.values:
            for op in {value.producer, *value.consumers} - {-1}:
                handled[op] += value.size_bytes
        # The inputs are in the host's memory as well.
        given = [0] * problem.n_memories
        given[int(problem.device_memory[0])] = sum(one.size_bytes for one in problem.input_flows)
        for memory, variants in enumerate(self._memories):
            limit = float(problem.memory_bytes[memory])
            demand = Demand(Kind.MEMORY, memory)
            self._sum(sizes, variants, limit - given[memory], demand)
            for op in np.flatnonzero(handled > limit).tolist():
                self._clause((-self._among(op, variants),), demand)
        self._state_total(sizes, given)

    def _state_total(self, sizes: Longs, given: Sequence[int]) -> None:
        """All constants, and those outside each memory, fit where they may be.

        This follows from the limits of the devices and memories, but a solver that looks at one of
        them at a time takes very long to see it.
        """
        problem = self.problem
        rooms, asked = [], []
        for memory, limit in enumerate(problem.memory_bytes.tolist()):
            devices = np.flatnonzero(problem.device_memory == memory).tolist()
            capacity = float(problem.parameter_capacity_bytes[devices].sum())
            rooms.append(min(limit - given[memory], capacity))
            if limit - given[memory] <= capacity:
                asked.append([Demand(Kind.MEMORY, memory)])
            else:
                asked.append([Demand(Kind.PARAMETERS, device) for device in devices])
        for left_out in range(-1, problem.n_memories):
            others = [memory for memory in range(problem.n_memories) if memory != left_out]
            variants = [variant for memory in others for variant in self._memories[memory]]
            demands = [demand for memory in others for demand in asked[memory]]
            self._sum(sizes, variants, sum(rooms[memory] for memory in others), *demands)

    def _state_times(self) -> None:
        problem = self.problem
        makespan_us = max(self._through_us.min(axis=1).tolist(), default=0.0)
        budget_uj = problem.energy_budget_uj - float(problem.idle_w.sum()) * makespan_us
        every = tuple(range(problem.n_variants))
        energy_uj = problem.energy_uj + problem.active_w * self._costs
        slack_uj = _TOLERANCE * abs(problem.energy_budget_uj)
        self._sum(energy_uj, every, budget_uj, Demand(Kind.ENERGY, 0), slack=slack_uj)
        self._state_deadlines()
        rates = self._rates()
        for demands in dict.fromkeys([*((one,) for one in self._timed), self._timed]):
            models = [one.index for one in demands]
            share = np.where(np.isin(problem.model_of, models)[:, None], rates, 0.0)
            self._sum_devices(share, 1.0, demands)

    def _state_deadlines(self) -> None:
        """No way through a model is too long, and no device has too much to do until then."""
        problem = self.problem
        cores = problem.device_cores[problem.variant_device]
        busy_us = self._costs * problem.variant_cores / cores
        limits = problem.deadline_us
        for model in np.flatnonzero(np.isfinite(limits)).tolist():
            limit_us, ours = float(limits[model]), problem.model_of == model
            late = self._possible & (self._through_us > limit_us * (1 + _TOLERANCE))
            for op, variant in np.argwhere(late & ours[:, None]).tolist():
                self._clause((-self.on(op, variant),), Demand(Kind.DEADLINE, model))
            if ours.any():
                self._state_path(model)
            earlier = np.flatnonzero(limits <= limit_us).tolist()
            for models in dict.fromkeys([(model,), tuple(earlier)]):
                work_us = np.where(np.isin(problem.model_of, models)[:, None], busy_us, 0.0)
                demands = [Demand(Kind.DEADLINE, one) for one in models]
                self._sum_devices(work_us, limit_us, demands)

    def _sum_devices(self, loads: Floats, limit: float, demands: Sequence[Demand]) -> None:
        """No device has a load above the limit; and all together, which the solver would miss."""
        slack = _TOLERANCE * limit
        for variants in self._devices:
            self._sum(loads, variants, limit, *demands, slack=slack)
        n_devices, every = self.problem.n_devices, range(self.problem.n_variants)
        self._sum(loads, every, n_devices * limit, *demands, slack=n_devices * slack)

    def _state_path(self, model: int) -> None:
        """The operators on the longest way through a model, by their least times, take no longer.

        They follow one another, whatever they run as.
        """
        problem = self.problem
        least_us = np.where(self._possible, self._costs, np.inf).min(axis=1)
        until_us, before = least_us.copy(), np.full(problem.n_ops, -1)
        for u, v in problem.links:
            if until_us[u] + least_us[v] > until_us[v]:
                until_us[v], before[v] = until_us[u] + least_us[v], u
        op = int(np.where(problem.model_of == model, until_us, -1.0).argmax())
        on_path = np.zeros((problem.n_ops, 1), bool)
        while op >= 0:
            on_path[op], op = True, int(before[op])
        limit_us = float(problem.deadline_us[model])
        path_us = np.where(on_path, self._costs, 0.0)
        every = tuple(range(problem.n_variants))
        slack_us = _TOLERANCE * limit_us
        self._sum(path_us, every, limit_us, Demand(Kind.DEADLINE, model), slack=slack_us)

    def _rates(self) -> Floats:
        """What of its device an operator needs to keep up with its model, [n_ops, n_variants]."""
        problem = self.problem
        device = problem.variant_device
        slots = problem.device_cores[device] // problem.variant_cores
        # The slots of a device slow each other down; those of other variants may be more.
        factor = 1.0 + (problem.slowdown[device, device] - 1.0) * (slots - 1)
        shares: Floats = self._costs * (factor / (slots * problem.variant_batch))
        return shares / problem.period_us[problem.model_of][:, None]

    def _connect(self, variant: int, variants: Sequence[int]) -> None:
        """If the region of a variant is in parts, says that one of the operators around joins."""
        problem = self.problem
        near: dict[int, set[int]] = {op: set() for op, v in enumerate(variants) if v == variant}
        around: dict[int, set[int]] = {op: set() for op in near}
        for u, v in problem.links:
            for op, other in ((u, v), (v, u)):
                if op in near:
                    (near if other in near else around)[op].add(other)
        parts = _components(near)
        for part, another in zip(parts, parts[1:] + parts[:1], strict=True) if parts[1:] else ():
            apart = (-self.on(min(part), variant), -self.on(min(another), variant))
            border = sorted({op for inside in part for op in around[inside]})
            joins = (self.on(op, variant) for op in border)
            self._clause((*apart, *joins), Demand(Kind.SINGLE_REGION, variant))

    def _refuse_overfull(self, device: int, variants: Sequence[int]) -> None:
        """Says that not all of a device's operators stay if their constants do not fit.

        The weights of very large constants are rounded down in the sum.
        """
        here = [op for op, v in enumerate(variants) if v in self._devices[device]]
        held = sum(int(self.problem.parameter_bytes[op]) for op in here)
        if held > self.problem.parameter_capacity_bytes[device]:
            away = (-self._among(op, self._devices[device]) for op in here)
            self._clause(tuple(away), Demand(Kind.PARAMETERS, device))

    def _transfers(self, bus: int) -> Iterator[_Transfer]:
        problem = self.problem
        on_bus = (problem.link_bus == bus) & ~no_way(problem)
        pairs = [(source, target) for source, target in np.argwhere(on_bus) if source != target]
        for value in problem.values:
            ends = (value.producer, *value.consumers) if value.producer >= 0 else value.consumers
            period_us = float(problem.period_us[problem.model_of[list(ends)]].max())
            readers = (*value.consumers, -1) if value.is_output else value.consumers
            for pair in pairs:
                time_us = float(problem.link_latency_us[pair])
                time_us += float(problem.link_us_per_byte[pair]) * value.size_bytes
                if time_us / period_us > 0:
                    source, target = map(int, pair)
                    yield _Transfer(time_us / period_us, value.producer, readers, source, target)

    def _share(self, transfers: Sequence[_Transfer], variants: Sequence[int]) -> float:
        """The share of its time that a bus is busy."""
        memory = self.problem.device_memory
        home = memory[self.problem.variant_device[list(variants)]].tolist()
        # The last is the host's, which stands for -1.
        home.append(int(memory[0]))
        return sum(
            one.share
            for one in transfers
            if home[one.producer] == one.source
            and any(home[op] == one.target for op in one.readers)
        )

    def _state_bus(self, transfers: Sequence[_Transfer]) -> None:
        """The transfers on a bus take no more than all of its time."""
        carried, shares = [], []
        for one in transfers:
            made = self._in_memory(one.producer, one.source)
            read = [self._in_memory(op, one.target) for op in one.readers]
            if made is None or all(there is None for there in read):
                continue
            carried.append(self._variable())
            shares.append(one.share)
            for there in read:
                if there is not None:
                    away = tuple(-literal for literal in made + there)
                    self._clause((*away, carried[-1]), *self._timed)
        self._weigh(np.array(shares), carried, 1.0 + _TOLERANCE, self._timed)

    def _in_memory(self, op: int, memory: int) -> tuple[int, ...] | None:
        """The literal of an operator that is in a memory; of the host none, or None for never."""
        if op >= 0:
            return (self._among(op, self._memories[memory]),)
        return () if memory == self.problem.device_memory[0] else None

    def _among(self, op: int, variants: tuple[int, ...]) -> int:
        """The literal of an operator that runs as one of some variants."""
        if len(variants) == 1:
            return self.on(op, variants[0])
        key = (op, variants)
        if key not in self._groups:
            group = self._groups[key] = self._variable()
            for variant in range(self.problem.n_variants):
                one = self.on(op, variant)
                self._clause((-one, group if variant in variants else -group))
        return self._groups[key]

    def _variable(self) -> int:
        self.n_variables += 1
        return self.n_variables

    def _clause(self, literals: tuple[int, ...], *demands: Demand) -> None:
        self.constraints.append(Clause(literals, demands))

    def _sum(
        self,
        weights: Floats | Longs,
        variants: Sequence[int],
        limit: float,
        *demands: Demand,
        slack: float = 0.0,
    ) -> None:
        """What operators weigh, if they run as some of the variants, is no more than a limit.

        What an operator weighs at least, whatever it may run as, is taken off on both sides.

        Args:
            weights: [n_ops, n_variants], not negative.
            variants: those that count.
            limit: inf for none.
            demands: all of what asks for it.
            slack: by how much rounding may lead beyond the limit.
        """
        if math.isinf(limit):
            return
        counted = np.isin(np.arange(self.problem.n_variants), variants)
        weights = np.where(counted, weights, np.zeros_like(weights))
        highest = np.iinfo(np.int64).max if weights.dtype == np.int64 else np.inf
        least = np.where(self._possible, weights, highest).min(axis=1, keepdims=True)
        weights = np.maximum(weights - least, 0)
        room = limit + slack - least.sum()
        if weights.max(axis=1).sum() <= room:
            return
        self._weigh(weights.ravel(), range(1, weights.size + 1), room, demands)

    def _weigh(
        self,
        weights: Floats | Longs,
        literals: Sequence[int],
        limit: float,
        demands: tuple[Demand, ...],
    ) -> None:
        """Weights that add up to no more than a limit, as whole numbers, rounded down."""
        if limit < 0 or not weights.any():
            self._clause((), *demands)
            return
        if weights.dtype == np.int64:
            divisor = -(-int(weights.sum()) // _MOST) or 1
            whole, room = weights // divisor, math.floor(limit) // divisor
        else:
            scale = _MOST / float(weights.sum())
            whole, room = np.floor(weights * scale).astype(np.int64), math.floor(limit * scale)
        kept = np.flatnonzero(whole)
        self.constraints.append(
            Sum(
                tuple(whole[kept].tolist()),
                tuple(literals[index] for index in kept.tolist()),
                room,
                demands,
            )
        )


class _Transfer(NamedTuple):
    """A tensor's way over a bus: made by an operator in a memory, read by others in another.

    The host stands as -1 among the operators.
    """

    share: float
    producer: int
    readers: tuple[int, ...]
    source: int
    target: int


def _members(home: Ints, count: int) -> list[tuple[int, ...]]:
    """The indices that are at home in each of ``count`` places."""
    return [tuple(np.flatnonzero(home == place).tolist()) for place in range(count)]


def _components(near: Mapping[int, Collection[int]]) -> list[set[int]]:
    """The connected components of a graph, given by each node's neighbours."""
    left, parts = set(near), []
    while left:
        part: set[int] = set()
        stack = [min(left)]
        while stack:
            op = stack.pop()
            if op not in part:
                part.add(op)
                stack += near[op]
        left -= part
        parts.append(part)
    return parts
