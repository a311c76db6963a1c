"""Clauses and weighted sums over 0/1 variables, one for each operator and variant, and helpers.

A literal is a variable's number, negative for its negation, as in the DIMACS format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdse.search.demands import Demand, known_costs
from tdse.search.problem import Floats, Ints, Longs, Problem
from tdse.search.through import possible_variants

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


class Formula:
    """The variables of a problem, and constraints over them.

    Attributes:
        problem: the placement problem.
        n_variables: they are numbered from 1 on, first those of ``on``.
        constraints: in the order in which they were stated.
        devices: the variants of each device.
        memories: the variants of the devices of each memory.
        costs: ``known_costs``.
        possible: ``possible_variants``.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n_variables = problem.n_ops * problem.n_variants
        self.constraints: list[Constraint] = []
        self.devices = _members(problem.variant_device, problem.n_devices)
        memory = problem.device_memory[problem.variant_device]
        self.memories = _members(memory, problem.n_memories)
        self.costs = known_costs(problem)
        self.possible = possible_variants(problem)
        self._groups: dict[tuple[int, tuple[int, ...]], int] = {}

    def on(self, op: int, variant: int) -> int:
        """The literal of an operator that runs as a variant."""
        return op * self.problem.n_variants + variant + 1

    def among(self, op: int, variants: tuple[int, ...]) -> int:
        """The literal of an operator that runs as one of some variants."""
        if len(variants) == 1:
            return self.on(op, variants[0])
        key = (op, variants)
        if key not in self._groups:
            group = self._groups[key] = self.variable()
            for variant in range(self.problem.n_variants):
                one = self.on(op, variant)
                self.clause((-one, group if variant in variants else -group))
        return self._groups[key]

    def variable(self) -> int:
        """A new variable."""
        self.n_variables += 1
        return self.n_variables

    def clause(self, literals: tuple[int, ...], *demands: Demand) -> None:
        """States that one of the literals is true."""
        self.constraints.append(Clause(literals, demands))

    def sum(
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
        least = np.where(self.possible, weights, highest).min(axis=1, keepdims=True)
        weights = np.maximum(weights - least, 0)
        room = limit + slack - least.sum()
        if weights.max(axis=1).sum() <= room:
            return
        self.weigh(weights.ravel(), range(1, weights.size + 1), room, demands)

    def weigh(
        self,
        weights: Floats | Longs,
        literals: Sequence[int],
        limit: float,
        demands: tuple[Demand, ...],
    ) -> None:
        """Weights that add up to no more than a limit, as whole numbers, rounded down."""
        if limit < 0 or not weights.any():
            self.clause((), *demands)
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


def _members(home: Ints, count: int) -> list[tuple[int, ...]]:
    """The indices that are at home in each of ``count`` places."""
    return [tuple(np.flatnonzero(home == place).tolist()) for place in range(count)]
