"""Compiled kernels of earlier runs, in the user's cache, by what they were compiled from.

Each is a file of its own, so that several processes may read and write at once: a file is written
beside its place and renamed into it, and never changed. What is found damaged counts as missing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

from tdse.files import cache_directory, make_private

# The directory in the user's cache.
KERNELS = "kernels"

# Above the first, the kernels that were not used for longest are removed until the second is kept.
# A kernel takes 10 to 50 KB, those of a network a few MB.
MOST_BYTES = 256 << 20
_KEPT_BYTES = MOST_BYTES * 3 // 4

# A file that was begun so long ago, in seconds, is of a process that has ended.
_ABANDONED_S = 3600.0
_BEGUN = ".begun"

_DIGEST_BYTES = hashlib.sha256().digest_size


def find_kernel(key: str) -> bytes | None:
    """The object file that is kept under ``key``, or None.

    Args:
        key: hexadecimal digest of all that the kernel is compiled from.
    """
    try:
        with (_directory() / key).open("rb") as file:
            # It is code that is about to be run.
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            data = file.read()
            os.utime(file.fileno())
    except OSError:
        return None
    compiled = data[_DIGEST_BYTES:]
    # An interrupted system may leave a file that is too short, or has zeros in it.
    return compiled if hashlib.sha256(compiled).digest() == data[:_DIGEST_BYTES] else None


def keep_kernels(compiled: Iterable[tuple[str, bytes]]) -> None:
    """Keep object files under their keys, and remove old ones where there are too many.

    Where they cannot be kept, a warning says why: all works without them, but slower.
    """
    directory = _directory()
    try:
        make_private(directory.parent)
        directory.mkdir(exist_ok=True)
        for key, data in compiled:
            handle, beside = tempfile.mkstemp(suffix=_BEGUN, dir=directory)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(beside, directory / key)
        _remove_old(directory)
    except OSError as error:
        why = error.strerror or str(error)
        warnings.warn(f"{directory}: compiled kernels are not kept: {why}", stacklevel=2)


def kept_kernels() -> list[Path]:
    """The files of all kernels."""
    return [Path(entry) for entry in _entries(_directory())]


def _directory() -> Path:
    return cache_directory() / KERNELS


def _remove_old(directory: Path) -> None:
    """Remove what was not used for longest, and what nobody goes on writing."""
    found = []
    for entry in _entries(directory):
        try:
            status = entry.stat()
        except FileNotFoundError:
            # Another process is about the same.
            continue
        if entry.name.endswith(_BEGUN):
            if status.st_mtime < time.time() - _ABANDONED_S:
                Path(entry).unlink(missing_ok=True)
            continue
        found.append((status.st_mtime, status.st_size, entry.path))
    size = sum(size_bytes for _, size_bytes, _ in found)
    if size <= MOST_BYTES:
        return
    for _, size_bytes, path in sorted(found):
        Path(path).unlink(missing_ok=True)
        size -= size_bytes
        if size <= _KEPT_BYTES:
            return


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
