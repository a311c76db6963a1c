"""Placements with fractions of operators, as columns and rows of a linear program.

Each operator is spread over its variants. Linked operators that are spread differently pay for the
borders and launches of that difference. Every placement is a point of the program, and its work
there is no more than it is: the same operators, no more borders and no more launches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tdse.search.gates import Neighbours, Stretch, ways_of
from tdse.search.linear import LinearProgram
from tdse.search.problem import Flow, Problem

# Limits that users give are loosened by this much: the solver's tolerance must not refuse what
# just keeps to them.
LOOSE = 1 + 1e-6


@dataclass(frozen=True)
class Work:
    """What a column at 1 puts on a variant.

    Attributes:
        column: the column.
        variant: the variant.
        us: microseconds.
        model: the model whose work it is.
        stretch: the stretch between whose gates it is done, -1 if that is not known.
    """

    column: int
    variant: int
    us: float
    model: int
    stretch: int = -1


class Spread:
    """Columns for where operators are, the rules for these, and the work that they make.

    Args:
        problem: the placement problem; every operator has a choice.
        near: its links.
        stretches: its stretches.
        changes: count borders and launches, with columns for each link and pair of variants.

    Attributes:
        program: the linear program.
        share: for each operator, the columns of its variants.
        work: all work, from which loads and energy follow.
    """

    def __init__(
        self, problem: Problem, near: Neighbours, stretches: Sequence[Stretch], *, changes: bool
    ) -> None:
        self.program = LinearProgram()
        self.share = [
            {variant: self.program.column() for variant in choices} for choices in problem.choices
        ]
        for share in self.share:
            self.program.equal([(column, 1.0) for column in share.values()], 1.0)
        self.work: list[Work] = []
        self._problem, self._near, self._stretches = problem, near, stretches
        self._models: list[int] = problem.model_of.tolist()
        self._changed: dict[tuple[int, int], dict[tuple[int, int], int]] = {}
        self._add_operators()
        self._add_ends()
        if changes:
            self._add_borders()
            self._add_gate_launches()
            self._add_other_launches()
        self._demand_rules()

    def changed(self, u: int, v: int) -> dict[tuple[int, int], int]:
        """Columns by variants: u runs as the first, and v as the second, which is another."""
        if (u, v) in self._changed:
            return self._changed[u, v]
        first, second = self.share[u], self.share[v]
        columns = {(a, b): self.program.column() for a in first for b in second if a != b}
        self._changed[u, v] = columns
        for variant in sorted({*first, *second}):
            leaving = [column for (a, _), column in columns.items() if a == variant]
            coming = [column for (_, b), column in columns.items() if b == variant]
            terms = [(one, 1.0) for one in leaving] + [(one, -1.0) for one in coming]
            if variant in first:
                terms.append((first[variant], -1.0))
            if variant in second:
                terms.append((second[variant], 1.0))
            self.program.equal(terms, 0.0)
            if variant in first and variant in second:
                out = [(one, -1.0) for one in leaving]
                self.program.at_least([(first[variant], 1.0), *out], 0.0)
        return columns

    def _begun(self, u: int, v: int, variant: int) -> list[int]:
        """Columns whose sum says that v runs as the variant, and that u, if it is one, does not."""
        if variant not in self.share[v]:
            return []
        if u < 0:
            return [self.share[v][variant]]
        return [column for (_, b), column in self.changed(u, v).items() if b == variant]

    def _any(self, columns: Sequence[int]) -> Sequence[int]:
        """A column that is no less than any of some; none for none."""
        if len(columns) < 2:
            return columns
        some = self.program.column()
        for column in columns:
            self.program.at_least([(some, 1.0), (column, -1.0)], 0.0)
        return [some]

    def _put(
        self, columns: Iterable[int], variant: int, us: float, model: int, stretch: int = -1
    ) -> None:
        if us:
            self.work += [Work(column, variant, us, model, stretch) for column in columns]

    def _ending_stretch(self) -> list[int]:
        """The stretch of each inner operator, and the one that ends with each gate."""
        found = [0] * self._problem.n_ops
        for index, stretch in enumerate(self._stretches):
            for op in (*stretch.inner, stretch.after):
                if op >= 0:
                    found[op] = index
        return found

    def _add_operators(self) -> None:
        for index, stretch in enumerate(self._stretches):
            for op in (*stretch.inner, stretch.after):
                # A gate's own time is in no stretch.
                at = -1 if op == stretch.after else index
                for variant, column in self.share[op].items() if op >= 0 else ():
                    us = self._problem.costs[op][variant]
                    self._put([column], variant, us, stretch.model, at)

    def _add_ends(self) -> None:
        """What regions spend on the models' inputs and outputs."""
        problem = self._problem
        for flow, host_us in zip(
            (*problem.input_flows, *problem.output_flows), problem.host_us, strict=True
        ):
            ops = flow.consumers or (flow.producer,)
            for variant, us in enumerate(host_us):
                on = [self.share[op][variant] for op in ops if variant in self.share[op]]
                if on and us:
                    self._put(self._any(on), variant, us, self._models[ops[0]])

    def _add_borders(self) -> None:
        """What regions spend on tensors of others: once, however many operators read one."""
        ending = self._ending_stretch()
        beginning = list(ending)
        for index, stretch in enumerate(self._stretches):
            if stretch.before >= 0:
                beginning[stretch.before] = index
        for flow, table in zip(self._problem.flows, self._problem.transfer_us, strict=True):
            u, at = flow.producer, beginning[flow.producer]
            # The region of a reader begins in any stretch from the producer's to the reader's.
            if any(ending[op] != at for op in flow.consumers):
                at = -1
            for a in self.share[u]:
                for b in range(self._problem.n_variants):
                    if a != b and table[a][b]:
                        read = self._any(self._read(flow, a, b))
                        self._put(read, b, table[a][b], self._models[u], at)

    def _read(self, flow: Flow, a: int, b: int) -> list[int]:
        """Columns for each reader: made on a, read on b."""
        readers = [op for op in flow.consumers if b in self.share[op]]
        return [self.changed(flow.producer, op)[a, b] for op in readers]

    def _add_gate_launches(self) -> None:
        """Launches of regions that hold gates, each by its first gate."""
        for index, stretch in enumerate(self._stretches):
            for variant in self.share[stretch.after] if stretch.after >= 0 else ():
                us = float(self._problem.launch_us[variant])
                if us:
                    begun = self._gate_begun(stretch, variant)
                    self._put(begun, variant, us, stretch.model, index)

    def _gate_begun(self, stretch: Stretch, variant: int) -> list[int]:
        """Columns whose sum says that a gate's region does not hold the gate before.

        If it did, it would hold all that lies between them as well.
        """
        gate = self.share[stretch.after][variant]
        if stretch.before < 0 or any(variant not in self.share[op] for op in stretch.inner):
            return [gate]
        if not stretch.inner:
            return self._begun(stretch.before, stretch.after, variant)
        if variant not in self.share[stretch.before]:
            return [gate]
        begun = self.program.column()
        for op in (stretch.before, *stretch.inner):
            terms = [(begun, 1.0), (gate, -1.0), (self.share[op][variant], 1.0)]
            self.program.at_least(terms, 0.0)
        return [begun]

    def _add_other_launches(self) -> None:
        """Launches of regions between gates.

        A directed path enters a convex region once, so it enters as many regions as variants
        begin on it. Those of them that are not wholly among the operators which the path was
        taken from hold one of the operators beside these.
        """
        for way in ways_of(self._problem, self._near, self._stretches):
            path = (way.before, *way.ops, way.after) if way.after >= 0 else (way.before, *way.ops)
            others = path[len(way.ops) + 1 :] + way.beside
            for variant, us in enumerate(self._problem.launch_us.tolist()):
                if not us:
                    continue
                begun = [one for u, v in pairwise(path) for one in self._begun(u, v, variant)]
                less = [self.share[op][variant] for op in others if variant in self.share[op]]
                if less and begun:
                    count = self.program.column(float(len(path)))
                    terms = [(one, -1.0) for one in begun] + [(one, 1.0) for one in less]
                    self.program.at_least([(count, 1.0), *terms], 0.0)
                    begun = [count]
                self._put(begun, variant, us, self._models[way.ops[0]], way.stretch)

    def _demand_rules(self) -> None:
        problem, program = self._problem, self.program
        device = problem.variant_device.tolist()
        memory = problem.device_memory[problem.variant_device].tolist()
        sizes: list[int] = problem.parameter_bytes.tolist()
        for limits, places in (
            (problem.parameter_capacity_bytes, device),
            (problem.memory_bytes, memory),
        ):
            for place, limit in enumerate(limits.tolist()):
                if math.isfinite(limit):
                    scale = 1 / max(limit, 1.0)
                    there = self._there(range(problem.n_ops), places, place)
                    terms = [(column, -sizes[op] * scale) for op, column in there]
                    program.at_least(terms, -limit * scale * LOOSE)
        for pair in problem.forbidden_pairs.tolist():
            for place in range(problem.n_devices):
                there = self._there(pair, device, place)
                program.at_least([(column, -1.0) for _, column in there], -1.0)
        for u, v in problem.links:
            for variant, column in self.share[v].items():
                if problem.prefix[variant]:
                    before = [(self.share[u][variant], 1.0)] if variant in self.share[u] else []
                    program.at_least([(column, -1.0), *before], 0.0)

    def _there(
        self, ops: Iterable[int], places: Sequence[int], place: int
    ) -> list[tuple[int, int]]:
        """Operators with the columns of those of their variants that are in a place."""
        return [
            (op, column)
            for op in ops
            for variant, column in self.share[op].items()
            if places[variant] == place
        ]
