"""Which operators are compiled and launched as one, given the genes.

A link between two operators of one variant joins them unless it is cut. Operators that are joined,
directly or through others, are a region. Regions that wait for each other in a circle are cut into
levels: an operator's level is the most links that do not join on any way to it within its circle,
and only operators of one level stay together. The level rises along every link between the regions
of a circle, so no circle is left. Any convex regions without circles can be had: cut the links
between them. Regions are numbered by their lowest operators.
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
    circle = _circles(whole, problem.links)
    level = [0] * problem.n_ops
    # Links are in the order of their producers, so a level is known before it is passed on.
    for (u, v), join in zip(problem.links, joins, strict=True):
        if circle[u] == circle[v] and len(circle[u]) > 1:
            level[v] = max(level[v], level[u] + (not join))
    return _components(problem.n_ops, [(u, v) for u, v in joined if level[u] == level[v]])


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
    variants, single = [int(one) for one in genes.variants], problem.single_region.tolist()
    whole = [-1 - variant if single[variant] else op for op, variant in enumerate(variants)]
    given = [False] * len(problem.links) if genes.cuts is None else genes.cuts
    cuts = [cut and whole[u] != whole[v] for (u, v), cut in zip(problem.links, given, strict=True)]
    joins = [
        variants[u] == variants[v] and not cut
        for (u, v), cut in zip(problem.links, cuts, strict=True)
    ]
    joined = [link for link, join in zip(problem.links, joins, strict=True) if join]
    circles = _circles(_components(problem.n_ops, joined), problem.links)
    knotted = {op for op, circle in enumerate(circles) if len(circle) > 1}
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


def _circles(
    regions: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]
) -> list[frozenset[int]]:
    """For each operator, its region and those that both wait for that and are waited for by it."""
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    pairs = {(region_of[u], region_of[v]) for u, v in links}
    after = [{index} for index in range(len(regions))]
    before = [{index} for index in range(len(regions))]
    growing = True
    while growing:
        growing = False
        for source, target in pairs:
            growing |= not (after[target] <= after[source] and before[source] <= before[target])
            after[source] |= after[target]
            before[target] |= before[source]
    circles = [frozenset(one & other) for one, other in zip(after, before, strict=True)]
    return [circles[region_of[op]] for op in range(len(region_of))]
