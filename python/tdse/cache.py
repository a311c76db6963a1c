"""What tdse keeps between runs: measured times, and the cost models learnt from them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tdse.child import Progress, unheard
from tdse.cost.library import MODELS
from tdse.errors import TdseError
from tdse.measure.conditions import current_conditions
from tdse.measure.records import STORE, Machine, RecordStore, cache_directory
from tdse.measure.turn import measuring

# SQLite keeps two more files beside a store that is in use. The lock of measurements stays: a
# process that waits for it holds the file, not its name.
_PATTERNS = (f"{STORE}*", MODELS)


@dataclass(frozen=True)
class Cache:
    """The user's cache.

    Attributes:
        directory: where it is.
        files: names and bytes.
        machines: what it has records of.
    """

    directory: Path
    files: tuple[tuple[str, int], ...]
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
    files = tuple((path.name, path.stat().st_size) for path in _files(directory))
    return Cache(directory, files, machines)


def clear_cache(progress: Progress | None = None) -> tuple[tuple[str, int], ...]:
    """Remove all records and models, once nobody measures; names and bytes of what is gone.

    Args:
        progress: called with (stage, done, all, detail).

    Raises:
        TdseError: a file cannot be removed.
    """
    say = progress or unheard
    directory = cache_directory()
    removed = []
    if not directory.is_dir():
        return ()
    with measuring(say):
        for path in _files(directory):
            size = path.stat().st_size
            try:
                path.unlink()
            except OSError as error:
                raise TdseError(
                    "the cache cannot be cleared",
                    where=str(path),
                    why=error.strerror or str(error),
                    hint="remove the file by hand",
                ) from None
            removed.append((path.name, size))
    return tuple(removed)


def _files(directory: Path) -> list[Path]:
    return sorted(path for pattern in _PATTERNS for path in directory.glob(pattern))
