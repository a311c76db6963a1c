"""Region forming on bare arrays: which operators of one device are compiled and launched as one.

For placements that name a device for each operator and nothing else. What the search finds has
regions of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def merge_regions(
    n_ops: int, edges: Sequence[tuple[int, int]], device: Sequence[int]
) -> list[list[int]]:
    """Groups operators into regions: connected, on one device, with an acyclic quotient graph.

    An acyclic quotient means that the regions can run one after the other; every region of such
    a partition is convex. Operators that are connected on one device form one region wherever
    that closes no cycle. Those that do close one are first cut into levels (an operator's level
    rises by one where the device changes on the way to it), which is always valid, and then
    merged pair by pair for as long as the quotient stays acyclic.

    Args:
        n_ops: number of operators, numbered 0 to n_ops - 1 in topological order.
        edges: (producer, consumer) with producer < consumer; repeats are harmless.
        device: of each operator, length n_ops.

    Returns:
        The regions in topological order, each a list of its operators in ascending order. Among
        regions that may run next, the one with the lowest operator comes first, so equal
        arguments give equal answers.
    """
    whole = components(n_ops, [edge for edge in edges if device[edge[0]] == device[edge[1]]])
    order = topological(whole, edges)
    if order is not None:
        return [list(region) for region in order]
    knotted = _knotted(whole, edges)
    forward = _untangle(n_ops, edges, device, whole, knotted, backwards=False)
    backward = _untangle(n_ops, edges, device, whole, knotted, backwards=True)
    best = backward if len(backward) < len(forward) else forward
    order = topological(best, edges)
    assert order is not None, "levels and merges keep the quotient acyclic"
    return [list(region) for region in order]


def topological(
    regions: Sequence[list[int]], edges: Iterable[tuple[int, int]]
) -> list[list[int]] | None:
    """The regions in topological order, lowest first operator first; None if there is a cycle."""
    successors = _quotient(regions, edges)[1]
    waiting = [0] * len(regions)
    for targets in successors:
        for target in targets:
            waiting[target] += 1
    ready = [(region[0], index) for index, region in enumerate(regions) if not waiting[index]]
    heapq.heapify(ready)
    order = []
    while ready:
        index = heapq.heappop(ready)[1]
        order.append(regions[index])
        for target in successors[index]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, (regions[target][0], target))
    return order if len(order) == len(regions) else None


def components(n_ops: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components, each ascending, ordered by their lowest member."""
    parent = list(range(n_ops))
    for first, second in edges:
        while parent[first] != first:
            parent[first] = first = parent[parent[first]]
        while parent[second] != second:
            parent[second] = second = parent[parent[second]]
        if first < second:
            parent[second] = first
        else:
            parent[first] = second
    groups: dict[int, list[int]] = {}
    for op in range(n_ops):
        root = op
        while parent[root] != root:
            parent[root] = root = parent[parent[root]]
        groups.setdefault(root, []).append(op)
    return list(groups.values())


def _quotient(
    regions: Sequence[Sequence[int]], edges: Iterable[tuple[int, int]]
) -> tuple[list[int], list[set[int]]]:
    """The region of each operator, and the regions that each region feeds."""
    region_of = [0] * sum(map(len, regions))
    for index, region in enumerate(regions):
        for op in region:
            region_of[op] = index
    successors: list[set[int]] = [set() for _ in regions]
    for producer, consumer in edges:
        source, target = region_of[producer], region_of[consumer]
        if source != target:
            successors[source].add(target)
    return region_of, successors


def _knotted(regions: Sequence[list[int]], edges: Iterable[tuple[int, int]]) -> set[int]:
    """The regions that lie on a cycle of the quotient graph, or between two cycles."""
    successors = _quotient(regions, edges)[1]
    predecessors: list[set[int]] = [set() for _ in regions]
    for source, targets in enumerate(successors):
        for target in targets:
            predecessors[target].add(source)
    left = set(range(len(regions)))
    for before, after in ((predecessors, successors), (successors, predecessors)):
        free = [index for index in left if not before[index] & left]
        while free:
            index = free.pop()
            left.discard(index)
            free += [near for near in after[index] if near in left and not before[near] & left]
    return left


