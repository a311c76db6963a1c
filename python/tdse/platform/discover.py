"""What this machine is, as far as the process may use it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path

from tdse.platform.cgroup import cpu_limit, memory_limit
from tdse.platform.model import Device, Platform, x86_level
from tdse.platform.opencl import find_opencl, opencl_devices
from tdse.processor import (
    CODE_FEATURES,
    allowed_cpus,
    architecture,
    extensions_of,
    processors,
    read_text,
)

# Of targets that other packages bring; `tdse.targets.base` has the contract.
TARGET_ENTRY_POINTS = "tdse.targets"

# (implementer, part) of the main ID register to LLVM's -mcpu: arch/arm64/include/asm/cputype.h
# and llvm/lib/TargetParser/Host.cpp. 0x41 is Arm itself.
_ARM_PARTS = {
    (0x41, 0xD03): "cortex-a53",
    (0x41, 0xD04): "cortex-a35",
    (0x41, 0xD05): "cortex-a55",
    (0x41, 0xD07): "cortex-a57",
    (0x41, 0xD08): "cortex-a72",
    (0x41, 0xD09): "cortex-a73",
    (0x41, 0xD0A): "cortex-a75",
    (0x41, 0xD0B): "cortex-a76",
    (0x41, 0xD0C): "neoverse-n1",
    (0x41, 0xD0D): "cortex-a77",
    (0x41, 0xD40): "neoverse-v1",
    (0x41, 0xD41): "cortex-a78",
    (0x41, 0xD42): "cortex-a78ae",
    (0x41, 0xD44): "cortex-x1",
    (0x41, 0xD46): "cortex-a510",
    (0x41, 0xD47): "cortex-a710",
    (0x41, 0xD48): "cortex-x2",
    (0x41, 0xD49): "neoverse-n2",
    (0x41, 0xD4F): "neoverse-v2",
}


def discover_host(
    root: Path = Path("/"),
    *,
    machine: str | None = None,
    affinity: Collection[int] | None = None,
) -> Platform:
    """The machine that this process runs on: one device, ``cpu``.

    Cores and memory are what the process may use: the CPUs of its affinity, at most the CPU time
    of its control groups (rounded up), at most their memory.

    Args:
        root: where ``proc`` and ``sys`` are found.
        machine: the kernel's name of the architecture; asked of the kernel by default.
        affinity: CPUs the process may use; asked of the kernel by default.
    """
    allowed = allowed_cpus() if affinity is None else frozenset(affinity)
    found = processors(root, allowed)
    machine = architecture(machine or os.uname().machine)
    features = extensions_of(found)
    quota = cpu_limit(root)
    cores = min(len(allowed), quota) if quota is not None else len(allowed)
    return Platform(
        name="host",
        source="found",
        devices=(
            Device(
                name="cpu",
                targets=("litert", "llvm"),
                cores=max(1, cores),
                triple=_triple(machine),
                mcpu=_mcpu(machine, found, features),
                features=tuple(sorted(features & CODE_FEATURES)),
                model_name=_model_name(root, machine, found),
                memory_bytes=_memory_bytes(root),
            ),
        ),
    )


def discover_devices() -> Platform:
    """The machine that this process runs on: ``cpu``, and what OpenCL's drivers offer.

    Targets that other packages bring are taken to be for the CPU. Asking the drivers may take a
    tenth of a second, so who needs only tdse's own targets of the CPU asks for that.
    """
    host = discover_host()
    cpu = host.devices[0]
    cpu = cpu.model_copy(update={"targets": (*cpu.targets, *_brought_targets(cpu.targets))})
    return host.model_copy(update={"devices": (cpu, *opencl_devices(find_opencl()))})


def _brought_targets(own: Collection[str]) -> list[str]:
    """Names of the targets that other packages bring; those of tdse cannot be replaced."""
    return sorted({point.name for point in entry_points(group=TARGET_ENTRY_POINTS)} - set(own))


def _triple(machine: str) -> str:
    if sys.platform == "darwin":
        return f"{machine}-apple-darwin"
    abi = "gnueabihf" if machine.startswith("armv") else "gnu"
    return f"{machine}-linux-{abi}"


def _mcpu(machine: str, processors: list[dict[str, str]], features: frozenset[str]) -> str:
    if machine == "x86_64":
        return x86_level(features)
    names = Counter(name for name in map(_arm_part, processors) if name)
    # Cores of one system share their instruction set; the name only picks the tuning.
    return names.most_common(1)[0][0] if names else ""


def _arm_part(entry: dict[str, str]) -> str:
    try:
        key = int(entry["CPU implementer"], 16), int(entry["CPU part"], 16)
    except (KeyError, ValueError):
        return ""
    return _ARM_PARTS.get(key, "")


def _model_name(root: Path, machine: str, processors: list[dict[str, str]]) -> str:
    entry = processors[0]
    if machine == "x86_64":
        return entry.get("model name", "")
    board = read_text(root / "proc/device-tree/model").rstrip("\0\n")
    part = _arm_part(entry)
    return board or entry.get("Model") or entry.get("model name") or part


def _memory_bytes(root: Path) -> int | None:
    total = None
    for line in read_text(root / "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            total = int(value.split()[0]) * 1024
    known = [size for size in (total, memory_limit(root)) if size]
    return min(known, default=None)
