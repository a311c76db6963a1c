"""The processor that kernels are built for."""

from __future__ import annotations

import difflib
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tvm
from tvm.target import codegen

from tdse.errors import PlatformError
from tdse.platform.model import Device

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

# The same on AArch64, with the names of the kernel's hwcaps.
_AARCH64_FEATURES = {
    "aes": "aes",
    "bf16": "bf16",
    "crc": "crc32",
    "dotprod": "asimddp",
    "fp-armv8": "fp",
    "fullfp16": "asimdhp",
    "i8mm": "i8mm",
    "lse": "atomics",
    "neon": "asimd",
    "rcpc": "lrcpc",
    "rdm": "asimdrdm",
    "sha2": "sha2",
    "sve": "sve",
    "sve2": "sve2",
}
_FEATURES = {"x86_64": _X86_FEATURES, "aarch64": _AARCH64_FEATURES}


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
    return isa_of(_corrected(options, "x86_64", _told_flags()))


def isa_of_device(device: Device) -> Isa:
    """The processor of a platform's device, which need not be there.

    Args:
        device: with a triple; without ``features``, it has what its ``mcpu`` says.

    Raises:
        PlatformError: tdse compiles for no such processor, or LLVM does not know it.
    """
    if device.isa not in _FEATURES:
        raise PlatformError(
            f"device {device.name} is no processor that tdse compiles for",
            why=f"its triple is {device.triple}" if device.triple else "it has no triple",
            hint=f"there are TVM and LiteRT for {' and '.join(_FEATURES)} with Linux",
        )
    options: dict[str, object] = {"kind": "llvm", "mtriple": device.triple}
    if device.mcpu:
        known = list(codegen.llvm_get_cpu_archlist(tvm.target.Target(options)))
        if device.mcpu not in known:
            raise PlatformError(
                f"LLVM knows no processor {device.mcpu!r}",
                where=f"mcpu of device {device.name}",
                hint="leave mcpu out, or name one of " + ", ".join(_near(device.mcpu, known)),
            )
        options["mcpu"] = device.mcpu
    return isa_of(_corrected(options, device.isa, frozenset(device.features)))


def used_features(device: Device) -> tuple[str, ...]:
    """What code for a platform's device may use of what matters to kernels, in the kernel's names.

    Raises:
        PlatformError: as of ``isa_of_device``.
    """
    target = isa_of_device(device).target
    names = _FEATURES[device.isa]
    used = (flag for name, flag in names.items() if codegen.llvm_cpu_has_features(name, target))
    return tuple(sorted(used))


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


def _corrected(options: dict[str, object], isa: str, present: frozenset[str]) -> tvm.target.Target:
    """The target, corrected for what there is otherwise than the processor's name implies.

    Args:
        options: of the target.
        isa: the architecture.
        present: extensions in the kernel's names; empty where it is not known.
    """
    target = tvm.target.Target(options)
    corrections = []
    for feature, flag in _FEATURES[isa].items() if present else ():
        implied = bool(codegen.llvm_cpu_has_features(feature, target))
        if implied != (flag in present):
            corrections.append(("+" if flag in present else "-") + feature)
    return tvm.target.Target({**options, "mattr": corrections}) if corrections else target


def _told_flags() -> frozenset[str]:
    """What an x86-64 kernel says that there is; empty of another processor, or where it is mute."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(flags[1].split() if flags else ())


def _near(name: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, known, n=5, cutoff=0.4) or sorted(known)[:5]
