"""What this machine is, as far as the process may use it."""

from __future__ import annotations

import os
import struct
import sys
from collections import Counter
from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path

from tdse.platform.cgroup import cpu_limit, memory_limit
from tdse.platform.model import Device, Platform, x86_level
from tdse.platform.opencl import find_opencl, opencl_devices

# Extensions that change the code a compiler emits or a kernel library picks, in the kernel's
# names (arch/x86/include/asm/cpufeatures.h, arch/arm64/kernel/cpuinfo.c, arch/arm/kernel/setup.c).
_CODE_FEATURE_NAMES = """
    abm aes amx_bf16 amx_fp16 amx_int8 amx_tile avx avx2 avx512_4fmaps avx512_4vnniw avx512_bf16
    avx512_bitalg avx512_fp16 avx512_vbmi2 avx512_vnni avx512_vp2intersect avx512_vpopcntdq avx512bw
    avx512cd avx512dq avx512er avx512f avx512ifma avx512pf avx512vbmi avx512vl avx_ifma
    avx_ne_convert avx_vnni avx_vnni_int8 bmi1 bmi2 cmov cx16 cx8 f16c fma fma4 fpu fxsr gfni
    lahf_lm mmx movbe pclmulqdq pni popcnt sse sse2 sse4_1 sse4_2 sse4a ssse3 vaes vpclmulqdq
    xop xsave
    asimd asimddp asimdfhm asimdhp asimdrdm atomics bf16 crc32 dotprod ebf16 fcma fp fphp frint
    i8mm jscvt lrcpc pmull sha1 sha2 sha3 sha512 sme sme2 sve sve2 svebf16 svei8mm
    edsp idiva idivt neon vfp vfpd32 vfpv3 vfpv4
"""
CODE_FEATURES = frozenset(_CODE_FEATURE_NAMES.split())

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

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


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
    allowed = _affinity() if affinity is None else frozenset(affinity)
    processors = _processors(root, allowed)
    machine = _architecture(machine or os.uname().machine)
    features = _features(processors)
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
                mcpu=_mcpu(machine, processors, features),
                features=tuple(sorted(features & CODE_FEATURES)),
                model_name=_model_name(root, machine, processors),
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


def _affinity() -> frozenset[int]:
    # Only Linux tells the affinity.
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _processors(root: Path, allowed: Collection[int]) -> list[dict[str, str]]:
    """The blocks of ``/proc/cpuinfo`` of the CPUs that may be used, or all blocks if none match.

    Some 32-bit ARM kernels list the extensions once, in a block without a number: what such a
    block says holds for all processors.
    """
    numbered: list[dict[str, str]] = []
    common: dict[str, str] = {}
    for block in _read(root / "proc/cpuinfo").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
        entry = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in entry and entry["processor"].isdecimal():
            numbered.append(entry)
        else:
            common |= entry
    usable = [entry for entry in numbered if int(entry["processor"]) in allowed]
    return [{**common, **entry} for entry in usable or numbered] or [common]


def _features(processors: list[dict[str, str]]) -> frozenset[str]:
    """Extensions that all usable processors have: ``flags`` on x86, ``Features`` on ARM."""
    sets = [
        frozenset((entry.get("flags") or entry.get("Features") or "").split())
        for entry in processors
    ]
    return frozenset.intersection(*sets)


def _architecture(machine: str) -> str:
    """The architecture of this process, which may be narrower than that of the kernel."""
    machine = _MACHINES.get(machine.lower(), machine)
    if struct.calcsize("P") == 4:
        return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


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
    board = _read(root / "proc/device-tree/model").rstrip("\0\n")
    part = _arm_part(entry)
    return board or entry.get("Model") or entry.get("model name") or part


def _memory_bytes(root: Path) -> int | None:
    total = None
    for line in _read(root / "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            total = int(value.split()[0]) * 1024
    known = [size for size in (total, memory_limit(root)) if size]
    return min(known, default=None)


def _read(path: Path) -> str:
    """A small file of the kernel; empty if it is not there, as on other systems than Linux."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
