"""Whether an artefact is whole and fits this machine, before any of its code is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import tdse
from tdse import versions
from tdse.errors import ArtefactError
from tdse.processor import Processor, this_processor
from tdse.runtime.artefact import METADATA
from tdse.runtime.sealed import AGAIN, file_digest, file_inside, read_bytes, sound_values


def check_artefact(
    directory: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """The metadata of the artefact in ``directory``, once all that they promise has been checked.

    To load ``model.so`` runs code in it, so a file that is damaged, or was made for other
    libraries or another processor, must not get that far.

    Args:
        directory: the artefact.
        public_key: an Ed25519 public key in PEM, if the artefact must be signed with it.

    Returns:
        Keys and values of ``metadata.json``, which ``tdse.runtime.metadata`` describes.

    Raises:
        ArtefactError: it is incomplete, damaged, was made for another environment, or is not
            signed with the key.
        UsageError: the key cannot be read.
    """
    _, text = read_bytes(directory, public_key)
    values = sound_values(text)
    if values is None:
        # It says what is wrong, or what else means the same.
        from tdse.runtime.metadata import read_metadata

        values = read_metadata(directory, public_key=public_key).as_dict()
    _check_maker(values["tdse"], directory)
    _check_processor(values["cpu"], this_processor(), directory)
    _check_needs(values["needs"], directory)
    for name, digest in values["files"].items():
        _check_file(directory, name, digest)
    return values


def demand_edgetpus(metadata: Mapping[str, Any]) -> None:
    """Refuse to load for an Edge TPU where there is none; nothing else takes its place.

    Raises:
        TargetError: with the kind that says what is missing.
    """
    count = metadata.get("edgetpus", 0)
    if count:
        from tdse.edgetpu.delegate import demand_devices

        demand_devices(count)


def _check_maker(version: str, directory: str | os.PathLike[str]) -> None:
    if versions.is_newer(version, tdse.__version__):
        raise ArtefactError(
            "the artefact was made by a newer tdse",
            where=str(directory),
            why=f"it was made by {version}, this is {tdse.__version__}",
            hint=f"update {versions.own_distribution()}",
        )


def _check_needs(needs: Mapping[str, str], directory: str | os.PathLike[str]) -> None:
    missing = versions.missing(needs)
    if missing:
        raise ArtefactError(
            f"the artefact needs {', '.join(f'{name} {needs[name]}' for name in missing)}",
            where=str(directory),
            why=f"{'it is' if len(missing) == 1 else 'they are'} not installed",
            hint=versions.install_command(missing),
        )
    misfits = versions.misfits(needs)
    if misfits:
        raise ArtefactError(
            "the artefact was made with other libraries",
            where=str(directory),
            why="; ".join(misfits),
            hint="compile the model again with those that are installed",
        )


def _check_processor(
    cpu: Mapping[str, Any], here: Processor, directory: str | os.PathLike[str]
) -> None:
    if cpu["isa"] != here.isa:
        why = f"it is for {cpu['isa']}, this machine is {here.isa}"
    elif missing := sorted(set(cpu["features"]) - here.features):
        why = f"its kernels may use {', '.join(missing)}, which this machine has not"
    else:
        return
    raise ArtefactError(
        "the artefact was made for another processor",
        where=str(directory),
        why=why,
        hint="compile the model again for this machine",
    )


def _check_file(directory: str | os.PathLike[str], name: str, digest: str) -> None:
    path = file_inside(directory, name)
    try:
        found = file_digest(path)
    except OSError as error:
        raise ArtefactError(
            f"{name} cannot be read", where=str(path), why=error.strerror or str(error)
        ) from None
    if found != digest:
        raise ArtefactError(
            f"{name} is damaged",
            where=str(path),
            why=f"its sha256 is {found[:12]}..., {METADATA} says {digest[:12]}...",
            hint=AGAIN,
        )
