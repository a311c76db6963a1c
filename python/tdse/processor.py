"""The processor that this process runs on; what loads an artefact needs to know no more of it."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

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

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Processor:
    """What compiled code may rely on.

    Attributes:
        isa: architecture of this process, for example ``x86_64``.
        features: its extensions in the kernel's names, of ``CODE_FEATURES``.
    """

    isa: str
    features: frozenset[str]


def this_processor(root: Path = Path("/")) -> Processor:
    """The one that this process may use.

    Args:
        root: where ``proc`` is found.
    """
    features = extensions_of(processors(root, allowed_cpus()))
    return Processor(architecture(os.uname().machine), features & CODE_FEATURES)


def allowed_cpus() -> frozenset[int]:
    """Numbers of the CPUs that this process may use."""
    # Only Linux tells the affinity.
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cpu_thread_counts(cores: int) -> tuple[int, ...]:
    """Thread counts worth a choice on ``cores`` cores: powers of two, and all."""
    counts = {1 << i for i in range(cores.bit_length())} | {cores}
    return tuple(n for n in sorted(counts) if 1 <= n <= cores)


def processors(root: Path, allowed: Collection[int]) -> list[dict[str, str]]:
    """The blocks of ``/proc/cpuinfo`` of the CPUs that may be used, or all blocks if none match.

    Some 32-bit ARM kernels list the extensions once, in a block without a number: what such a
    block says holds for all processors.
    """
    numbered: list[dict[str, str]] = []
    common: dict[str, str] = {}
    for block in read_text(root / "proc/cpuinfo").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
        entry = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in entry and entry["processor"].isdecimal():
            numbered.append(entry)
        else:
            common |= entry
    usable = [entry for entry in numbered if int(entry["processor"]) in allowed]
    return [{**common, **entry} for entry in usable or numbered] or [common]


def extensions_of(found: Sequence[dict[str, str]]) -> frozenset[str]:
    """Extensions that all usable processors have: ``flags`` on x86, ``Features`` on ARM."""
    sets = [
        frozenset((entry.get("flags") or entry.get("Features") or "").split()) for entry in found
    ]
    return frozenset.intersection(*sets)


def architecture(machine: str) -> str:
    """The architecture of this process, which may be narrower than that of the kernel."""
    machine = _MACHINES.get(machine.lower(), machine)
    if struct.calcsize("P") == 4:
        return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def read_text(path: Path) -> str:
    """A small file of the kernel; empty if it is not there, as on other systems than Linux."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