def _untangle(
    n_ops: int,
    edges: Sequence[tuple[int, int]],
    device: Sequence[int],
    whole: Sequence[list[int]],
    knotted: set[int],
    *,
    backwards: bool,
) -> list[list[int]]:
    """Cuts the knotted regions into levels and merges the pieces again; keeps the others.

    A path that leaves the knotted regions never comes back to them, so they can be treated as a
    graph of their own. Levels counted from the outputs (``backwards``) cut in other places than
    levels counted from the inputs; either may need fewer regions.
    """
    inside = [False] * n_ops
    for index in knotted:
        for op in whole[index]:
            inside[op] = True
    # The longest-path sweep needs each edge after all edges into its source.
    local = sorted(
        ((u, v) for u, v in edges if inside[u] and inside[v]),
        key=(lambda edge: -edge[1]) if backwards else (lambda edge: edge[0]),
    )
    level = [0] * n_ops
    for u, v in local:
        if backwards:
            u, v = v, u
        level[v] = max(level[v], level[u] + (device[u] != device[v]))
    level_edges = [(u, v) for u, v in local if device[u] == device[v] and level[u] == level[v]]
    pieces = [piece for piece in components(n_ops, level_edges) if inside[piece[0]]]
    kept = [region for index, region in enumerate(whole) if index not in knotted]
    return kept + _merge_pairs(n_ops, pieces, local, device)


def _merge_pairs(
    n_ops: int,
    pieces: Sequence[list[int]],
    edges: Sequence[tuple[int, int]],
    device: Sequence[int],
) -> list[list[int]]:
    """Merges pieces that touch on one device while no third piece lies on a path between them."""
    piece_of = [-1] * n_ops
    for index, piece in enumerate(pieces):
        for op in piece:
            piece_of[op] = index
    links = _Links(len(pieces))
    kin: dict[int, list[int]] = {}
    for index, piece in enumerate(pieces):
        kin.setdefault(device[piece[0]], []).append(index)
    same_device = {index: set(group) for group in kin.values() for index in group}
    for u, v in edges:
        if piece_of[u] != piece_of[v]:
            links.add(piece_of[u], piece_of[v])
    links.set_ranks()
    merged = [list(piece) for piece in pieces]
    changed = True
    while changed:
        changed = False
        for source in range(len(pieces)):
            refused: set[int] = set()
            while waiting := (links.after[source] & same_device[source]) - refused:
                target = min(waiting)
                if links.detour(source, target):
                    refused.add(target)
                    continue
                links.merge(source, target)
                merged[source] += merged[target]
                merged[target] = []
                # A merge can remove the third piece of a path that stood in the way before.
                refused.clear()
                changed = True
    return [sorted(piece) for piece in merged if piece]


class _Links:
    """An acyclic graph whose nodes can be merged.

    ``rank`` rises along every edge, so that a search for a path need not look beyond its end.
    """

    def __init__(self, n_nodes: int) -> None:
        self.after: list[set[int]] = [set() for _ in range(n_nodes)]
        self._before: list[set[int]] = [set() for _ in range(n_nodes)]
        self._rank = [0] * n_nodes

    def add(self, source: int, target: int) -> None:
        """Adds an edge."""
        self.after[source].add(target)
        self._before[target].add(source)

    def set_ranks(self) -> None:
        """Ranks the nodes, once all edges are there."""
        waiting = [len(before) for before in self._before]
        ready = [node for node, count in enumerate(waiting) if not count]
        for node in ready:
            for near in self.after[node]:
                self._rank[near] = max(self._rank[near], self._rank[node] + 1)
                waiting[near] -= 1
                if not waiting[near]:
                    ready.append(near)

    def detour(self, source: int, target: int) -> bool:
        """There is a path from source to target besides the edge between them."""
        rank, limit = self._rank, self._rank[target]
        stack = [near for near in self.after[source] if rank[near] < limit]
        seen = set(stack)
        while stack:
            for near in self.after[stack.pop()]:
                if near == target:
                    return True
                if rank[near] < limit and near not in seen:
                    seen.add(near)
                    stack.append(near)
        return False

    def merge(self, source: int, target: int) -> None:
        """Makes ``target`` a part of ``source``, which feeds it and has no detour to it."""
        for near in self._before[target]:
            self.after[near].discard(target)
            self.after[near].add(source)
        for near in self.after[target]:
            self._before[near].discard(target)
            self._before[near].add(source)
        self.after[source] = (self.after[source] | self.after[target]) - {source, target}
        self._before[source] = (self._before[source] | self._before[target]) - {source, target}
        self.after[target], self._before[target] = set(), set()
        rank = self._rank
        rank[source] = rank[target]
        raised = [source]
        while raised:
            node = raised.pop()
            for near in self.after[node]:
                if rank[near] <= rank[node]:
                    rank[near] = rank[node] + 1
                    raised.append(near)
