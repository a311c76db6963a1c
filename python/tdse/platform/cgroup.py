"""Limits of control groups, versions 1 and 2, on the CPU time and memory of this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpu_limit(root: Path = Path("/")) -> int | None:
    """CPUs' worth of time that the process may use, rounded up; None without a limit.

    Args:
        root: where ``proc`` and ``sys`` are found.
    """
    shares = []
    for group in _groups(root, "cpu"):
        quota = _words(group / "cpu.max")
        if not quota:
            quota = _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
        if len(quota) == 2 and all(word.isdecimal() for word in quota) and int(quota[1]) > 0:
            shares.append(-(-int(quota[0]) // int(quota[1])))
    return max(1, min(shares)) if shares else None


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes of memory that the process may use; None without a limit.

    Version 1 writes a limit near the largest number of pages where there is none; a caller takes
    the smaller of this and the machine's memory anyway.
    """
    limits = []
    for group in _groups(root, "memory"):
        words = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        if words and words[0].isdecimal() and int(words[0]) > 0:
            limits.append(int(words[0]))
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Directories of the process's groups for a controller, each with its ancestors."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version_2 = number == "0" and not controllers
        if not version_2 and controller not in controllers.split(","):
            continue
        for mounted, top in _mounts(root, "" if version_2 else controller):
            # In a container the top of the mount is the group that the container was given.
            inside = PurePosixPath(path)
            inside = inside.relative_to(top) if inside.is_relative_to(top) else PurePosixPath()
            directory = root / mounted.relative_to("/")
            yield directory
            for part in inside.parts:
                if part not in ("/", ".."):
                    directory /= part
                    yield directory


def _mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Mount points of the hierarchy, and what of it is mounted there; no name is version 2."""
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, rest = line.partition(" - ")
        fields, kind = place.split(), rest.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        options = kind[2].split(",")
        wanted = kind[0] == "cgroup2" if not controller else kind[0] == "cgroup"
        if wanted and (not controller or controller in options):
            yield PurePosixPath(fields[4]), PurePosixPath(fields[3])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
