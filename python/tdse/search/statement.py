"""What makes a placement valid, as a formula.

What does not depend on time is stated exactly: a placement keeps to it if and only if there are
cuts with which its regions do. Of deadlines, periods, the energy budget and the memories' sizes
only what is necessary is stated, as the rest depends on the schedule: what is excluded is never
valid, what is allowed may still break one of those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from tdse.search.buses import Buses
from tdse.search.demands import Demand, Kind, no_way
from tdse.search.formula import Formula, Sum
from tdse.search.limits import state_limits
from tdse.search.problem import Problem


class Statement(Formula):
    """The formula of all that a problem demands; some of it is only added by ``refine``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._buses = Buses(self)
        self._state()

    def refine(self, variants: Sequence[int], is_demanded: Callable[[Demand], bool]) -> bool:
        """States what a placement breaks of the rules that are not stated from the start.

        Those are that a single region is connected, that constants of very many bytes fit, and that
        buses keep up with the models' rates. Few placements break them, and all that could be said
        about them is much.

        Args:
            variants: of each operator; keeps to all that was stated before.
            is_demanded: says whether a demand counts.

        Returns:
            It breaks a rule.
        """
        problem, n_known = self.problem, len(self.constraints)
        for variant in np.flatnonzero(problem.single_region).tolist():
            if is_demanded(Demand(Kind.SINGLE_REGION, variant)):
                self._connect(variant, variants)
        for device in range(problem.n_devices):
            if is_demanded(Demand(Kind.PARAMETERS, device)):
                self._refuse_overfull(device, variants)
        models = range(problem.n_models)
        timed = [model for model in models if is_demanded(Demand(Kind.PERIOD, model))]
        self._buses.refine(variants, timed)
        return len(self.constraints) > n_known

    def _state(self) -> None:
        problem = self.problem
        for op in range(problem.n_ops):
            row = tuple(self.on(op, variant) for variant in range(problem.n_variants))
            self.clause(row)
            self.constraints.append(Sum((1,) * len(row), row, 1))
        self._state_choices()
        for index, (one, other) in enumerate(problem.forbidden_pairs.tolist()):
            for variants in self.devices:
                apart = (-self.among(one, variants), -self.among(other, variants))
                self.clause(apart, Demand(Kind.FORBIDDEN_PAIR, index))
        self._state_links()
        self._state_regions()
        state_limits(self)

    def _state_choices(self) -> None:
        problem = self.problem
        for op in range(problem.n_ops):
            for variant in np.flatnonzero(np.isinf(problem.cost_us[op])).tolist():
                self.clause((-self.on(op, variant),), Demand(Kind.LEGALITY, op))
            if (pin := int(problem.pins[op])) >= 0:
                self.clause((self.on(op, pin),), Demand(Kind.PIN, op))
            if (device := int(problem.device_pins[op])) >= 0:
                there = self.among(op, self.devices[device])
                self.clause((there,), Demand(Kind.DEVICE_PIN, op))
        for u, v in problem.links:
            for variant in np.flatnonzero(problem.prefix).tolist():
                before = (-self.on(v, variant), self.on(u, variant))
                self.clause(before, Demand(Kind.PREFIX, variant))

    def _state_links(self) -> None:
        problem = self.problem
        blocked = [(int(a), int(b)) for a, b in np.argwhere(no_way(problem))]
        host = int(problem.device_memory[0])
        pairs = {(value.producer, op) for value in problem.values for op in value.consumers}
        makers = sorted({value.producer for value in problem.values if value.is_output})
        for source, target in blocked:
            demand = Demand(Kind.NO_LINK, source * problem.n_memories + target)
            for producer, consumer in sorted(pairs):
                reads = -self.among(consumer, self.memories[target])
                if producer >= 0:
                    made = -self.among(producer, self.memories[source])
                    self.clause((made, reads), demand)
                elif source == host:
                    self.clause((reads,), demand)
            for op in makers if target == host else ():
                self.clause((-self.among(op, self.memories[source]),), demand)

    def _state_regions(self) -> None:
        """Single regions are convex, and do not wait for each other in a circle.

        A helper says of an operator that it comes after a region that it is not in. Nothing that
        does may be in that region. Another single region that holds such an operator comes after
        the region as a whole.
        """
        problem, singles = self.problem, np.flatnonzero(self.problem.single_region).tolist()
        waits = {(one, other): self.variable() for one in singles for other in singles}
        for single in singles:
            demand = Demand(Kind.SINGLE_REGION, single)
            after = [self.variable() for _ in range(problem.n_ops)]
            for u, v in problem.links:
                self.clause((-self.on(u, single), self.on(v, single), after[v]), demand)
                self.clause((-after[u], after[v]), demand)
            for op in range(problem.n_ops):
                self.clause((-after[op], -self.on(op, single)), demand)
                for other in singles:
                    if other != single:
                        late = (-after[op], -self.on(op, other), waits[single, other])
                        self.clause(late, demand, Demand(Kind.SINGLE_REGION, other))
        for one in singles:
            for other in singles:
                both = tuple(Demand(Kind.SINGLE_REGION, s) for s in (one, other))
                if one < other:
                    self.clause((-waits[one, other], -waits[other, one]), *both)
                for last in singles:
                    if len({one, other, last}) == 3:
                        through = (-waits[one, other], -waits[other, last], waits[one, last])
                        self.clause(through, *both, Demand(Kind.SINGLE_REGION, last))

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
            self.clause((*apart, *joins), Demand(Kind.SINGLE_REGION, variant))

    def _refuse_overfull(self, device: int, variants: Sequence[int]) -> None:
        """Says that not all of a device's operators stay if their constants do not fit.

        The weights of very large constants are rounded down in the sum.
        """
        here = [op for op, v in enumerate(variants) if v in self.devices[device]]
        held = sum(int(self.problem.parameter_bytes[op]) for op in here)
        if held > self.problem.parameter_capacity_bytes[device]:
            away = (-self.among(op, self.devices[device]) for op in here)
            self.clause(tuple(away), Demand(Kind.PARAMETERS, device))


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
