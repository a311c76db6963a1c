"""What of this machine decides whether tdse works and how well it can measure, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tdse.doors import RELAX, RELAY, tvm_version
from tdse.errors import TdseError
from tdse.files import cache_directory
from tdse.link import find_linker
from tdse.measure.conditions import Conditions, current_conditions
from tdse.platform.opencl import find_opencl
from tdse.targets.base import get_target, target_names
from tdse.versions import REQUIREMENTS

# Beside a load above this, operators wait long for quiet moments.
_BUSY = 0.3
# What compiling a small model takes, Python with TVM and LiteRT included.
_LEAST_MEMORY = 1 << 30
_LEAST_DISK = 256 << 20
# What brings a target that is not there; packages of Debian and Ubuntu.
_INSTALL = {
    "litert": 'pip install "ai-edge-litert>=2.3,<2.4"',
    "llvm": 'pip install "apache-tvm>=0.27,<0.28"',
    "opencl": "apt-get install ocl-icd-libopencl1 and the GPU's driver, or pocl-opencl-icd to try "
    "it on the CPU",
    "cuda": "install NVIDIA's driver for the GPU; a cuda:sm_NN target compiles for another machine",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: ``software``, ``machine``, ``target`` or ``driver``.
        name: what was looked at.
        ok: it is as it should be, or cannot be told.
        found: what it is.
        advice: what to do; empty if nothing needs to be done.
    """

    topic: str
    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(root: Path = Path("/")) -> tuple[Finding, ...]:
    """Look at software, machine, targets and drivers; nothing is changed and nothing measured.

    Args:
        root: where ``proc`` and ``sys`` are found.
    """
    return (*_software(), *_machine(root), *_targets(), *_drivers(root))


def _software() -> Iterator[Finding]:
    yield Finding("software", "python", True, platform.python_version())
    yield Finding("software", "tdse", True, metadata.version("tdse"))
    for requirement in REQUIREMENTS:
        name = requirement.distribution
        # With one that does not fit, or without one it needs, tdse could not have been imported.
        try:
            yield Finding("software", name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            has_relay = not RELAY.why_not()
            what = f"TVM {tvm_version()} with Relay instead" if has_relay else "not installed"
            yield Finding("software", name, has_relay, what, "" if has_relay else RELAX.advice())
    try:
        yield Finding("software", "linker", True, str(find_linker()))
    except TdseError as error:
        yield Finding("software", "linker", False, str(error), error.hint)
    yield Finding("software", "system", True, f"{platform.system()} {platform.release()}")


def _machine(root: Path) -> Iterator[Finding]:
    now = current_conditions(root)
    yield Finding("machine", "processor", True, now.cpu or "not told")
    cores = ", ".join(map(str, now.affinity))
    yield Finding("machine", "cores", True, f"{now.cores} can be used, bound to {cores}")
    yield _governor(now)
    busy = now.load_average / max(1, now.cores)
    yield Finding(
        "machine",
        "load",
        busy <= _BUSY,
        f"{now.load_average:.2f} in the last minute",
        "stop what else runs before measuring" if busy > _BUSY else "",
    )
    yield _memory(root)
    for name, place in (("cache", cache_directory()), ("temporary", Path(tempfile.gettempdir()))):
        yield _space(name, place)


def _governor(now: Conditions) -> Finding:
    if not now.governor:
        return Finding("machine", "governor", True, "not told, as on most virtual machines")
    is_steady = now.governor == "performance"
    mhz = "" if now.frequency_mhz is None else f", {now.frequency_mhz:.0f} MHz now"
    advice = "sudo cpupower frequency-set -g performance, while measuring"
    return Finding(
        "machine", "governor", is_steady, now.governor + mhz, "" if is_steady else advice
    )


def _memory(root: Path) -> Finding:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return Finding("machine", "free memory", True, "not told")
    # The kernel counts in KiB (proc(5)).
    kib = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
    free = kib.get("MemAvailable", 0) << 10
    enough = free >= _LEAST_MEMORY
    return Finding(
        "machine",
        "free memory",
        enough,
        f"{free / 2**30:.1f} of {(kib.get('MemTotal', 0) << 10) / 2**30:.1f} GiB",
        "" if enough else "free some: building a model may take a GiB and more",
    )


def _space(name: str, place: Path) -> Finding:
    there = next(parent for parent in (place, *place.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    advice = ""
    if not os.access(there, os.W_OK):
        variable = "XDG_CACHE_HOME" if name == "cache" else "TMPDIR"
        advice = f"point {variable} to a directory that can be written"
    elif free < _LEAST_DISK:
        advice = "free some space there"
    found = f"{free / 2**30:.1f} GiB free in {place}"
    return Finding("machine", f"{name} directory", not advice, found, advice)


def _targets() -> Iterator[Finding]:
    for name in target_names():
        try:
            support = get_target(name).available()
        except TdseError as error:
            yield Finding("target", name, False, f"{error.what}: {error.why}", error.hint)
            continue
        advice = _INSTALL.get(name, "its package says above what it needs")
        if name == "opencl" and not RELAY.why_not():
            advice = f"give tdse.relay a placement that has it; to have it run, {RELAX.advice()}"
        yield Finding(
            "target", name, support.ok, support.reason or "ready", "" if support.ok else advice
        )


def _drivers(root: Path) -> Iterator[Finding]:
    for i, device in enumerate(find_opencl().devices):
        kind = "the CPU" if device.is_cpu else f"{device.compute_units} compute units"
        found = f"{device.name} ({kind}), {', '.join(device.versions)}"
        yield Finding("driver", f"opencl:{i}", True, found)
    nvidia = root / "proc/driver/nvidia/version"
    if nvidia.is_file():
        told = nvidia.read_text(encoding="utf-8", errors="replace").splitlines()
        yield Finding("driver", "nvidia", True, told[0] if told else "not told")
    try:
        yield Finding("driver", "openvino", True, metadata.version("openvino"))
    except metadata.PackageNotFoundError:
        return
