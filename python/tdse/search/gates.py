"""Where a model narrows to one operator, and directed ways through what lies between.

A gate is an operator that comes before or after every other one of its model. Whatever the
schedule, all that lies between two gates runs between them; and a region that holds operators of
both sides of a gate holds the gate, for regions are convex. So each stretch, from one gate to the
next, can be looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tdse.search.problem import Problem


@dataclass(frozen=True)
class Stretch:
    """What lies between two gates of a model that follow one another.

    Attributes:
        model: the model.
        before: the gate at its begin, -1 at the begin of the model.
        after: the gate at its end, -1 at the end of the model.
        inner: the operators between them, ascending.
    """

    model: int
    before: int
    after: int
    inner: tuple[int, ...]


@dataclass(frozen=True)
class Way:
    """A longest directed path through operators that are connected with each other.

    Attributes:
        stretch: index of the stretch in which they are.
        before: an operator outside of them that the first one reads from, -1 if there is none.
        ops: the path.
        after: an operator outside of them that reads from the last one, -1 if there is none.
        beside: all other operators outside of them with a link to any of them.
    """

    stretch: int
    before: int
    ops: tuple[int, ...]
    after: int
    beside: tuple[int, ...]


class Neighbours:
    """The operators that each operator reads from, and those that read from it, ascending."""

    def __init__(self, problem: Problem) -> None:
        self.before: list[list[int]] = [[] for _ in range(problem.n_ops)]
        self.after: list[list[int]] = [[] for _ in range(problem.n_ops)]
        for u, v in problem.links:
            self.before[v].append(u)
            self.after[u].append(v)


def stretches_of(problem: Problem, near: Neighbours) -> list[Stretch]:
    """The stretches of all models, each model's in order."""
    gates = _gates(problem, near)
    stretches = []
    models: list[list[int]] = [[] for _ in problem.models]
    for op, model in enumerate(problem.model_of.tolist()):
        models[model].append(op)
    for model, ops in enumerate(models):
        before, inner = -1, []
        for op in ops:
            if op not in gates:
                inner.append(op)
                continue
            stretches.append(Stretch(model, before, op, tuple(inner)))
            before, inner = op, []
        stretches.append(Stretch(model, before, -1, tuple(inner)))
    return stretches


def ways_of(problem: Problem, near: Neighbours, stretches: Iterable[Stretch]) -> list[Way]:
    """Ways through the inner operators of all stretches, each operator in just one.

    A way is taken from each set of connected operators; what it leaves falls into smaller sets.
    """
    ways = []
    for index, stretch in enumerate(stretches):
        left = [stretch.inner]
        while left:
            for ops in _connected(left.pop(), near):
                way = _way(index, ops, near)
                ways.append(way)
                if len(way.ops) < len(ops):
                    left.append(tuple(sorted(set(ops).difference(way.ops))))
    return ways


def _gates(problem: Problem, near: Neighbours) -> set[int]:
    # Sets of operators are bits of an integer: thousands are united in one step.
    before, after = [0] * problem.n_ops, [0] * problem.n_ops
    for op in range(problem.n_ops):
        for u in near.before[op]:
            before[op] |= before[u] | 1 << u
    for op in reversed(range(problem.n_ops)):
        for v in near.after[op]:
            after[op] |= after[v] | 1 << v
    models: list[int] = problem.model_of.tolist()
    size = [models.count(model) for model in range(problem.n_models)]
    return {
        op
        for op in range(problem.n_ops)
        if before[op].bit_count() + 1 + after[op].bit_count() == size[models[op]]
    }


def _connected(ops: Iterable[int], near: Neighbours) -> list[list[int]]:
    """The sets into which operators fall, each ascending."""
    left = set(ops)
    found = []
    while left:
        members = [left.pop()]
        for op in members:
            for other in (*near.before[op], *near.after[op]):
                if other in left:
                    left.remove(other)
                    members.append(other)
        found.append(sorted(members))
    return sorted(found)


def _way(stretch: int, ops: list[int], near: Neighbours) -> Way:
    inside = set(ops)
    # Length of the longest path to each operator, and the one before it.
    longest: dict[int, tuple[int, int]] = {}
    for op in ops:
        ends = [(longest[u][0] + 1, u) for u in near.before[op] if u in inside]
        longest[op] = max(ends, default=(1, -1))
    at = max(ops, key=lambda op: longest[op][0])
    path: list[int] = []
    while at >= 0:
        path.append(at)
        at = longest[at][1]
    path.reverse()
    before = max(near.before[path[0]], default=-1)
    after = min(near.after[path[-1]], default=-1)
    outside = {other for op in ops for other in (*near.before[op], *near.after[op])} - inside
    beside = tuple(sorted(outside - {before, after}))
    return Way(stretch, before, tuple(path), after, beside)
