"""Read the graph of a ``.tflite`` file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ..errors import ModelError
from .assemble import assemble
from .model import Graph
from .unpack import UnreadableError, unpack
from .verify import IDENTIFIER, DamagedError, verify

_WHAT = "cannot read the model"
_HINT = "give the path of a .tflite file"


def read_tflite(source: str | Path | bytes, name: str = "") -> Graph:
    """Read subgraph 0 of a TFLite model.

    Whatever a file says of itself, reading it takes at most 200 bytes of memory for each of its
    own, and 1 MiB.

    Args:
        source: path of a ``.tflite`` file, or its bytes.
        name: what messages call the model; the file's name without suffix by default.

    Raises:
        ModelError: the file cannot be read, is damaged, makes no sense as a graph, or needs a
            newer schema.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, where = bytes(source), name or "model"
    else:
        data, where = _read_file(Path(source)), str(source)
        name = name or Path(source).stem
    try:
        verify(data)
        sha256 = hashlib.sha256(data).hexdigest()
        graph = assemble(unpack(data, sha256), data)
    except DamagedError as error:
        raise ModelError(_WHAT, where=where, why=str(error), hint=_hint_for(data)) from error
    except UnreadableError as error:
        raise ModelError(_WHAT, where=where, why=str(error), hint=error.hint) from error
    return replace(graph, name=name or "model", sha256=sha256)


def _read_file(path: Path) -> bytes:
    try:
        if path.is_dir():
            saved_model = (path / "saved_model.pb").exists()
            raise ModelError(
                _WHAT,
                where=str(path),
                why="it is a directory",
                hint="convert the SavedModel to .tflite first" if saved_model else _HINT,
            )
        if path.exists() and not path.is_file():
            # A pipe or a device may never end.
            raise ModelError(_WHAT, where=str(path), why="it is not a regular file", hint=_HINT)
        return path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ModelError(_WHAT, where=str(path), why=why, hint=_HINT) from error
    except ValueError as error:
        raise ModelError(_WHAT, where=repr(str(path)), why=str(error), hint=_HINT) from error


def _hint_for(data: bytes) -> str:
    if data[4:8] == IDENTIFIER:
        return "the file is damaged or cut off, copy it again"
    if data.startswith((b"PK\x03\x04", b"\x89HDF")):
        return "this looks like a Keras model, convert it to .tflite first"
    return _HINT
