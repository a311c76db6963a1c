"""Whether an artefact's metadata were signed by the owner of a key."""

from __future__ import annotations

import os
from pathlib import Path

from tdse.errors import ArtefactError, TdseError, UsageError

_SUFFIX = ".sig"


def check_signature(path: Path, data: bytes, public_key: str | os.PathLike[str]) -> None:
    """Check the Ed25519 signature of a file, which stands beside it in ``FILE.sig``.

    Args:
        path: the file that was signed.
        data: what has been read from it.
        public_key: the public key to trust, in PEM.

    Raises:
        ArtefactError: there is no signature, or it is not of this key and this file.
        UsageError: the key cannot be read, or is of another kind.
        TdseError: the package that checks signatures is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise TdseError(
            "signatures cannot be checked",
            why="the package cryptography is not installed",
            hint="pip install tdse[signature]",
        ) from None
    try:
        key = load_pem_public_key(Path(public_key).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "the public key cannot be read",
            where=str(public_key),
            why=str(error),
            hint="give an Ed25519 public key in PEM",
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(
            "the public key is of another kind",
            where=str(public_key),
            hint="give an Ed25519 public key in PEM",
        )
    signature = path.with_name(path.name + _SUFFIX)
    try:
        key.verify(signature.read_bytes(), data)
    except OSError as error:
        raise ArtefactError(
            "the artefact's signature cannot be read",
            where=str(signature),
            why=error.strerror or str(error),
            hint="sign the artefact, or load it without a key if you trust where it comes from",
        ) from None
    except InvalidSignature:
        raise ArtefactError(
            "the artefact's signature is not that of this key",
            where=str(signature),
            why="it was signed with another key, or has been changed since",
            hint="do not use it; get it again from its maker",
        ) from None
