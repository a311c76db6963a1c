"""What tdse keeps between runs: measured times, cost models learnt from them, compiled kernels."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tdse.child import Progress, unheard
from tdse.cost.library import MODELS
from tdse.errors import TdseError
from tdse.files import cache_directory
from tdse.measure.conditions import current_conditions
from tdse.measure.records import STORE, Machine, RecordStore
from tdse.measure.turn import measuring
from tdse.targets.kernel_cache import COMPILED, TUNED

# SQLite keeps two more files beside a store that is in use. The lock of measurements stays: a
# process that waits for it holds the file, not its name.
_PATTERNS = (f"{STORE}*", MODELS)


@dataclass(frozen=True)
class Cache:
    """The user's cache.

    Attributes:
        directory: where it is.
        files: names and bytes; all compiled kernels together as their directory, and all that was
            tuned.
        kernels: the number of those that are compiled.
        tuned: the number of those that were tuned.
        machines: what it has records of.
    """

    directory: Path
    files: tuple[tuple[str, int], ...]
    kernels: int
    tuned: int
    machines: tuple[Machine, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.files)


def list_cache() -> Cache:
    """Look at the cache; nothing is made where there is none.

    Raises:
        TdseError: the records are damaged.
    """
    directory = cache_directory()
    machines: tuple[Machine, ...] = ()
    if (directory / STORE).is_file():
        with closing(RecordStore(current_conditions())) as store:
            machines = tuple(store.machines())
    found = _found(directory)
    files = tuple((name, sum(map(_size_bytes, paths))) for name, paths in found.items())
    kernels, tuned = (len(kept.files()) for kept in (COMPILED, TUNED))
    return Cache(directory, files, kernels, tuned, machines)


def clear_cache(progress: Progress | None = None) -> tuple[tuple[str, int], ...]:
    """Remove all of it, once nobody measures; names and bytes of what is gone, as in ``Cache``.

    Args:
        progress: called with (stage, done, all, detail).

    Raises:
        TdseError: a file cannot be removed.
    """
    say = progress or unheard
    directory = cache_directory()
    if not directory.is_dir():
        return ()
    with measuring(say):
        return tuple((name, sum(map(_remove, paths))) for name, paths in _found(directory).items())


def _remove(path: Path) -> int:
    """Remove a file; the bytes that it had.

    Raises:
        TdseError: it cannot be removed.
    """
    size_bytes = _size_bytes(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TdseError(
            "the cache cannot be cleared",
            where=str(path),
            why=error.strerror or str(error),
            hint="remove the file by hand",
        ) from None
    return size_bytes


def _size_bytes(path: Path) -> int:
    # Others may remove old kernels at any time.
    return path.stat().st_size if path.exists() else 0


def _found(directory: Path) -> dict[str, list[Path]]:
    """Names of entries to their files."""
    files = sorted(path for pattern in _PATTERNS for path in directory.glob(pattern))
    kept = {one.name: one.files() for one in (COMPILED, TUNED) if one.files()}
    return {path.name: [path] for path in files} | kept
