"""Which operators are in which region, for OR-tools CP-SAT.

A region is named by its lowest operator, its root. ``member[op, root, variant]`` says that an
operator is in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import networkx
from ortools.sat.python import cp_model

from tdse.search import Problem

Member = tuple[int, int, int]


class Regions:
    """Variables for the variant and the region of each operator.

    Times, or something else, must see to it that regions do not wait for each other in a circle;
    then all of them are convex.

    Args:
        cp: the model to add to.
        problem: with a variant for each operator.
        alone: let each operator be a region.

    Attributes:
        candidates: (root, variant): the operators that may be in such a region, ascending.
        member: literals, by operator, root and variant.
        x: literals, by operator and variant.
        joined: literals, by link: both ends are in one region; none where they cannot be.
        apart: literals, by link, then by the variants of its ends, which are in two regions.
    """

    def __init__(self, cp: cp_model.CpModel, problem: Problem, *, alone: bool) -> None:
        self._cp, self._problem = cp, problem
        self._graph = networkx.DiGraph(problem.links)
        self._graph.add_nodes_from(range(problem.n_ops))
        self._after = [networkx.descendants(self._graph, op) for op in range(problem.n_ops)]
        self.candidates = self._find_candidates(alone)
        self._choose_members()
        self._connect_side_entries()
        self._join_links()

    def members_of(self, op: int) -> list[tuple[Member, Any]]:
        """The literals of the regions that an operator may be in."""
        return self._by_op[op]

    def within(self, op: int, root: int) -> Any:
        """A literal: the operator is in the region of the root."""
        literals = [literal for key, literal in self._by_op[op] if key[1] == root]
        return one_of(self._cp, literals, f"within{op},{root}")

    def passes(self, root: int, op: int) -> bool:
        """The operator is the root or after it: its region has it if it has one of its readers."""
        return op == root or op in self._after[root]

    def _find_candidates(self, alone: bool) -> dict[tuple[int, int], list[int]]:
        """(root, variant): the operators that may be in such a region, ascending."""
        problem = self._problem
        found = {}
        for root in range(problem.n_ops):
            for variant in problem.choices[root]:
                fit = {op for op in range(root, problem.n_ops) if variant in problem.choices[op]}
                found[root, variant] = [root] if alone else sorted(self._reach(root, fit))
        return found

    def _reach(self, root: int, fit: set[int]) -> set[int]:
        """What is connected with the root, all ways from the root included."""
        while True:
            near = networkx.node_connected_component(
                self._graph.subgraph(fit).to_undirected(as_view=True), root
            )
            inside = {
                op
                for op in near
                if all(
                    u in near
                    for u in self._graph.predecessors(op)
                    if u == root or u in self._after[root]
                )
            }
            if inside == fit:
                return inside
            fit = inside

    def _choose_members(self) -> None:
        problem = self._problem
        self.member: dict[Member, Any] = {}
        for (root, variant), ops in self.candidates.items():
            for op in ops:
                self.member[op, root, variant] = self._cp.new_bool_var(f"m{op},{root},{variant}")
        self._by_op: dict[int, list[tuple[Member, Any]]] = defaultdict(list)
        for key, literal in self.member.items():
            self._by_op[key[0]].append((key, literal))
        self.x: dict[tuple[int, int], Any] = {}
        of_op: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for (op, _, variant), literal in self.member.items():
            of_op[op, variant].append(literal)
        for (op, variant), literals in of_op.items():
            self.x[op, variant] = one_of(self._cp, literals, f"x{op},{variant}")
        for op in range(problem.n_ops):
            self._cp.add_exactly_one(
                literal for variant in problem.choices[op] for literal in of_op[op, variant]
            )
        for (op, root, variant), literal in self.member.items():
            if op != root:
                self._cp.add_implication(literal, self.member[root, root, variant])
            for u in self._graph.predecessors(op):
                if self.passes(root, u):
                    self._cp.add_implication(literal, self.member[u, root, variant])

    def _connect_side_entries(self) -> None:
        """What is not after the root is connected with it by a tree of links."""
        side: dict[int, list[Member]] = defaultdict(list)
        for op, root, variant in self.member:
            if not self.passes(root, op):
                side[op].append((op, root, variant))
        rank = {op: self._cp.new_int_var(0, self._problem.n_ops, f"rank{op}") for op in side}
        for op, members in side.items():
            near = [*self._graph.predecessors(op), *self._graph.successors(op)]
            parent = {other: self._cp.new_bool_var(f"parent{op},{other}") for other in near}
            for key in members:
                self._cp.add_bool_or([self.member[key].negated(), *parent.values()])
                for other, literal in parent.items():
                    held = self.member.get((other, *key[1:]))
                    clause = [literal.negated(), self.member[key].negated()]
                    self._cp.add_bool_or(clause if held is None else [*clause, held])
            for other, literal in parent.items():
                if other in rank:
                    self._cp.add(rank[op] >= rank[other] + 1).only_enforce_if(literal)

    def _join_links(self) -> None:
        """For each link: joined in a region, or apart, and then from which to which variant."""
        problem = self._problem
        self.joined: dict[tuple[int, int], Any] = {}
        self.apart: dict[tuple[int, int], dict[tuple[int, int], Any]] = {}
        for u, w in problem.links:
            together: dict[int, list[Any]] = defaultdict(list)
            for (op, root, variant), literal in self.members_of(w):
                held = self.member.get((u, root, variant))
                if held is None:
                    continue
                if self.passes(root, u):
                    both = literal
                else:
                    both = self._cp.new_bool_var(f"both{u},{op},{root},{variant}")
                    self._cp.add_implication(both, held)
                    self._cp.add_implication(both, literal)
                    self._cp.add_bool_or([both, held.negated(), literal.negated()])
                together[variant].append(both)
            every = [literal for literals in together.values() for literal in literals]
            if every:
                self.joined[u, w] = one_of(self._cp, every, f"joined{u},{w}")
            pairs = {
                (a, b): self._cp.new_bool_var(f"apart{u},{w},{a},{b}")
                for a in problem.choices[u]
                for b in problem.choices[w]
            }
            for a in problem.choices[u]:
                leaving = [pairs[a, b] for b in problem.choices[w]]
                self._cp.add(sum(leaving) + sum(together.get(a, [])) == self.x[u, a])
            for b in problem.choices[w]:
                coming = [pairs[a, b] for a in problem.choices[u]]
                self._cp.add(sum(coming) + sum(together.get(b, [])) == self.x[w, b])
            self.apart[u, w] = pairs


def one_of(cp: cp_model.CpModel, literals: Sequence[Any], name: str) -> Any:
    """A literal for the sum of literals of which at most one is true."""
    if len(literals) == 1:
        return literals[0]
    literal = cp.new_bool_var(name)
    cp.add(literal == sum(literals))
    return literal
