"""Elementwise operators on 8-bit tensors as look-ups in a table of 256 bytes.

So are operators on two tensors of which one is a single constant. The table holds what LiteRT
itself makes of each of the 256 values, so the result is exact, also for operators that TVM cannot
import.
"""

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

from tdse.graph.model import Graph, Op, Tensor
from tdse.graph.slice import slice_model
from tdse.runtime.litert import invoke, make_interpreter

from .llvm_arithmetic import bounds_of_call
from .llvm_isa import Isa

ENTRIES = 256

# So many bytes take longer to look up than it takes to wake a thread.
_WORTH_DIVIDING = 64 * 1024

# Kinds that treat each element alone and alike.
_ELEMENTWISE = frozenset(
    {
        "abs",
        "ceil",
        "cos",
        "elu",
        "exp",
        "floor",
        "gelu",
        "hard_swish",
        "leaky_relu",
        "log",
        "logistic",
        "neg",
        "quantize",
        "relu",
        "relu6",
        "relu_0_to_1",
        "relu_n1_to_1",
        "round",
        "rsqrt",
        "sign",
        "sin",
        "sqrt",
        "square",
        "tanh",
    }
)

# Kinds that join each element with the same number, where one operand is just that.
_WITH_A_NUMBER = frozenset({"add", "div", "maximum", "minimum", "mul", "squared_difference", "sub"})

_BYTES = ("int8", "uint8")


def table_input(graph: Graph, op: Op) -> int | None:
    """The tensor that an operator takes byte by byte; None if a table cannot replace it."""
    if op.is_custom or len(op.outputs) != 1 or not graph.data:
        return None
    given = [t for t in op.inputs if t < 0 or not _is_number(graph.tensors[t])]
    kinds = _ELEMENTWISE if len(op.inputs) == 1 else _WITH_A_NUMBER
    if op.kind not in kinds or len(given) != 1 or given[0] < 0:
        return None
    return given[0] if _maps_bytes(graph.tensors[given[0]], graph.tensors[op.outputs[0]]) else None


def _is_number(tensor: Tensor) -> bool:
    return tensor.is_constant and math.prod(tensor.shape) == 1


def _maps_bytes(given: Tensor, result: Tensor) -> bool:
    return (
        given.dtype in _BYTES
        and result.dtype in _BYTES
        and given.shape == result.shape
        and math.prod(given.shape) > 0
        and not (given.is_constant or given.is_dynamic or result.is_dynamic)
    )


def table_values(graph: Graph, op_index: int) -> npt.NDArray[Any] | None:
    """What LiteRT makes of each byte, or None if the operator is none that a table can replace.

    Returns:
        256 entries of the output's type; entry ``b`` is the result for the input with the bit
        pattern ``b``, so that negative int8 values come last.

    Raises:
        RuntimeError, ValueError: LiteRT cannot run the operator.
    """
    op = graph.ops[op_index]
    source = table_input(graph, op)
    if source is None:
        return None
    given, result = graph.tensors[source], graph.tensors[op.outputs[0]]
    interpreter = make_interpreter(slice_model(graph, [op_index]).data)
    size = math.prod(given.shape)
    table = np.empty(ENTRIES, result.dtype)
    for start in range(0, ENTRIES, size):
        # Every position takes part, so that a kernel's vector code and its rest are both seen.
        values = (start + np.arange(size)) % ENTRIES
        (output,) = invoke(
            interpreter, [values.astype(np.uint8).view(given.dtype).reshape(given.shape)]
        )
        table[values] = output.reshape(-1)
    return table


def known_table(graph: Graph, op: Op) -> npt.NDArray[Any] | None:
    """``table_values``; also None where LiteRT does not run the operator.

    Then there is nothing to be equal to.
    """
    try:
        return table_values(graph, op.index)
    except (RuntimeError, ValueError):
        return None


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
    return -(-size // _look_up(isa)[0]) if size >= _WORTH_DIVIDING else 0


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
