"""Whether an artefact is whole and fits this machine, before any of its code is loaded."""

from __future__ import annotations

import os

import tdse
from tdse import versions
from tdse.errors import ArtefactError
from tdse.platform.discover import discover_host
from tdse.platform.model import Device
from tdse.runtime.artefact import METADATA
from tdse.runtime.metadata import Cpu, Metadata, file_digest, file_inside, read_metadata


def check_artefact(
    directory: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
) -> Metadata:
    """The metadata of the artefact in ``directory``, once all that they promise has been checked.

    To load ``model.so`` runs code in it, so a file that is damaged, or was made for other
    libraries or another processor, must not get that far.

    Args:
        directory: the artefact.
        public_key: an Ed25519 public key in PEM, if the artefact must be signed with it.

    Raises:
        ArtefactError: it is incomplete, damaged, was made for another environment, or is not
            signed with the key.
        UsageError: the key cannot be read.
    """
    metadata = read_metadata(directory, public_key=public_key)
    _check_versions(metadata, directory)
    _check_cpu(metadata.cpu, discover_host().devices[0], directory)
    for name, digest in metadata.files.model_dump(by_alias=True, exclude_none=True).items():
        _check_file(directory, name, digest)
    return metadata


def demand_edgetpus(metadata: Metadata) -> None:
    """Refuse to load for an Edge TPU where there is none; nothing else takes its place.

    Raises:
        TargetError: with the kind that says what is missing.
    """
    if metadata.edgetpus:
        from tdse.edgetpu.delegate import demand_devices

        demand_devices(metadata.edgetpus)


def _check_versions(metadata: Metadata, directory: str | os.PathLike[str]) -> None:
    if versions.is_newer(metadata.tdse, tdse.__version__):
        raise ArtefactError(
            "the artefact was made by a newer tdse",
            where=str(directory),
            why=f"it was made by {metadata.tdse}, this is {tdse.__version__}",
            hint="update tdse",
        )
    misfits = versions.misfits(metadata.versions.model_dump(by_alias=True))
    if misfits:
        raise ArtefactError(
            "the artefact was made with other libraries",
            where=str(directory),
            why="; ".join(misfits),
            hint="compile the model again with those that are installed",
        )


def _check_cpu(cpu: Cpu, here: Device, directory: str | os.PathLike[str]) -> None:
    if cpu.isa != here.isa:
        why = f"it is for {cpu.isa}, this machine is {here.isa}"
    elif missing := sorted(set(cpu.features) - set(here.features)):
        why = f"its kernels may use {', '.join(missing)}, which this machine has not"
    else:
        return
    raise ArtefactError(
        "the artefact was made for another processor",
        where=str(directory),
        why=why,
        hint="compile the model again on a machine of this kind",
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
            hint="copy the artefact again, or compile the model again",
        )
