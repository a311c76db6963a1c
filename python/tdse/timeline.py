"""The run of an artefact that was predicted, region by region, to be seen beside what ran."""

from __future__ import annotations

from pathlib import Path

from tdse.account import executor_regions
from tdse.runtime.artefact import PLACEMENT
from tdse.runtime.metadata import read_metadata
from tdse.runtime.model import Model
from tdse.runtime.trace import PredictedRun
from tdse.search.placement import load_placement


def predicted_runs(directory: Path | str, model: Model) -> list[PredictedRun]:
    """One run as it was predicted; of a region with copies on several lanes, on the first of them.

    Args:
        directory: the artefact.
        model: loaded from it.

    Returns:
        What is known of the run; nothing where the placement was given, not searched for.

    Raises:
        ArtefactError: the metadata cannot be read.
        PlacementError: the placement cannot.
    """
    placement = load_placement(Path(directory) / PLACEMENT)
    expected = executor_regions(read_metadata(directory), placement)
    return [
        PredictedRun(region["name"], one.lanes[0], one.start_us, one.predicted_us)
        for region, one in zip(model.regions, expected, strict=True)
        if one.start_us is not None and one.predicted_us is not None
    ]
