"""One measurement at a time on a machine: processes of tdse that measure take turns."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from tdse.errors import TdseError
from tdse.files import cache_directory, make_private


@contextlib.contextmanager
def measuring(say: Callable[[str, int, int, str], None]) -> Iterator[None]:
    """Hold the machine while the block runs; two that measure at once would time each other.

    The lock is a file beside the user's records, and goes with its process, however that ends.

    Args:
        say: told with (stage, done, all, detail) if another process holds the machine.

    Raises:
        TdseError: the lock cannot be made.
    """
    path = cache_directory() / "measuring.lock"
    try:
        make_private(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TdseError(
            "the record store cannot be used",
            where=str(path.parent),
            why=error.strerror or str(error),
            hint="point XDG_CACHE_HOME to a directory that can be written",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("wait", 0, 1, "for another tdse to finish measuring")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
