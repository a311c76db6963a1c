"""Whether a finished artefact still fits: what has changed since, and is it still worth having."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from tdse.bench import OURS, bench
from tdse.child import Progress
from tdse.errors import ArtefactError
from tdse.measure.conditions import current_conditions
from tdse.measure.stats import Ratio
from tdse.runtime.metadata import MadeUnder, read_metadata

# A loss is what exceeds both, so that noise is not taken for one.
_LEAST_SPEEDUP = 0.97
_MOST_US = 15.0


@dataclass(frozen=True)
class Fit:
    """What ``check_fit`` found.

    Attributes:
        changes: conditions that are others than when the artefact was made.
        litert: LiteRT with the thread count that suits it best, for example ``litert x2``.
        speedup: its time over the artefact's.
        loss_us: microseconds that the artefact takes longer; negative if it is faster.
    """

    changes: tuple[str, ...]
    litert: str
    speedup: Ratio
    loss_us: float

    @property
    def is_slower(self) -> bool:
        """Whether users would be better off with LiteRT."""
        return self.speedup.high < _LEAST_SPEEDUP and self.loss_us > _MOST_US

    def demand(self, directory: str | os.PathLike[str]) -> None:
        """Nothing if the artefact still fits.

        Raises:
            ArtefactError: something has changed, or LiteRT has become faster.
        """
        faults = list(self.changes)
        if self.is_slower:
            faults.append(f"{self.litert} is faster: {self.speedup} times as fast as that")
        if faults:
            raise ArtefactError(
                "the artefact no longer fits",
                where=str(directory),
                why="; ".join(faults),
                hint="compile the model again",
            )

    def as_dict(self) -> dict[str, Any]:
        """The fields, as plain values."""
        return {**asdict(self), "is_slower": self.is_slower}


def check_fit(
    directory: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    launches: int = 5,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Fit:
    """Compare the artefact's conditions with today's, and its time with LiteRT's.

    Args and errors are those of ``tdse.bench.bench``; an artefact whose libraries or processor are
    too different to run it at all is an ArtefactError.
    """
    metadata = read_metadata(directory)
    report = bench(
        directory,
        model=model,
        inputs=inputs,
        against=("litert",),
        stream=metadata.objective == "throughput",
        launches=launches,
        seconds=seconds,
        seed=seed,
        progress=progress,
    )
    times = {row.name: row.result.median_us for row in report.rows if row.result is not None}
    best = report.best_litert
    if best is None or best.against is None:
        raise ArtefactError("LiteRT could not be timed beside the artefact", where=str(directory))
    return Fit(
        changes=_changes(metadata.conditions),
        litert=best.name,
        speedup=best.against,
        loss_us=times[OURS] - times[best.name],
    )


def _changes(then: MadeUnder) -> tuple[str, ...]:
    now = current_conditions()
    pairs = [
        ("cpu", then.cpu, now.cpu),
        ("cores", then.cores, now.cores),
        ("frequency governor", then.governor, now.governor),
    ]
    versions = dict(now.versions)
    pairs += [(name, version, versions.get(name, "")) for name, version in then.versions]
    return tuple(
        f"{name} was {was or 'not told'}, is {present or 'not told'}"
        for name, was, present in pairs
        if was != present
    )
