"""What an artefact says of where its operators run and how long: one account for all who tell it.

Reports, traces, comparisons and exports take their figures from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tdse.runtime.metadata import Metadata
from tdse.search.placement import PlacedOp, PlacedRegion, Placement


@dataclass(frozen=True)
class ExecutorRegion:
    """A region of an artefact's executor, or a transfer of an emulated board.

    Attributes:
        place: where it runs, for people.
        ops: indices of its operators; none of a transfer.
        lanes: that have a copy of it.
        start_us: when it starts in the predicted run; None where that is not known.
        predicted_us: microseconds of one launch, likewise.
    """

    place: str
    ops: tuple[int, ...]
    lanes: tuple[int, ...]
    start_us: float | None
    predicted_us: float | None


@dataclass(frozen=True)
class OpCost:
    """What the search took an operator to cost where it runs.

    Attributes:
        cost_us: that it adds to its region, without the launch.
        alone_us: by itself, with its launch; None where that is not known.
        source: ``measured``, ``predicted`` or ``modelled``.
    """

    cost_us: float
    alone_us: float | None
    source: str


def place_of(placed: PlacedOp | PlacedRegion, metadata: Metadata) -> str:
    """Where it runs, for people: a device of an emulated board, else target and device."""
    if metadata.emulated is not None:
        return placed.device
    return f"{placed.target} on {placed.device}"


def executor_regions(metadata: Metadata, placement: Placement) -> tuple[ExecutorRegion, ...]:
    """In the order of ``Model.regions``: an emulated board's steps, else the placement's regions.

    Args:
        metadata: of the artefact.
        placement: likewise.
    """
    if metadata.emulated is not None:
        return tuple(
            ExecutorRegion(step.place, step.ops, step.lanes, step.start_us, step.modelled_us)
            for step in metadata.emulated.steps
        )
    return tuple(
        ExecutorRegion(
            place_of(region, metadata),
            region.ops,
            region.lanes,
            region.predicted_start_us,
            region.predicted_us,
        )
        for region in placement.regions
    )


def op_costs(metadata: Metadata, placement: Placement) -> Mapping[int, OpCost]:
    """By operator; none of an operator of which nothing is known.

    Args:
        metadata: of the artefact.
        placement: likewise.
    """
    costs = metadata.op_costs
    if costs is None:
        return {}
    column = {place: i for i, place in enumerate(costs.places)}
    row = {op: i for i, op in enumerate(costs.ops)}
    found = {}
    for op in placement.ops:
        place = op.target if metadata.emulated is None else op.device
        at = row[op.index], column[place]
        cost_us = costs.cost_us[at[0]][at[1]]
        if cost_us is not None:
            found[op.index] = OpCost(
                cost_us, costs.alone_us[at[0]][at[1]], costs.source[at[0]][at[1]]
            )
    return found
