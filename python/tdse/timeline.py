"""The run of an artefact that was predicted, region by region, to be seen beside what ran."""

from __future__ import annotations

from pathlib import Path

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
    emulated = read_metadata(directory).emulated
    # The executor's regions are the steps of an emulated board, and the placement's regions else.
    windows = (
        [(step.lanes, step.start_us, step.modelled_us) for step in emulated.steps]
        if emulated is not None
        else [
            (region.lanes, region.predicted_start_us, region.predicted_us)
            for region in load_placement(Path(directory) / PLACEMENT).regions
        ]
    )
    return [
        PredictedRun(region["name"], lanes[0], start_us, time_us)
        for region, (lanes, start_us, time_us) in zip(model.regions, windows, strict=True)
        if start_us is not None and time_us is not None
    ]
