"""Files of an artefact and their sha256, as whoever loads one reads them: without the whole schema.

To read all of ``metadata.json`` takes pydantic, which takes longer to import than a model to load.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdse.errors import ArtefactError
from tdse.runtime.artefact import FRONT, METADATA, METADATA_SCHEMA, MODULE, PLACEMENT

AGAIN = "copy the artefact again, or compile the model again"


def read_bytes(
    directory: str | os.PathLike[str], public_key: str | os.PathLike[str] | None
) -> tuple[Path, bytes]:
    """The path of an artefact's metadata and what is in it, signed with the key if one is given.

    Raises:
        ArtefactError: there is no artefact, its metadata cannot be read, or are not signed with the
            key.
        UsageError: the key cannot be read.
    """
    if not Path(directory).is_dir():
        raise ArtefactError(
            "no such output directory", where=str(directory), hint="make it with tdsec MODEL -o OUT"
        )
    path = file_inside(directory, METADATA)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            "the metadata cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            hint=AGAIN,
        ) from None
    if public_key is not None:
        from tdse.runtime.signature import check_signature

        check_signature(path, text, public_key)
    return path, text


def sound_values(text: bytes) -> dict[str, Any] | None:
    """The metadata in ``text``; None unless they are whole and have what loading needs, as it
    needs it. ``tdse.runtime.metadata`` says what is wrong with others.
    """
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, dict) or values.get("schema") != METADATA_SCHEMA:
        return None
    if values.get("metadata_sha256") != digest_of(values):
        return None
    cpu, files, needs = (values.get(key) for key in ("cpu", "files", "needs"))
    sound = (
        isinstance(values.get("tdse"), str)
        and _is_texts(values.get("inputs"))
        and _is_texts(values.get("outputs"))
        and isinstance(cpu, dict)
        and isinstance(cpu.get("isa"), str)
        and _is_texts(cpu.get("features"))
        and isinstance(files, dict)
        and {MODULE, PLACEMENT} <= set(files) <= {MODULE, PLACEMENT, FRONT}
        and _is_texts(list(files.values()))
        and isinstance(needs, dict)
        and _is_texts(list(needs.values()))
        and isinstance(values.get("edgetpus", 0), int)
    )
    return values if sound else None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def file_inside(directory: str | os.PathLike[str], name: str) -> Path:
    """The regular file ``name`` of an artefact.

    Raises:
        ArtefactError: it is not there, or a symbolic link leads out of the artefact.
    """
    root = Path(directory).resolve()
    path = Path(directory) / name
    if not path.resolve().is_relative_to(root):
        raise ArtefactError(
            f"{name} is a link that leads out of the artefact",
            where=str(path),
            hint="put the file itself there, or compile the model again",
        )
    if not path.is_file():
        raise ArtefactError(
            f"the artefact has no {name}",
            where=str(directory),
            hint="make it with tdsec MODEL -o OUT",
        )
    return path


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(values: Mapping[str, Any]) -> str:
    """sha256 of all keys but the one it goes to."""
    rest = {key: value for key, value in values.items() if key != "metadata_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
