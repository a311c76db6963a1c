"""``tdse report``: gather what is known of an artefact and write it as a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tdse.child import Progress
from tdse.files import written
from tdse.report.gather import Facts, gather
from tdse.report.page import page

REPORT = "report.html"


@dataclass(frozen=True)
class Written:
    """A report that was written, and what it was made of."""

    path: Path
    size_bytes: int
    facts: Facts


def write_report(
    directory: str | os.PathLike[str],
    *,
    save: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Written:
    """Write the report of the artefact in ``directory``.

    Args:
        directory: an artefact.
        save: the file; by default ``report.html`` in the artefact.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        seed: of the inputs of the run that is traced.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact, or it does not fit this machine.
        ModelError: the model is missing, or another than the artefact was made of.
        UsageError: the file cannot be written.
    """
    path = Path(save) if save is not None else Path(directory) / REPORT
    facts = gather(directory, model=model, seed=seed, progress=progress)
    data = page(facts).encode()
    with written(path, "the report", hint="say where with --save"):
        path.write_bytes(data)
    return Written(path, len(data), facts)
