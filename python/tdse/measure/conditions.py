"""The conditions a time is measured under."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdse.doors import tvm_version
from tdse.platform.discover import discover_host
from tdse.platform.model import Device

# What must be equal for two times to be comparable. It stands for a machine: one processor or
# board, as many of its cores, at one governor, with the libraries that generate or run the code.
# The load and the frequency change from one moment to the next, and how disturbed a measurement
# was is told by its contention; of the affinity, only how many cores it leaves matters.
IDENTITY = ("cpu", "cores", "governor", "versions")


@dataclass(frozen=True)
class Conditions:
    """What may change a measured time; when it was measured stands in each record.

    Attributes:
        cpu: name of the processor, or of the board where it has one: what a person calls it.
        cores: that could be used.
        affinity: numbers of the cores that the process was bound to.
        governor: of the frequency of the first of them; empty where the kernel does not tell it.
        load_average: of the last minute when the measuring began.
        versions: of the libraries, by distribution.
        frequency_mhz: of the first core when the measuring began; None where it is not told.
        max_frequency_mhz: the highest that this core reaches; None where it is not told.
    """

    cpu: str
    cores: int
    affinity: tuple[int, ...]
    governor: str
    load_average: float
    versions: tuple[tuple[str, str], ...]
    frequency_mhz: float | None = None
    max_frequency_mhz: float | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """The fields named in ``IDENTITY``."""
        return {name: getattr(self, name) for name in IDENTITY}

    @property
    def key(self) -> str:
        """Digest of the identity."""
        return hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:16]

    def are_of(self, device: Device) -> bool:
        """Whether what is measured under them is a time of ``device``, by its model name and cores.

        Boards add their revision to the name: ``Raspberry Pi 4 Model B Rev 1.4``.
        """
        name = device.model_name
        is_named = self.cpu == name or self.cpu.startswith(f"{name} Rev ")
        return bool(name) and is_named and self.cores == device.cores


def current_conditions(root: Path = Path("/")) -> Conditions:
    """The conditions on this machine, now.

    Args:
        root: where ``proc`` and ``sys`` are found.
    """
    device = discover_host(root).devices[0]
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    scaling = root / f"sys/devices/system/cpu/cpu{affinity[0]}/cpufreq"
    return Conditions(
        cpu=device.model_name,
        cores=device.cores,
        affinity=affinity,
        governor=_told(scaling / "scaling_governor"),
        load_average=os.getloadavg()[0],
        versions=library_versions(),
        frequency_mhz=_mhz(scaling / "scaling_cur_freq"),
        max_frequency_mhz=_mhz(scaling / "cpuinfo_max_freq"),
    )


def compiled_for(processor: Device) -> Conditions:
    """Stand for code that is compiled on this machine for a processor that is not there.

    No time has been measured under them; what a compiler says of an operator is kept with them.

    Args:
        processor: of a platform.
    """
    features = " ".join(processor.features)
    return Conditions(
        cpu=f"compiled for {processor.triple} {processor.mcpu} {features}".rstrip(),
        cores=processor.cores,
        affinity=(),
        governor="",
        load_average=0.0,
        versions=library_versions(),
    )


def library_versions() -> tuple[tuple[str, str], ...]:
    """Installed versions of what generates or runs the code that is timed."""
    names = ("tdse", "ai-edge-litert", "apache-tvm", "apache-tvm-ffi")
    # A TVM that was built by hand, or repackaged, is of another distribution or of none.
    other = {"apache-tvm": tvm_version()}
    found = []
    for name in names:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append((name, other.get(name) or "not installed"))
    return tuple(found)


def _told(path: Path) -> str:
    """What the kernel says in a file; empty if it does not."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _mhz(path: Path) -> float | None:
    """A frequency, which the kernel gives in kHz (Documentation/admin-guide/pm/cpufreq.rst)."""
    text = _told(path)
    return int(text) / 1000 if text.isdecimal() else None
