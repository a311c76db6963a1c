"""Keep native libraries from writing to the terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# File descriptor 2 belongs to the whole process, so nested and concurrent uses share one switch.
_lock = threading.Lock()
_users = 0
_saved = -1


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what is written to file descriptor 2 meanwhile.

    For calls that are expected to fail: TVM and LiteRT then log from C++ what they also raise.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users, _saved
    with _lock:
        _users += 1
        if _users > 1:
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        _saved = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)


def _leave() -> None:
    global _users, _saved
    with _lock:
        _users -= 1
        if _users == 0:
            os.dup2(_saved, 2)
            os.close(_saved)
            _saved = -1
