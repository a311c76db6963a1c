"""Kernels for other processors, run by QEMU's user mode emulation and a small program in C."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tdse.assemble import Assembly
from tdse.link import write_library
from tdse.platform import Device
from tdse.runtime.plan import Plan
from tdse.worker import find_program

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
_PROGRAM = Path(__file__).with_name("run_kernels.c")
# Where Debian's cross compiler has the libraries that programs start with.
_ROOT = "/usr/aarch64-linux-gnu"
# DLPack's code and bits of element types.
_TYPES = {"i": 0, "u": 1, "f": 2, "b": 6}

needs_cross_compiler = pytest.mark.skipif(
    find_program("aarch64-linux-gnu-g++") is None, reason="aarch64-linux-gnu-g++ is not installed"
)
needs_emulator = pytest.mark.skipif(
    find_program(COMPILER) is None or find_program(EMULATOR) is None,
    reason=f"{COMPILER} or {EMULATOR} is not installed",
)

# e_machine of an ELF file (System V ABI, and its supplement for AArch64).
AARCH64 = 183


def machine_of(library: Path) -> int:
    """The architecture of a shared library."""
    (found,) = struct.unpack_from("<H", library.read_bytes(), 18)
    return int(found)


def aarch64(mcpu: str, features: Sequence[str] = ()) -> Device:
    """The CPU of a platform that is not this machine."""
    return Device(
        name="cpu",
        targets=("litert", "llvm"),
        cores=4,
        triple="aarch64-linux-gnu",
        mcpu=mcpu,
        features=tuple(features),
        model_name=f"a board with a {mcpu}",
    )


def run_under_qemu(
    assembly: Assembly,
    processor: Device,
    inputs: Sequence[npt.NDArray[np.generic]],
    directory: Path,
) -> list[npt.NDArray[np.generic]]:
    """The outputs of an assembly of kernels that were compiled for a processor.

    Args:
        assembly: its regions are all of kernels, in one library.
        processor: that QEMU emulates, by LLVM's name.
        inputs: of the assembly.
        directory: for files.
    """
    from tvm_ffi.libinfo import find_dlpack_include_path, find_include_path

    program, library = directory / "run_kernels", directory / "library.so"
    includes = [f"-I{path}" for path in (find_include_path(), find_dlpack_include_path())]
    command = [COMPILER, "-O1", "-rdynamic", *includes, str(_PROGRAM), "-o", str(program), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    write_library(assembly.libraries[0], library, processor)
    calls, results = directory / "calls", directory / "results"
    calls.write_bytes(_calls(assembly.plan, inputs))
    subprocess.run(
        [EMULATOR, "-cpu", processor.mcpu, "-L", _ROOT, program, library, calls, results],
        check=True,
        timeout=120,
    )
    data = results.read_bytes()
    tensors = assembly.plan.tensors
    types = [np.dtype(tensor.dtype) for tensor in tensors]
    sizes = [t.itemsize * int(np.prod(s.shape)) for t, s in zip(types, tensors, strict=True)]
    starts = [0, *np.cumsum(sizes).tolist()]
    return [
        np.frombuffer(data[starts[i] : starts[i + 1]], types[i]).reshape(tensors[i].shape)
        for i in assembly.plan.outputs
    ]


def _calls(plan: Plan, inputs: Sequence[npt.NDArray[np.generic]]) -> bytes:
    """What ``run_kernels.c`` reads."""
    given = {i: value.tobytes() for i, value in zip(plan.inputs, inputs, strict=True)}
    parts = [struct.pack("<I", len(plan.tensors))]
    for i, tensor in enumerate(plan.tensors):
        dtype = np.dtype(tensor.dtype)
        size = dtype.itemsize * int(np.prod(tensor.shape))
        value = given.get(i, tensor.constant) or bytes(size)
        parts += [
            struct.pack("<BBHI", _TYPES[dtype.kind], 8 * dtype.itemsize, 1, len(tensor.shape)),
            struct.pack(f"<{len(tensor.shape)}qQ", *tensor.shape, size),
            value,
        ]
    steps = [step for region in plan.regions for step in region.steps]
    parts.append(struct.pack("<I", len(steps)))
    for step in steps:
        symbol = step.symbol.encode()
        count = len(step.arguments)
        parts.append(struct.pack("<I", len(symbol)) + symbol)
        parts.append(struct.pack(f"<{2 + count}I", count, *step.arguments, step.iterations))
    return b"".join(parts)
