"""Sums, differences and products of two 8-bit tensors, rounded as LiteRT's XNNPACK does it.

Before, as TVM imports an addition (float32 throughout)::

    for i: y[i] = quantized(dequantized(a[i]) + dequantized(b[i]))

After, a sum or difference in integers, where the factors of a and b have 21 bits::

    for i: y[i] = int8(clamp((a[i] * factor_a + b[i] * factor_b + bias >> shift) + zero))

A product is one of integers, scaled once, in float32 because LiteRT's is::

    for i: y[i] = int8(round(clamp((a[i] - zero_a) * (b[i] - zero_b) * factor)) + zero)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op, Tensor

from .llvm_arithmetic import (
    ACTIVATIONS,
    BYTES_WORTH_DIVIDING,
    activation_of,
    bounds_of_call,
    requantized,
    stored_limits,
)

# Elements of a vector, the first of these that a row has. Narrower registers take several.
_LANES = 32, 16

# XNNPACK takes sums and differences whose operands have scales between these, in units of the
# result's, and products whose scale does. LiteRT computes others in another way.
_SUM_SCALES = 2.0**-10, 2.0**8
_PRODUCT_SCALES = 2.0**-16, 2.0**8

# Bits of the larger of a sum's two factors, after the first.
_FACTOR_BITS = 20


@dataclass(frozen=True)
class Binary:
    """Geometry of an operator on two tensors, one of which may be spread over the other.

    Attributes:
        is_product: otherwise a sum or a difference.
        shapes: of the two operands and the result.
        extents: of the loops; neighbouring dimensions are one, where operands allow it.
        varies: for each operand, whether it changes along each loop.
        dtype: ``int8`` or ``uint8``.
    """

    is_product: bool
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    extents: tuple[int, ...]
    varies: tuple[tuple[bool, ...], tuple[bool, ...]]
    dtype: str


def binary_of(graph: Graph, op: Op) -> Binary | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if (
        op.kind not in ("add", "sub", "mul")
        or not graph.data
        or activation_of(op) not in ACTIVATIONS
    ):
        return None
    a, b, y = (graph.tensors[t] for t in (*op.inputs, *op.outputs))
    # A constant that an operator makes of others has no bytes in the file.
    made = any(graph.is_constant(t.index) and not t.is_constant for t in (a, b))
    if made or (a.is_constant and b.is_constant) or not all(map(_is_plain, (a, b, y))):
        return None
    if not a.dtype == b.dtype == y.dtype or not _scales_fit(op, a, b, y):
        return None
    return _geometry(op.kind == "mul", a.shape, b.shape, y.shape, y.dtype)


def binary_arguments(graph: Graph, op: Op, shape: Binary) -> tuple[npt.NDArray[Any], ...]:
    """The constants of the kernel: integers and, of a product, floats; see ``binary_kernel``."""
    a, b, y = (graph.tensors[t] for t in (*op.inputs, *op.outputs))
    zeros = [_zero(t) for t in (a, b, y)]
    if shape.is_product:
        factor = _scale(a) * _scale(b) / _scale(y)
        return np.array(zeros, np.int32), np.array([factor, *stored_limits(op, y)], np.float32)
    factors = _scale(a) / _scale(y), _scale(b) / _scale(y)
    shift = _FACTOR_BITS + 1 - int(np.frexp(max(factors))[1])
    whole_a, whole_b = (int(np.rint(np.ldexp(f, shift))) for f in factors)
    if op.kind == "sub":
        whole_b = -whole_b
    # Adding half of what is shifted out rounds to the nearest, and ties up.
    bias = (1 << (shift - 1)) - zeros[0] * whole_a - zeros[1] * whole_b
    low, high = (int(limit) + zeros[2] for limit in stored_limits(op, y))
    return (np.array([whole_a, whole_b, bias, shift, zeros[2], low, high], np.int32),)


@cache
def binary_kernel(shape: Binary) -> tvm.tirx.PrimFunc:
    """A kernel of two operands, the constants of ``binary_arguments``, and the result.

    Integers of a sum: factors of both operands, bias, shift, zero point and limits of the result.
    Those of a product: the three zero points; its floats: factor, limits without the zero point.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("binary")
        operands = [
            T.arg(n, T.Buffer(s, shape.dtype)) for n, s in zip("ab", shape.shapes[:2], strict=True)
        ]
        integers = T.arg("integers", T.Buffer((3 if shape.is_product else 7,), "int32"))
        if shape.is_product:
            floats = T.arg("floats", T.Buffer((3,), "float32"))
        y = T.arg("y", T.Buffer(shape.shapes[2], shape.dtype))
        begin, end = bounds_of_call(_outermost(shape), binary_iterations(shape) > 0)
        T.func_attr({"tirx.noalias": True})
        flat_a, flat_b, result = (
            T.decl_buffer((math.prod(b.shape),), shape.dtype, data=b.data) for b in (*operands, y)
        )
        whole = [T.bind(integers[i]) for i in range(3 if shape.is_product else 7)]
        real = [T.bind(floats[i]) for i in range(3)] if shape.is_product else []

        length, lanes = shape.extents[-1], _lanes(shape)

        def store(places: list[Any], number: Any) -> None:
            """A vector of the row that these indices of the outer loops choose."""
            # The last one overlaps the one before it.
            at = T.min(number * lanes, length - lanes) if length % lanes else number * lanes
            a, b = (
                _operand(
                    buffer,
                    _row_start(shape, varies, places) + (at if varies[-1] else 0),
                    lanes,
                    is_vector=varies[-1],
                )
                for buffer, varies in zip((flat_a, flat_b), shape.varies, strict=True)
            )
            if shape.is_product:
                made = _product(a, b, whole, real, lanes, shape.dtype)
            else:
                made = _sum(a, b, whole, lanes, shape.dtype)
            T.buffer_store(result, made, [_at(_row_start(shape, None, places) + at, lanes)])

        with T.serial(begin, end) as outermost:
            if len(shape.extents) == 1:
                store([], outermost)
            else:
                # With two extents more, a grid is a list of variables whatever the shape.
                rows = T.grid(1, 1, *shape.extents[1:-1])
                with rows as (_, _, *places), T.serial(0, -(-length // lanes)) as number:
                    store([outermost, *places], number)
    return builder.get()


def binary_iterations(shape: Binary) -> int:
    """Those of the kernel's outermost loop that threads may divide; 0 if it is not worth it."""
    return _outermost(shape) if math.prod(shape.extents) >= BYTES_WORTH_DIVIDING else 0


def _outermost(shape: Binary) -> int:
    """Iterations of the outermost loop: of the only one, over vectors."""
    first = shape.extents[0]
    return first if len(shape.extents) > 1 else -(-first // _lanes(shape))


def _lanes(shape: Binary) -> int:
    length = shape.extents[-1]
    return next((lanes for lanes in _LANES if lanes <= length), length)


def _product(a: Any, b: Any, zeros: list[Any], real: list[Any], lanes: int, dtype: str) -> Any:
    total = (a - T.Broadcast(zeros[0], lanes)) * (b - T.Broadcast(zeros[1], lanes))
    factor, low, high = real
    return requantized([total], [T.Broadcast(factor, lanes)], (low, high, zeros[2]), lanes, dtype)


def _sum(a: Any, b: Any, whole: list[Any], lanes: int, dtype: str) -> Any:
    factor_a, factor_b, bias, shift, zero, low, high = (T.Broadcast(v, lanes) for v in whole)
    total = T.shift_right(a * factor_a + b * factor_b + bias, shift) + zero
    return T.Cast(f"{dtype}x{lanes}", T.max(T.min(total, high), low))


def _operand(buffer: Any, start: Any, lanes: int, *, is_vector: bool) -> Any:
    value = buffer[_at(start, lanes if is_vector else 1)]
    if not is_vector:
        return T.Broadcast(T.Cast("int32", value), lanes)
    return T.Cast(f"int32x{lanes}", value)


def _row_start(shape: Binary, varies: tuple[bool, ...] | None, places: Any) -> Any:
    """Where in a tensor the innermost loop begins; ``varies`` is None for the result."""
    start, step = T.int32(0), 1
    for i in reversed(range(len(shape.extents))):
        if varies is not None and not varies[i]:
            continue
        if i < len(shape.extents) - 1:
            start = start + places[i] * step
        step *= shape.extents[i]
    return start


def _at(start: Any, lanes: int) -> Any:
    return T.Ramp(start, 1, lanes) if lanes > 1 else start


def _geometry(
    is_product: bool,
    a: tuple[int, ...],
    b: tuple[int, ...],
    y: tuple[int, ...],
    dtype: str,
) -> Binary | None:
    rank = len(y)
    wide_a, wide_b = ((1,) * (rank - len(s)) + s for s in (a, b))
    if len(wide_a) != rank or len(wide_b) != rank:
        return None
    dimensions = list(zip(wide_a, wide_b, y, strict=True))
    if any(max(left, right) != made for left, right, made in dimensions):
        return None
    if any(size not in (1, made) for left, right, made in dimensions for size in (left, right)):
        return None
    kept = [(left == made, right == made, made) for left, right, made in dimensions if made > 1]
    merged = [
        (*varies, math.prod(made for *_, made in group))
        for varies, group in groupby(kept, key=lambda one: one[:2])
    ]
    if not merged:
        return None
    return Binary(
        is_product=is_product,
        shapes=(a, b, y),
        extents=tuple(made for *_, made in merged),
        varies=(tuple(left for left, *_ in merged), tuple(right for _, right, _ in merged)),
        dtype=dtype,
    )


def _is_plain(tensor: Tensor) -> bool:
    return bool(
        tensor.is_8_bit
        and tensor.quantization is not None
        and len(tensor.quantization.scales) == 1
        and not tensor.is_dynamic
        and tensor.size_bytes
    )


def _scales_fit(op: Op, a: Tensor, b: Tensor, y: Tensor) -> bool:
    if op.kind == "mul":
        factor = float(_scale(a) * _scale(b) / _scale(y))
        return _PRODUCT_SCALES[0] <= factor < _PRODUCT_SCALES[1]
    return all(_SUM_SCALES[0] <= _scale(t) / _scale(y) < _SUM_SCALES[1] for t in (a, b))


def _scale(tensor: Tensor) -> np.float32:
    assert tensor.quantization is not None
    return np.float32(tensor.quantization.scales[0])


def _zero(tensor: Tensor) -> int:
    assert tensor.quantization is not None
    return tensor.quantization.zero_points[0]
