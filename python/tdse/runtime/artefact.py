"""The files of an artefact, ``out/``, and how it is written: beside, then renamed."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdse.errors import ArtefactError, TdseError, UsageError

MODULE = "model.so"
PLACEMENT = "placement.json"
FRONT = "front.json"
METADATA = "metadata.json"
METADATA_SCHEMA = "tdse.metadata/5"

# An artefact is written in seconds; a temporary directory of this age has lost its process.
_STALE_S = 3600.0

# Bytes that a compilation may need on disk: some candidates, each with the model's weights.
_SPACE = 16 << 20
_SPACE_PER_BYTE = 8


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
        raise _not_written(out, error) from None
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


def demand_space(model_bytes: int, directory: str | os.PathLike[str]) -> None:
    """Refuse to start where compiled code could not be written: LLVM then ends the process.

    Args:
        model_bytes: size of the model.
        directory: the output directory.

    Raises:
        TdseError: there is too little space beside it or for temporary files.
    """
    needed = _SPACE + _SPACE_PER_BYTE * model_bytes
    try:
        places = (Path(directory).absolute().parent, Path(tempfile.gettempdir()))
    except FileNotFoundError as error:
        raise TdseError(
            "there is no directory for temporary files",
            why=error.strerror or str(error),
            hint="point TMPDIR to one that can be written",
        ) from None
    for place in places:
        free = shutil.disk_usage(place).free
        if free < needed:
            raise TdseError(
                "there is too little space",
                where=str(place),
                why=f"{free / 2**20:.0f} MiB are free, {needed / 2**20:.0f} MiB may be needed",
                hint="free some, choose another output with -o, or another TMPDIR",
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
    _sweep(parent, out.name)
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=parent))
    except OSError as error:
        raise _not_written(out, error) from None
    try:
        yield beside
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o777 & ~umask)
        _swap(beside, out)
    except OSError as error:
        raise _not_written(out, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _not_written(out: Path, error: OSError) -> ArtefactError:
    return ArtefactError(
        "the output directory cannot be written",
        where=str(out),
        why=error.strerror or str(error),
        hint="free some space or choose another with -o",
    )


def _sweep(parent: Path, name: str) -> None:
    """Remove what a killed process left beside the output."""
    for left in parent.glob(f".{glob.escape(name)}-*"):
        with contextlib.suppress(OSError):
            if left.is_dir() and time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left)


def _swap(beside: Path, out: Path) -> None:
    """Put ``beside`` in the place of ``out``; at every moment one of the two is there, whole."""
    if not out.exists():
        beside.rename(out)
    elif not _exchange(beside, out):
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=beside.parent))
        out.rename(old)
        try:
            beside.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


# From linux/fs.h and fcntl.h.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step; False where the file system or libc cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with a closing newline."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
