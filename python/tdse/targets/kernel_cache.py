"""What was found out about kernels in earlier runs, kept in the user's cache.

Each entry is a file of its own, so that several processes may read and write at once: a file is
written beside its place and renamed into it, and never changed. What is found damaged counts as
missing.
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

# Above the first, entries that were not used for longest are removed until the second is kept.
# A compiled kernel takes 10 to 50 KB, those of a network a few MB.
MOST_BYTES = 256 << 20
_KEPT_BYTES = MOST_BYTES * 3 // 4

# A file that was begun so long ago, in seconds, is of a process that has ended.
_ABANDONED_S = 3600.0
_BEGUN = ".begun"

_DIGEST_BYTES = hashlib.sha256().digest_size


class KernelCache:
    """Entries of one sort, by keys that are hexadecimal digests of all that they depend on.

    Args:
        name: of their directory in the user's cache.
        what: they are, for messages.
    """

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        self.what = what

    def find(self, key: str) -> bytes | None:
        """What is kept under ``key``, or None."""
        try:
            with (self._directory / key).open("rb") as file:
                # It is code that is about to be run, or decides on it.
                if os.fstat(file.fileno()).st_uid != os.geteuid():
                    return None
                data = file.read()
                os.utime(file.fileno())
        except OSError:
            return None
        kept = data[_DIGEST_BYTES:]
        # An interrupted system may leave a file that is too short, or has zeros in it.
        return kept if hashlib.sha256(kept).digest() == data[:_DIGEST_BYTES] else None

    def keep(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Keep data under their keys, and remove old ones where there is too much.

        Where they cannot be kept, a warning says why: all works without them, but slower.
        """
        directory = self._directory
        try:
            make_private(directory.parent)
            directory.mkdir(exist_ok=True)
            for key, data in entries:
                handle, beside = tempfile.mkstemp(suffix=_BEGUN, dir=directory)
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(data).digest() + data)
                os.replace(beside, directory / key)
            _remove_old(directory)
        except OSError as error:
            why = error.strerror or str(error)
            warnings.warn(f"{directory}: {self.what} are not kept: {why}", stacklevel=2)

    def files(self) -> list[Path]:
        """The files of all entries."""
        return [Path(entry) for entry in _entries(self._directory)]

    @property
    def _directory(self) -> Path:
        return cache_directory() / self.name


# Object files of kernels for CPUs.
COMPILED = KernelCache("kernels", "compiled kernels")
# Which code of a kernel is fastest, where that was measured.
TUNED = KernelCache("tuned", "results of tuning")


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
