"""Two artefacts of one model side by side: where operators run, how fast, how large, how right."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdse.account import place_of
from tdse.bench import cases_of, model_of
from tdse.child import Progress, unheard
from tdse.divergence import Divergence, divergence_json, find_divergence
from tdse.errors import UsageError
from tdse.measure.race import Entry, race
from tdse.measure.stats import Ratio, ratio
from tdse.measure.turn import measuring
from tdse.runtime.artefact import MODULE, PLACEMENT
from tdse.runtime.metadata import read_metadata
from tdse.runtime.model import load
from tdse.runtime.sealed import file_inside
from tdse.search.placement import load_placement


@dataclass(frozen=True)
class Side:
    """One of the two artefacts.

    Attributes:
        directory: as it was given.
        places: where operators run, to how many.
        regions: how many.
        threads: of a region.
        lanes: that work side by side.
        predicted_us: of one run, when it was compiled; None where it is not known.
        median_us: of one run, measured now in turns with the other; None of an emulated board.
        module_bytes: of ``model.so``.
        divergence: its regions beside LiteRT.
    """

    directory: str
    places: Mapping[str, int]
    regions: int
    threads: int
    lanes: int
    predicted_us: float | None
    median_us: float | None
    module_bytes: int
    divergence: Divergence


@dataclass(frozen=True)
class Diff:
    """Two artefacts.

    Attributes:
        one: the first.
        two: the second.
        moved: label of an operator, where it runs in the first, and where in the second.
        speed: the first's time over the second's; None if one is of an emulated board.
    """

    one: Side
    two: Side
    moved: tuple[tuple[str, str, str], ...]
    speed: Ratio | None


def diff(
    one: str | os.PathLike[str],
    two: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    launches: int = 3,
    seconds: float = 0.5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diff:
    """Compare two artefacts of one model.

    Args:
        one: an artefact.
        two: another.
        model: the ``.tflite`` they were made of; by default where it was when compiled.
        inputs: an ``.npz`` as of ``bench``; random if None.
        launches: processes to time in, one after the other.
        seconds: timed seconds of each.
        seed: of random inputs and the order of timing.
        progress: called with (stage, done, all, detail).

    Raises:
        UsageError: they are of different models, the inputs do not fit, or nothing is launched.
        TdseError: as of ``find_divergence``.
    """
    say = progress or unheard
    if launches < 1:
        raise UsageError("there must be at least one launch")
    metadata = {name: read_metadata(name) for name in (one, two)}
    if metadata[one].model.sha256 != metadata[two].model.sha256:
        raise UsageError(
            "the artefacts are of different models",
            where=f"{one}, {two}",
            why=f"they were made of {metadata[one].model.name} and {metadata[two].model.name}",
            hint="compile the same model twice, with other options",
        )
    placements = {name: load_placement(Path(name) / PLACEMENT) for name in (one, two)}
    places = {
        name: {op.index: place_of(op, metadata[name]) for op in placements[name].ops}
        for name in (one, two)
    }
    is_emulated = any(each.emulated is not None for each in metadata.values())
    medians: dict[str, float] = {}
    speed = None
    if not is_emulated:
        graph = model_of(metadata[one].model, model)
        case = cases_of(graph, load(one), inputs, seed)[0]
        entries = [
            Entry(key, "artefact", {"directory": str(Path(name).absolute()), "streamed": False})
            for key, name in (("one", one), ("two", two))
        ]
        with measuring(say):
            results = race(
                entries,
                case,
                launches=launches,
                seconds=seconds,
                seed=seed,
                progress=lambda done, total: say("race", done, total, ""),
            )
        medians = {key: result.median_us for key, result in results.items()}
        speed = ratio(results["one"].medians_us, results["two"].medians_us)
    sides = [
        Side(
            directory=str(name),
            places=dict(Counter(places[name].values())),
            regions=len(placements[name].regions),
            threads=placements[name].threads,
            lanes=metadata[name].lanes,
            predicted_us=metadata[name].predicted_us,
            median_us=medians.get(key),
            module_bytes=file_inside(name, MODULE).stat().st_size,
            divergence=find_divergence(
                name, model=model, inputs=inputs, seed=seed, progress=progress
            ),
        )
        for key, name in (("one", one), ("two", two))
    ]
    moved = tuple(
        (op.label, places[one][op.index], places[two][op.index])
        for op in placements[one].ops
        if places[one][op.index] != places[two][op.index]
    )
    return Diff(sides[0], sides[1], moved, speed)


def diff_json(found: Diff) -> dict[str, Any]:
    """The same as plain values; times in microseconds."""
    sides = [
        {**asdict(side), "divergence": divergence_json(side.divergence)}
        for side in (found.one, found.two)
    ]
    return {
        "one": sides[0],
        "two": sides[1],
        "moved": [list(each) for each in found.moved],
        "time_of_one_over_two": None if found.speed is None else asdict(found.speed),
    }
