"""Hold each region's result against LiteRT's, on real activations, and mend what is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.assemble import Compiled, compile_regions
from tdse.errors import TargetError
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

    Differences of one step may add up inside a region. One that is off by more is cut into its
    operators, whose results are then checked one by one.

    Args:
        graph: the model.
        regions: in an order in which they can run.
        threads: thread count of regions.
        values: activations, tensor index to array.

    Raises:
        TargetError: an operator alone is off by more than a region may be.
    """
    for _ in range(2):
        compiled = compile_regions(graph, regions, threads=threads)
        differences = [_region_difference(compiled, i, values) for i in range(len(regions))]
        off = {i for i, gap in enumerate(differences) if not gap.is_allowed}
        if not off:
            return Verified(compiled, tuple(differences))
        for i in off:
            if len(regions[i].ops) == 1:
                raise TargetError(
                    f"the result of op {graph.ops[regions[i].ops[0]].label} on "
                    f"{regions[i].device} differs from LiteRT's by {differences[i]}",
                    where=graph.name,
                    why="more than one region may differ by",
                    hint="pin the operator to litert",
                )
        regions = _split(regions, off)
    raise AssertionError("single-operator regions are either within bounds or refused")


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


def _split(regions: Sequence[Region], off: set[int]) -> list[Region]:
    pieces = [
        (region, ops)
        for i, region in enumerate(regions)
        for ops in ([(op,) for op in region.ops] if i in off else [region.ops])
    ]
    return [dataclasses.replace(region, index=i, ops=ops) for i, (region, ops) in enumerate(pieces)]
