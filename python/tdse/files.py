"""Files that a user names, and what is said where they cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

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
