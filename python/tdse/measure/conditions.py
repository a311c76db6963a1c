"""The conditions a time is measured under."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tdse.platform.discover import discover_host


@dataclass(frozen=True)
class Conditions:
    """What may change a measured time.

    ``load_average`` is that of the last minute when the measuring began; ``governor`` is empty
    where the kernel does not tell it.
    """

    cpu: str
    cores: int
    affinity: tuple[int, ...]
    governor: str
    load_average: float
    versions: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Digest of what must be equal for two times to be comparable: all but the load."""
        fields = {k: v for k, v in asdict(self).items() if k not in ("load_average", "affinity")}
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def current_conditions() -> Conditions:
    """The conditions on this machine, now."""
    host = discover_host()
    device = host.devices[0]
    return Conditions(
        cpu=device.model_name,
        cores=device.cores,
        affinity=tuple(sorted(os.sched_getaffinity(0))),
        governor=_governor(),
        load_average=os.getloadavg()[0],
        versions=library_versions(),
    )


def library_versions() -> tuple[tuple[str, str], ...]:
    """Installed versions of what generates or runs the code that is timed."""
    names = ("tdse", "ai-edge-litert", "apache-tvm", "apache-tvm-ffi")
    found = []
    for name in names:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    return tuple(found)


def _governor() -> str:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        return path.read_text().strip()
    except OSError:
        return ""
