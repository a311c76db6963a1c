"""Which operators are compiled and launched as one, given the genes.

A link between two operators of one variant joins them unless it is cut. Operators that are joined,
directly or through others, are a region. If regions wait for each other in a circle, those in a
circle and those between two circles are cut into levels: an operator's level is the most links that
do not join on any way to it within those regions, and only operators of one level stay together.
The level rises along every link that leaves a region, so no circle is left. Any convex regions
without circles can be had: cut the links between them. Regions are numbered by their lowest
operators.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Sequence

from tdse.search.problem import Problem
from tdse.search.schedule import Genes


def regions_from(problem: Problem, genes: Genes) -> list[list[int]]:
    """The regions that genes lead to, ascending, by their lowest operators."""
    cuts = [False] * len(problem.links) if genes.cuts is None else genes.cuts
    joins = [
        genes.variants[u] == genes.variants[v] and not cut
        for (u, v), cut in zip(problem.links, cuts, strict=True)
    ]
    joined = [link for link, join in zip(problem.links, joins, strict=True) if join]
    whole = _components(problem.n_ops, joined)
    knotted = {op for region in _knotted(whole, problem.links) for op in region}
    if not knotted:
        return whole
    level = [0] * problem.n_ops
    # Links are in the order of their producers, so a level is known before it is passed on.
    for (u, v), join in zip(problem.links, joins, strict=True):
        if u in knotted and v in knotted:
            level[v] = max(level[v], level[u] + (not join))
    return _components(problem.n_ops, [(u, v) for u, v in joined if level[u] == level[v]])


def cuts_between(problem: Problem, regions: Iterable[Sequence[int]]) -> list[bool]:
    """The cuts with which ``regions_from`` gives just these regions.

    Args:
        problem: the placement problem.
        regions: convex, each connected and of one variant, none waiting for each other in a
            circle.
    """
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    return [region_of[u] != region_of[v] for u, v in problem.links]


def cuts_keeping_whole(problem: Problem, genes: Genes) -> list[bool]:
    """The genes' cuts, changed so that variants which may only have one region have one.

    Links within such a region are not cut. Regions in circles are cut into levels beforehand, in
    which such a region counts as a whole.

    Args:
        problem: the placement problem.
        genes: the operators of each variant that may only have one region are connected, and
            these regions do not wait for each other in a circle, directly or through other
            operators.
    """
    variants, single = genes.variants, problem.single_region.tolist()
    whole = [-1 - variant if single[variant] else op for op, variant in enumerate(variants)]
    given = [False] * len(problem.links) if genes.cuts is None else genes.cuts
    cuts = [cut and whole[u] != whole[v] for (u, v), cut in zip(problem.links, given, strict=True)]
    joins = [
        variants[u] == variants[v] and not cut
        for (u, v), cut in zip(problem.links, cuts, strict=True)
    ]
    joined = [link for link, join in zip(problem.links, joins, strict=True) if join]
    knots = _knotted(_components(problem.n_ops, joined), problem.links)
    knotted = {op for region in knots for op in region}
    before: dict[int, set[tuple[int, bool]]] = {whole[op]: set() for op in knotted}
    for (u, v), join in zip(problem.links, joins, strict=True):
        if u in knotted and v in knotted and whole[u] != whole[v]:
            before[whole[v]].add((whole[u], not join))
    waits = {one: {other for other, _ in others} for one, others in before.items()}
    level: dict[int, int] = {}
    for one in graphlib.TopologicalSorter(waits).static_order():
        level[one] = max((level[other] + rise for other, rise in before[one]), default=0)
    return [
        cut or (join and u in knotted and level[whole[u]] != level[whole[v]])
        for (u, v), cut, join in zip(problem.links, cuts, joins, strict=True)
    ]


def _components(n_ops: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components, each ascending, by their lowest members."""
    home = list(range(n_ops))
    members = [[op] for op in range(n_ops)]
    for u, v in links:
        first, second = sorted((home[u], home[v]))
        if first != second:
            members[first] += members[second]
            for op in members[second]:
                home[op] = first
            members[second] = []
    return [sorted(region) for region in members if region]


def _knotted(
    regions: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]
) -> list[Sequence[int]]:
    """The regions that lie in a circle, or between two circles."""
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    pairs = {(region_of[u], region_of[v]) for u, v in links if region_of[u] != region_of[v]}
    left = set(range(len(regions)))
    for sources_first in (True, False):
        while True:
            blocked = {
                pair[1 if sources_first else 0]
                for pair in pairs
                if pair[0] in left and pair[1] in left
            }
            if blocked == left:
                break
            left = blocked
    return [regions[index] for index in sorted(left)]
