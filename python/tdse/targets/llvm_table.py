"""Kernels that look bytes up in a table of 256, for ``byte_tables``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .byte_tables import ENTRIES
from .llvm_arithmetic import BYTES_WORTH_DIVIDING, bounds_of_call
from .llvm_isa import Isa


def table_argument(table: npt.NDArray[Any], isa: Isa) -> npt.NDArray[np.uint8]:
    """The table as the kernel of ``isa`` takes it."""
    plain = table.view(np.uint8)
    if isa.vbmi or not isa.avx2:
        return plain
    # A 256-bit shuffle looks up in each half of a register on its own.
    return np.repeat(plain.reshape(16, 1, 16), 2, axis=1).reshape(-1)


@cache
def table_kernel(
    shape: tuple[int, ...], dtype_in: str, dtype_out: str, isa: Isa
) -> tvm.tirx.PrimFunc:
    """A kernel of input, table and output that replaces each byte by its entry of the table.

    Args:
        shape: of input and output.
        dtype_in: ``int8`` or ``uint8``.
        dtype_out: likewise.
        isa: what it is built for.
    """
    lanes, look_up = _look_up(isa)
    size = math.prod(shape)
    vectors = -(-size // lanes) if size >= lanes else 0
    # With a table for AVX2, 16 of every 32 bytes repeat the 16 before.
    doubled = look_up is _shuffle
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("table")
        x = T.arg("x", T.Buffer(shape, dtype_in))
        table = T.arg("table", T.Buffer((2 * ENTRIES if doubled else ENTRIES,), "uint8"))
        y = T.arg("y", T.Buffer(shape, dtype_out))
        begin, end = bounds_of_call(vectors, table_iterations(shape, isa) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((size,), "uint8", data=x.data)
        result = T.decl_buffer((size,), "uint8", data=y.data)
        with T.serial(begin, end) as i:
            # The last vector overlaps the one before it.
            start = T.min(i * lanes, size - lanes) if size % lanes else i * lanes
            at = T.Ramp(start, 1, lanes) if lanes > 1 else start
            T.buffer_store(result, look_up(table, T.bind(source[at])), [at])
        with T.serial(0, 0 if vectors else size) as i:
            byte = T.bind(T.Cast("int32", source[i]))
            T.buffer_store(result, table[byte + byte // 16 * 16 if doubled else byte], [i])
    return builder.get()


def table_iterations(shape: tuple[int, ...], isa: Isa) -> int:
    """Those of the kernel's loop that threads may divide; 0 if it is not worth it."""
    size = math.prod(shape)
    return -(-size // _look_up(isa)[0]) if size >= BYTES_WORTH_DIVIDING else 0


def _look_up(isa: Isa) -> tuple[int, Callable[[Any, Any], Any]]:
    """How many bytes are looked up together, and what does that with a table and their values."""
    if isa.vbmi:
        return 64, _permute
    if isa.avx2:
        return 32, _shuffle
    return 1, lambda table, index: table[T.Cast("int32", index)]


def _permute(table: Any, index: Any) -> Any:
    """64 look-ups with AVX-512 VBMI: one permutation for each half of the table."""

    def half(start: int) -> Any:
        low, high = table[T.Ramp(start, 1, 64)], table[T.Ramp(start + 64, 1, 64)]
        return T.call_llvm_pure_intrin(
            "uint8x64", "llvm.x86.avx512.vpermi2var.qi.512", low, index, high
        )

    is_high = index >= T.Broadcast(T.uint8(128), 64)
    return T.Select(is_high, half(128), half(0))


def _shuffle(table: Any, index: Any) -> Any:
    """32 look-ups with AVX2: a shuffle for each 16 entries, chosen by the upper four bits."""
    # The low nibble selects in a shuffle; a set top bit would give 0 instead.
    nibble = T.bitwise_and(index, T.Broadcast(T.uint8(15), 32))
    parts = [
        T.call_llvm_pure_intrin(
            "uint8x32", "llvm.x86.avx2.pshuf.b", table[T.Ramp(32 * k, 1, 32)], nibble
        )
        for k in range(16)
    ]
    for bit in (4, 5, 6, 7):
        # The compiler tests the top bit, so the bit is moved there.
        moved = T.shift_left(index, T.Broadcast(T.uint8(7 - bit), 32)) if bit < 7 else index
        is_set = moved >= T.Broadcast(T.uint8(128), 32)
        parts = [
            T.Select(is_set, high, low) for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]
