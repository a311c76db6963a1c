"""The processor that kernels are built for."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tvm
from tvm.target import codegen

# Instruction sets that change how kernels are built: LLVM's name, and the name in /proc/cpuinfo
# where it is another one. A virtual machine may hide some that the processor's name promises.
_X86_FEATURES = {
    "avx": "avx",
    "avx2": "avx2",
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512f": "avx512f",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "f16c": "f16c",
    "fma": "fma",
    "gfni": "gfni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "ssse3": "ssse3",
}


@dataclass(frozen=True)
class Isa:
    """A TVM target and what the kernels written by hand need to know of it.

    Attributes:
        target: of kind ``llvm``.
        avx2: byte shuffles in 256-bit registers.
        avx512: byte and word arithmetic in 512-bit registers.
        vbmi: byte permutations across a 512-bit register.
        vnni: dot products of four bytes in 512-bit registers.
        dotprod: the same in NEON's 128-bit registers, of signed bytes.
        fma: products and sums of float32 with one rounding.
        registers: vectors that can be held at once.
        llvm_major: LLVM's major version, with which some intrinsics changed.
    """

    target: tvm.target.Target
    avx2: bool
    avx512: bool
    vbmi: bool
    vnni: bool
    dotprod: bool
    fma: bool
    registers: int
    llvm_major: int


@cache
def host_isa() -> Isa:
    """The processor that this process runs on."""
    cpu = codegen.llvm_get_system_cpu()
    options: dict[str, object] = {"kind": "llvm", "mcpu": cpu}
    mattr = _corrections(tvm.target.Target(options))
    if mattr:
        options["mattr"] = mattr
    return isa_of(tvm.target.Target(options))


def isa_of(target: tvm.target.Target) -> Isa:
    """What a target of kind ``llvm`` offers."""

    def has(*features: str) -> bool:
        return bool(codegen.llvm_cpu_has_features(list(features), target))

    is_aarch64 = bool(target.attrs.get("feature.is_aarch64", False))
    return Isa(
        target=target,
        avx2=has("avx2"),
        avx512=has("avx512f", "avx512bw"),
        vbmi=has("avx512bw", "avx512vbmi"),
        vnni=has("avx512bw", "avx512vnni"),
        dotprod=is_aarch64 and has("dotprod"),
        fma=is_aarch64 or has("fma"),
        registers=32 if is_aarch64 or has("avx512f") else 16,
        llvm_major=int(codegen.llvm_version_major()),
    )


def _corrections(target: tvm.target.Target) -> list[str]:
    """LLVM attributes for what the system reports otherwise than the processor's name implies."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if flags is None:
        return []
    present = set(flags[1].split())
    corrections = []
    for feature, flag in _X86_FEATURES.items():
        implied = bool(codegen.llvm_cpu_has_features(feature, target))
        if implied != (flag in present):
            corrections.append(("+" if flag in present else "-") + feature)
    return corrections
