"""The files of an artefact, ``out/``, and how it is written: beside, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdse.errors import ArtefactError, UsageError

MODULE = "model.so"
PLACEMENT = "placement.json"
METADATA = "metadata.json"
METADATA_SCHEMA = "tdse.metadata/1"


def read_metadata(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of the artefact in ``directory``.

    Raises:
        ArtefactError: there is no artefact, or its metadata cannot be read.
    """
    path = Path(directory) / METADATA
    if not Path(directory).is_dir():
        raise ArtefactError(
            "no such output directory", where=str(directory), hint="make it with tdsec MODEL -o OUT"
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(
            f"the directory holds no {METADATA}",
            where=str(directory),
            why="it was not written by tdsec",
            hint="make it with tdsec MODEL -o OUT",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtefactError(
            "the metadata cannot be read",
            where=str(path),
            why=str(error),
            hint="compile the model again",
        ) from None
    if not isinstance(metadata, dict) or metadata.get("schema") != METADATA_SCHEMA:
        raise ArtefactError(
            "the metadata is of another version of tdse",
            where=str(path),
            why=f"its schema is not {METADATA_SCHEMA}",
            hint="compile the model again with this version",
        )
    return metadata


def check_writable(directory: str | os.PathLike[str]) -> None:
    """Refuse an output directory that could not be written, before any long work is done.

    Raises:
        ArtefactError: its parent cannot be written to.
        UsageError: it exists and is not an artefact, so that replacing it would lose files.
    """
    out = Path(directory)
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tdse-", dir=parent):
            pass
    except OSError as error:
        raise ArtefactError(
            "the output directory cannot be written",
            where=str(out),
            why=error.strerror or str(error),
            hint="choose another with -o",
        ) from None
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(
            "the output exists and is not a directory",
            where=str(out),
            hint="choose another with -o",
        )
    if out.is_dir() and any(out.iterdir()) and not (out / METADATA).is_file():
        raise UsageError(
            "the output directory holds files that tdse did not write",
            where=str(out),
            why="it would be replaced as a whole",
            hint="choose another with -o, or empty it",
        )


@contextlib.contextmanager
def replacing(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary directory that takes the place of ``directory`` once the block is through.

    What stood in ``directory`` stays there untouched if the block raises.

    Raises:
        ArtefactError: the directory cannot be written.
    """
    out = Path(directory)
    parent = out.absolute().parent
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=parent))
    except OSError as error:
        raise ArtefactError(
            "the output directory cannot be written",
            where=str(out),
            why=error.strerror or str(error),
            hint="choose another with -o",
        ) from None
    try:
        yield beside
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o777 & ~umask)
        _swap(beside, out)
    except OSError as error:
        raise ArtefactError(
            "the output directory cannot be written",
            where=str(out),
            why=error.strerror or str(error),
            hint="free some space or choose another with -o",
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _swap(beside: Path, out: Path) -> None:
    if not out.exists():
        beside.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=beside.parent))
    old.rmdir()
    out.rename(old)
    try:
        beside.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with a closing newline."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
