"""The work of each region, for OR-tools CP-SAT: launch, operators, reading, and giving outputs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from exact_regions import Regions
from exact_sizes import Sizes
from ortools.sat.python import cp_model

from tdse.search import Problem
from tdse.search.problem import Flow

Region = tuple[int, int]
"""A region, by its root and variant."""


class Work:
    """Variables for the work of each region.

    Args:
        cp: the model to add to.
        problem: the placement problem.
        regions: who is in which region.
        sizes: what everything takes.

    Attributes:
        units: variables, by region; 0 where there is none.
        fixed: the work of regions that always take as long, if there are any.
        bare: operators that are always regions of their own, which take what they take.
    """

    def __init__(
        self, cp: cp_model.CpModel, problem: Problem, regions: Regions, sizes: Sizes
    ) -> None:
        self._cp, self._problem, self._regions, self._sizes = cp, problem, regions, sizes
        self._given: dict[int, list[Flow]] = defaultdict(list)
        for value in problem.output_flows:
            self._given[value.producer].append(value)
        terms: dict[Region, list[Any]] = {region: [] for region in regions.candidates}
        for (op, root, variant), literal in regions.member.items():
            size = self.own(op, variant) + self.giving(op, variant)
            size += sizes.launch[variant] if op == root else 0
            terms[root, variant].append(size * literal)
        for index, value in enumerate(problem.values):
            for root, variant in regions.candidates:
                terms[root, variant] += self._read(index, value, root, variant)
        most = sizes.longest()
        self.units = {region: cp.new_int_var(0, most, f"work{region}") for region in terms}
        for region, parts in terms.items():
            cp.add(self.units[region] == sum(parts))
        self.fixed = {
            (root, variant): self.own(root, variant)
            + self.giving(root, variant)
            + sizes.launch[variant]
            for (root, variant), parts in terms.items()
            if len(parts) == 1
        }
        self.bare = self._find_bare()

    def own(self, op: int, variant: int) -> int:
        """Of the operator by itself."""
        return self._sizes.op(op, variant)

    def giving(self, op: int, variant: int) -> int:
        """Of giving the caller what the operator makes."""
        return sum(self._sizes.host(value, variant) for value in self._given[op])

    def _find_bare(self) -> set[int]:
        more = {
            op
            for region, ops in self._regions.candidates.items()
            for op in ops
            if self.fixed.get(region) != self.own(*region)
        }
        return set(range(self._problem.n_ops)) - more

    def _read(self, index: int, value: Flow, root: int, variant: int) -> list[Any]:
        """What it costs a region to read a tensor that it does not make."""
        cp, member, producer = self._cp, self._regions.member, value.producer
        readers = [
            member[op, root, variant] for op in value.consumers if (op, root, variant) in member
        ]
        made = member.get((producer, root, variant))
        if not readers or (made is not None and self._regions.passes(root, producer)):
            return []
        sources = self._problem.choices[producer] if producer >= 0 else (-1,)
        costs = {a: self._sizes.read(value, a, variant) for a in sources}
        if not any(costs.values()):
            return []
        reads = readers[0]
        if made is not None or len(readers) > 1:
            reads = cp.new_bool_var(f"reads{index},{root},{variant}")
            inside = [] if made is None else [made]
            for reader in readers:
                cp.add_bool_or([reads, reader.negated(), *inside])
            cp.add_bool_or([reads.negated(), *readers])
            for literal in inside:
                cp.add_implication(reads, literal.negated())
        least, most = min(costs.values()), max(costs.values())
        if least == most:
            return [least * reads]
        extra = cp.new_int_var(0, most - least, f"extra{index},{root},{variant}")
        cp.add(extra == 0).only_enforce_if(reads.negated())
        for a, cost in costs.items():
            cp.add(extra == cost - least).only_enforce_if(reads, self._regions.x[producer, a])
        return [least * reads, extra]
