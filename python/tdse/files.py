"""Files that a user names, what is said where they cannot be written, and the user's cache."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdse.errors import UsageError


@contextmanager
def written(path: str | os.PathLike[str], what: str, hint: str = "") -> Iterator[None]:
    """Write a file inside the block.

    Args:
        path: the file, or the directory.
        what: is written, for the message.
        hint: what to do where it cannot be.

    Raises:
        UsageError: the system refused it.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{what} cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            hint=hint,
        ) from None


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/tdse``, or ``~/.cache/tdse``.

    A relative ``XDG_CACHE_HOME`` is ignored, as the XDG base directory specification demands.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return Path(base) / "tdse"


def make_private(directory: Path) -> None:
    """Make a directory that only the user may enter: times tell what models somebody has.

    Raises:
        OSError: it cannot be made, or others may enter it and it belongs to one of them.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        directory.chmod(0o700)
