"""Regions: convex sets of connected operators on one device, compiled and launched as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PlacementError
from .merge import merge_regions
from .model import Graph

_WHAT = "the placement is not valid"


@dataclass(frozen=True)
class Region:
    """Operators that one device runs as one.

    Attributes:
        index: position in the order in which regions can run.
        device: the device of all its operators.
        ops: operator indices, ascending; constant operators are in no region.
        lanes: lanes of the executor that each have a copy of it, ascending; whichever is free
            first takes a run of a stream.
    """

    index: int
    device: str
    ops: tuple[int, ...]
    lanes: tuple[int, ...] = (0,)

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Region:
        """What ``dataclasses.astuple`` made a JSON list of."""
        index, device, ops, lanes = value
        return cls(index, device, tuple(ops), tuple(lanes))


def form_regions(graph: Graph, assignment: Mapping[int, str]) -> tuple[Region, ...]:
    """Merge operators on the same device into few regions that can run one after the other.

    Before, with the device of each operator::

        0:x -> 1:x -> 2:y -> 3:x        1:x -> 3:x

    After::

        Region(0, "x", (0, 1)), Region(1, "y", (2,)), Region(2, "x", (3,))

    Operators 1 and 3 stay apart, because 2 lies between them. How operators are merged is in
    ``merge_regions``.

    Args:
        graph: the model.
        assignment: device of each placed operator; entries of constant operators are ignored.

    Returns:
        Regions in topological order; one of all operators if the model cannot be cut.

    Raises:
        PlacementError: an operator has no device, an index is no operator, or a model that
            cannot be cut has operators on several devices.
    """
    devices = _devices(graph, assignment)
    if graph.whole_reason:
        if len(set(devices.values())) > 1:
            raise PlacementError(
                _WHAT, where=graph.name, why=graph.whole_reason, hint="use one device for all"
            )
        return _numbered([(device, graph.placed_ops) for device in set(devices.values())])
    nodes = graph.placed_ops
    number = {op: position for position, op in enumerate(nodes)}
    names = sorted(set(devices.values()))
    groups = merge_regions(
        len(nodes),
        sorted({(number[source], number[target]) for source, target, _ in graph.edges}),
        [names.index(devices[op]) for op in nodes],
    )
    return _numbered(
        [(devices[nodes[group[0]]], [nodes[member] for member in group]) for group in groups]
    )


def check_regions(graph: Graph, regions: Sequence[Region]) -> None:
    """Check that regions can be compiled one by one and run in their order.

    Raises:
        PlacementError: an operator is in no region or in two, a region is not connected or not
            convex, or regions need each other's results in a way that no order or not the given
            one allows.
    """
    owner: dict[int, int] = {}
    placeable = set(graph.placed_ops)
    for position, region in enumerate(regions):
        for op in region.ops:
            if op not in placeable:
                raise _invalid(
                    graph, f"region {position} has {_label(graph, op)}, not to be placed"
                )
            if op in owner:
                raise _invalid(
                    graph, f"{_label(graph, op)} is in region {owner[op]} and in {position}"
                )
            owner[op] = position
    for op in graph.placed_ops:
        if op not in owner:
            raise _invalid(graph, f"{_label(graph, op)} is in no region")
    if graph.whole_reason:
        if len(regions) > 1:
            raise _invalid(graph, f"it has {len(regions)} regions, but {graph.whole_reason}")
        return
    successors, predecessors = _neighbours(graph)
    for position, region in enumerate(regions):
        _check_region(graph, position, region, successors, predecessors)
    for source in graph.placed_ops:
        for target in successors[source]:
            # An order in which every edge goes forward also rules out cycles.
            if owner[source] > owner[target]:
                raise _invalid(
                    graph,
                    f"region {owner[target]} runs before region {owner[source]}, but "
                    f"{_label(graph, target)} needs {_label(graph, source)}",
                )


def _check_region(
    graph: Graph,
    position: int,
    region: Region,
    successors: Mapping[int, Sequence[int]],
    predecessors: Mapping[int, Sequence[int]],
) -> None:
    if not region.ops:
        raise _invalid(graph, f"region {position} is empty")
    inside = set(region.ops)
    reached, waiting = {region.ops[0]}, [region.ops[0]]
    while waiting:
        op = waiting.pop()
        for other in (*successors[op], *predecessors[op]):
            if other in inside and other not in reached:
                reached.add(other)
                waiting.append(other)
    for op in region.ops:
        if op not in reached:
            raise _invalid(
                graph,
                f"{_label(graph, op)} is not connected to {_label(graph, region.ops[0])} "
                f"within region {position}",
            )
    # What lies between two operators of a region has an index between theirs.
    behind: set[int] = set()
    for op in range(min(region.ops), max(region.ops) + 1):
        sources = predecessors.get(op, ())
        if op not in inside:
            if any(source in inside or source in behind for source in sources):
                behind.add(op)
            continue
        for source in sources:
            if source in behind:
                raise _invalid(
                    graph,
                    f"{_label(graph, source)} lies between operators of region {position}, "
                    f"before {_label(graph, op)}",
                )


def _devices(graph: Graph, assignment: Mapping[int, str]) -> dict[int, str]:
    for op in assignment:
        if not 0 <= op < len(graph.ops):
            raise PlacementError(
                _WHAT, where=graph.name, why=f"it has {len(graph.ops)} operators, but no {op}"
            )
    for op in graph.placed_ops:
        if op not in assignment:
            raise PlacementError(_WHAT, where=graph.name, why=f"{_label(graph, op)} has no device")
    return {op: assignment[op] for op in graph.placed_ops}


def _neighbours(graph: Graph) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Successors and predecessors of each placed operator, each once, ascending."""
    pairs = sorted({(source, target) for source, target, _ in graph.edges})
    successors: dict[int, list[int]] = {op: [] for op in graph.placed_ops}
    predecessors: dict[int, list[int]] = {op: [] for op in graph.placed_ops}
    for source, target in pairs:
        successors[source].append(target)
        predecessors[target].append(source)
    return successors, predecessors


def _numbered(groups: Iterable[tuple[str, Sequence[int]]]) -> tuple[Region, ...]:
    return tuple(Region(index, device, tuple(ops)) for index, (device, ops) in enumerate(groups))


def _label(graph: Graph, op: int) -> str:
    return f"operator {graph.ops[op].label}" if 0 <= op < len(graph.ops) else f"operator {op}"


def _invalid(graph: Graph, why: str) -> PlacementError:
    return PlacementError(_WHAT, where=graph.name, why=why)
