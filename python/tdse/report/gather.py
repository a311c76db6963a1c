"""What a report shows: all of it from the artefact, its model, and a short run that is traced."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tdse.account import executor_regions
from tdse.bench import model_of
from tdse.child import Progress, unheard
from tdse.graph.model import Graph
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.turn import measuring
from tdse.runtime.artefact import FRONT, METADATA, MODULE, PLACEMENT
from tdse.runtime.metadata import Metadata, read_metadata
from tdse.runtime.model import Model, RegionRun, load
from tdse.runtime.sealed import file_inside
from tdse.runtime.trace import PredictedRun
from tdse.search.front import Front, load_front
from tdse.search.placement import Placement, load_placement
from tdse.timeline import predicted_runs

_WARM_UP_S = 0.3
_TRACED_S = 0.7
_FEWEST_RUNS, _MOST_RUNS = 5, 100


@dataclass(frozen=True)
class RegionTimes:
    """A region, or a transfer of an emulated board, as predicted and as it ran.

    Attributes:
        name: as ``Model.regions`` has it.
        place: where it runs, for people.
        ops: indices of its operators; none of a transfer.
        predicted_us: of one launch; None where it was not searched for.
        quartiles_us: over the traced runs, measured inside the module; the second is the median.
    """

    name: str
    place: str
    ops: tuple[int, ...]
    predicted_us: float | None
    quartiles_us: tuple[float, float, float]

    @property
    def median_us(self) -> float:
        """Of the traced runs."""
        return self.quartiles_us[1]


@dataclass(frozen=True)
class Facts:
    """Everything that a report is made of.

    Attributes:
        metadata: of the artefact: what was predicted and measured when it was compiled.
        placement: of the artefact.
        front: placements to choose from, if it has them.
        graph: the model.
        files: names and bytes of the artefact's files.
        lanes: names of what runs side by side.
        regions: in the order of ``Model.regions``.
        run: the traced run whose length is the median; times count from its start.
        runs: how many were traced.
        predicted: one run as it was predicted.
        conditions: those of the traced runs.
    """

    metadata: Metadata
    placement: Placement
    front: Front | None
    graph: Graph
    files: tuple[tuple[str, int], ...]
    lanes: tuple[str, ...]
    regions: tuple[RegionTimes, ...]
    run: tuple[RegionRun, ...]
    runs: int
    predicted: tuple[PredictedRun, ...]
    conditions: Conditions


def gather(
    directory: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Facts:
    """Read an artefact and run it for a second.

    Args:
        directory: an artefact.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        seed: of the inputs.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact, or it does not fit this machine.
        ModelError: the model is missing, or another than the artefact was made of.
    """
    say = progress or unheard
    metadata = read_metadata(directory)
    graph = model_of(metadata.model, model)
    placement = load_placement(Path(directory) / PLACEMENT)
    say("load", 0, 1, str(directory))
    loaded = load(directory)
    with measuring(say):
        say("measure", 0, 1, "a short run")
        conditions = current_conditions()
        items = _traced(loaded, seed)
    has_front = metadata.files.front is not None
    return Facts(
        metadata=metadata,
        placement=placement,
        front=load_front(Path(directory) / FRONT) if has_front else None,
        graph=graph,
        files=_files(directory),
        lanes=tuple(str(lane["name"]) for lane in loaded.lanes),
        regions=_regions(loaded, metadata, placement, items),
        run=_typical(items),
        runs=len(items),
        predicted=tuple(predicted_runs(Path(directory), loaded)),
        conditions=conditions,
    )


def _files(directory: str | os.PathLike[str]) -> tuple[tuple[str, int], ...]:
    names = (MODULE, PLACEMENT, METADATA)
    return tuple((name, file_inside(directory, name).stat().st_size) for name in names)


def _traced(model: Model, seed: int) -> list[list[RegionRun]]:
    """The regions of each of some calls, once the model is warm."""
    arrays = model.random_inputs(seed)
    first_us = float(median(model.time_runs(arrays, 3)))
    model.time_runs(arrays, max(1, min(1000, int(_WARM_UP_S * 1e6 / max(first_us, 1.0)))))
    once_us = max(1.0, float(median(model.time_runs(arrays, 3))))
    model.start_trace()
    for _ in range(max(_FEWEST_RUNS, min(_MOST_RUNS, int(_TRACED_S * 1e6 / once_us)))):
        model.run(arrays)
    items: dict[int, list[RegionRun]] = {}
    for run in model.take_trace():
        items.setdefault(run.item, []).append(run)
    return list(items.values())


def _typical(items: Sequence[Sequence[RegionRun]]) -> tuple[RegionRun, ...]:
    """The run of median length, its times counted from its own start."""
    ordered = sorted(items, key=_length_us)
    chosen = ordered[len(ordered) // 2]
    start_us = min(run.start_us for run in chosen)
    return tuple(
        RegionRun(run.item, run.region, run.lane, run.start_us - start_us, run.end_us - start_us)
        for run in sorted(chosen, key=lambda run: run.start_us)
    )


def _length_us(runs: Sequence[RegionRun]) -> float:
    return max(run.end_us for run in runs) - min(run.start_us for run in runs)


def _regions(
    model: Model, metadata: Metadata, placement: Placement, items: Sequence[Sequence[RegionRun]]
) -> tuple[RegionTimes, ...]:
    lasted: dict[int, list[float]] = {}
    for runs in items:
        for run in runs:
            lasted.setdefault(run.region, []).append(run.end_us - run.start_us)
    expected = executor_regions(metadata, placement)
    return tuple(
        RegionTimes(region["name"], one.place, one.ops, one.predicted_us, _quartiles(lasted[i]))
        for i, (region, one) in enumerate(zip(model.regions, expected, strict=True))
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high
