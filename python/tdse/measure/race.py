"""Time whole models against each other: interleaved, in several process launches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tdse.measure.activations import Array
from tdse.measure.deadline import Stop
from tdse.worker import run_worker

# A launch that takes this much longer than it times, in seconds, is taken for hung.
_LAUNCH_LIMIT_S = 300.0


@dataclass(frozen=True)
class Entry:
    """One contestant of a race.

    Attributes:
        name: unique in the race.
        kind: how the worker makes it: ``plan``, ``artefact``, ``litert``, ``tvm``, ``openvino``.
        arguments: what it needs for that; JSON values, paths as text.
    """

    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lap:
    """What one entry did in one launch; all times in microseconds.

    Attributes:
        times_us: of whole calls, numpy arrays in and out; or of a stream, between two results.
        load_us: from nothing to ready.
        first_us: the first call.
        resident_bytes: growth of the resident memory while loading and calling once.
        regions_us: medians of the regions of a plan that was to be traced; else none.
    """

    times_us: tuple[float, ...]
    load_us: float
    first_us: float
    resident_bytes: int
    regions_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """All launches of one entry."""

    name: str
    laps: tuple[Lap, ...]

    @property
    def medians_us(self) -> list[float]:
        """The median of each launch, microseconds."""
        return [float(np.median(lap.times_us)) for lap in self.laps]

    @property
    def median_us(self) -> float:
        """The median of the launches' medians, microseconds."""
        return float(np.median(self.medians_us))

    def percentile_us(self, percent: float) -> float:
        """A percentile over the calls of all launches, microseconds."""
        return float(np.percentile(np.concatenate([lap.times_us for lap in self.laps]), percent))


def race(
    entries: Sequence[Entry],
    inputs: Sequence[Array],
    *,
    launches: int,
    seconds: float,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    stop: Stop | None = None,
) -> dict[str, Result]:
    """Time ``entries`` on ``inputs``; each launch is a new process that runs all of them in turns.

    Args:
        entries: the contestants; names must differ.
        inputs: one array for each input of the model.
        launches: processes, one after the other.
        seconds: timed seconds of each launch, shared by the entries.
        seed: of the order within each turn.
        progress: called with (done, all) launches.
        stop: no launch but the first is begun once it is asked for.

    Returns:
        The result of each entry, by name.

    Raises:
        TdseError: a launch failed; its last line of error output is the reason.
    """
    laps: dict[str, list[Lap]] = {entry.name: [] for entry in entries}
    with tempfile.TemporaryDirectory(prefix="tdse-race-") as directory:
        np.savez(Path(directory) / "inputs.npz", *inputs)
        for launch in range(launches):
            if launch > 0 and stop is not None and stop.is_asked:
                break
            if progress is not None:
                progress(launch, launches)
            spec = {
                "entries": [[e.name, e.kind, e.arguments] for e in entries],
                "inputs": str(Path(directory) / "inputs.npz"),
                "seconds": seconds,
                "seed": seed + launch,
            }
            found = run_worker(
                "tdse.measure.race_worker",
                doing="timing the candidates",
                limit_s=_LAUNCH_LIMIT_S + 20 * seconds,
                given=json.dumps(spec),
            )
            for name, lap in found.items():
                laps[name].append(
                    Lap(
                        tuple(lap["times_us"]),
                        lap["load_us"],
                        lap["first_us"],
                        lap["resident_bytes"],
                        tuple(lap.get("regions_us", ())),
                    )
                )
    return {name: Result(name, tuple(driven)) for name, driven in laps.items()}
