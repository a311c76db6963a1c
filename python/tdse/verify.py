"""Hold each region's result against LiteRT's, on real activations, and mend what is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.assemble import Compiled, compile_regions
from tdse.errors import TargetError
from tdse.graph.merge import components
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.accuracy import Difference, difference, worst
from tdse.measure.activations import Array


@dataclass(frozen=True)
class Verified:
    """Compiled regions whose results are within what a region may differ by.

    Attributes:
        compiled: the regions, perhaps cut smaller than they were asked for.
        differences: of each region from LiteRT's slice, on the same activations.
    """

    compiled: Compiled
    differences: tuple[Difference, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions in the order they run."""
        return self.compiled.regions

    def on_lanes_of(self, regions: Sequence[Region]) -> Verified:
        """The same with the lanes of ``regions``, of which these are or were cut."""
        lanes = {op: region.lanes for region in regions for op in region.ops}
        placed = tuple(
            dataclasses.replace(region, lanes=lanes[region.ops[0]]) for region in self.regions
        )
        compiled = dataclasses.replace(self.compiled, regions=placed)
        return dataclasses.replace(self, compiled=compiled)

    @property
    def difference(self) -> Difference:
        """The largest difference of any region."""
        return worst(self.differences)


def verified_regions(
    graph: Graph, regions: Sequence[Region], *, threads: int, values: Mapping[int, Array]
) -> Verified:
    """Compile ``regions`` and check each against LiteRT.

    Differences of one step may add up inside a region. One that is off by more is cut in half, and
    what is connected of its halves is checked.

    Args:
        graph: the model.
        regions: in an order in which they can run.
        threads: thread count of regions.
        values: activations, tensor index to array.

    Raises:
        TargetError: an operator alone is off by more than a region may be.
    """
    within: dict[tuple[int, ...], Difference] = {}
    while True:
        compiled = compile_regions(graph, regions, threads=threads)
        off = set()
        for i, region in enumerate(regions):
            if region.ops in within:
                continue
            gap = _region_difference(compiled, i, values)
            if gap.is_allowed:
                within[region.ops] = gap
                continue
            if len(region.ops) == 1:
                raise TargetError(
                    f"the result of op {graph.ops[region.ops[0]].label} on "
                    f"{region.device} differs from LiteRT's by {gap}",
                    where=graph.name,
                    why="more than one region may differ by",
                    hint="pin the operator to litert",
                )
            off.add(i)
        if not off:
            return Verified(compiled, tuple(within[region.ops] for region in regions))
        regions = _split(graph, regions, off)


def check_against_litert(compiled: Compiled, values: Mapping[int, Array]) -> Difference:
    """The largest difference of any region of a placement that is taken as given."""
    return worst([_region_difference(compiled, i, values) for i in range(len(compiled.regions))])


def _region_difference(
    compiled: Compiled, position: int, values: Mapping[int, Array]
) -> Difference:
    region = compiled.regions[position]
    if region.device == "litert":
        return Difference()
    result = compiled.results[position]
    model = compiled.alone(position).model()
    outputs = model.run([values[index] for index in result.inputs])
    return difference(outputs, [values[index] for index in result.outputs])


def _split(graph: Graph, regions: Sequence[Region], off: set[int]) -> list[Region]:
    """The regions with those at the positions ``off`` in halves, each connected part by itself.

    Parts are convex as the regions are, since operators are in an order in which they can run.
    """
    pieces: list[tuple[Region, tuple[int, ...]]] = []
    for i, region in enumerate(regions):
        middle = len(region.ops) // 2
        halves = (region.ops[:middle], region.ops[middle:]) if i in off else ()
        parts = [part for half in halves for part in _connected(graph, half)]
        pieces += [(region, ops) for ops in parts or [region.ops]]
    return [dataclasses.replace(region, index=i, ops=ops) for i, (region, ops) in enumerate(pieces)]


def _connected(graph: Graph, ops: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The operators in parts that no tensor joins."""
    number = {op: position for position, op in enumerate(ops)}
    edges = [
        (number[source], number[target])
        for source, target, _ in graph.edges
        if source in number and target in number
    ]
    return [tuple(ops[position] for position in part) for part in components(len(ops), edges)]
