"""Means of 8-bit tensors, and averages over whole images, rounded as LiteRT does it.

Stored bytes are summed as they are, in 16 bits as long as these hold, and then in 32; what zero
points make of the sum is one number for all outputs::

    before:  for o, r, i: s[o, i] += dequantized(x[o, r, i]);  for o, i: y[o, i] = quantized(s / n)
    after:   for o, r, i: s[o, i] += x[o, r, i];  for o, i: y[o, i] = int8(round(s * factor + bias))

Factor and bias are in float32, and so is the one multiplication for each output, because LiteRT's
XNNPACK has it so. AVERAGE_POOL_2D divides, and rounds halves away from zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op, Tensor
from tdse.graph.unpack import constant_bytes

from .llvm_arithmetic import activation_of, register
from .llvm_window import int_attribute

# So many bytes add up to no more than 16 bits hold.
_CHUNK = 128

# Quotients of sums of so many bytes are exact enough in float32 to be cut off.
_MOST_DIVIDED = 1 << 16

# Elements of a vector of sums of 16 bits, and vectors that are summed side by side.
_LANES, _VECTORS = 32, 4


@dataclass(frozen=True)
class Mean:
    """Geometry of a mean: of a tensor [outer, count, inner] over the second dimension.

    Attributes:
        given: shape of the input tensor.
        made: shape of the output tensor.
        outer, count, inner: the input's dimensions, neighbouring ones joined.
        dtype: ``int8`` or ``uint8``.
        is_pool: the result has the input's quantisation, and is divided as pooling does it.
    """

    given: tuple[int, ...]
    made: tuple[int, ...]
    outer: int
    count: int
    inner: int
    dtype: str
    is_pool: bool = False


def mean_of(graph: Graph, op: Op) -> Mean | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind == "average_pool2d":
        return _global_pool(graph, op)
    if op.kind != "mean" or not graph.data or len(op.inputs) != 2:
        return None
    x, axes, y = (graph.tensors[t] for t in (*op.inputs, *op.outputs))
    if not axes.is_constant or axes.dtype != "int32" or graph.is_constant(x.index):
        return None
    if not (_is_plain(x) and _is_plain(y)) or x.dtype != y.dtype:
        return None
    rank = len(x.shape)
    over = {int(a) % rank for a in np.frombuffer(constant_bytes(graph, axes.index), np.int32)}
    # A dimension of one element may be counted either way.
    wide = [axis for axis in range(rank) if x.shape[axis] > 1]
    summed = [place for place, axis in enumerate(wide) if axis in over]
    if not summed or summed != list(range(summed[0], summed[-1] + 1)):
        return None
    sizes = [x.shape[axis] for axis in wide]
    first, end = summed[0], summed[-1] + 1
    return Mean(
        given=x.shape,
        made=y.shape,
        outer=math.prod(sizes[:first]),
        count=math.prod(sizes[first:end]),
        inner=math.prod(sizes[end:]),
        dtype=x.dtype,
    )


def _global_pool(graph: Graph, op: Op) -> Mean | None:
    """The geometry of an average whose one window is the image."""
    if not graph.data or activation_of(op) != "none":
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if not (_is_plain(x) and _is_plain(y)) or (x.dtype, x.quantization) != (
        y.dtype,
        y.quantization,
    ):
        return None
    window = int_attribute(op, "filter_height"), int_attribute(op, "filter_width")
    if len(x.shape) != 4 or x.shape[1:3] != window or y.shape[1:3] != (1, 1):
        return None
    count = math.prod(window)
    if count > _MOST_DIVIDED or graph.is_constant(x.index):
        return None
    return Mean(x.shape, y.shape, x.shape[0], count, x.shape[3], x.dtype, is_pool=True)


def mean_arguments(graph: Graph, op: Op, shape: Mean) -> tuple[npt.NDArray[np.float32], ...]:
    """The constants of the kernel: factor, bias, and least and largest result.

    Of a pooling operator, they are the number of elements and its half, rounded down.
    """
    if shape.is_pool:
        return (np.array([shape.count, shape.count // 2], np.float32),)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    assert x.quantization is not None and y.quantization is not None
    scale = np.float32(x.quantization.scales[0]) / np.float32(y.quantization.scales[0])
    factor = scale * (np.float32(1) / np.float32(shape.count))
    moved = np.float32(x.quantization.zero_points[0] * shape.count) * factor
    bias = np.float32(y.quantization.zero_points[0]) - moved
    limits = np.iinfo(shape.dtype)
    return (np.array([factor, bias, limits.min, limits.max], np.float32),)


@cache
def mean_kernel(shape: Mean) -> tvm.tirx.PrimFunc:
    """A kernel (input, constants of ``mean_arguments``, output)."""
    numbers = 2 if shape.is_pool else 4
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("mean")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        constants = T.arg("constants", T.Buffer((numbers,), "float32"))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        real = [T.bind(constants[i]) for i in range(numbers)]
        if shape.inner == 1:
            _along_rows(shape, source, result, real)
        else:
            _across_rows(shape, source, result, real)
    return builder.get()


def _along_rows(shape: Mean, source: Any, result: Any, real: list[Any]) -> None:
    """Each output is of neighbouring values, whose sum LLVM divides among vectors."""
    with T.serial(0, shape.outer) as o:
        total = register(1, "int32")
        T.buffer_store(total, T.int32(0), [0])
        with T.serial(0, shape.count) as k:
            value = T.Cast("int32", source[o * shape.count + k])
            T.buffer_store(total, total[0] + value, [0])
        T.buffer_store(result, _stored(shape, total[0], real, 1), [o])


def _across_rows(shape: Mean, source: Any, result: Any, real: list[Any]) -> None:
    """Vectors of outputs, of which a few that lie side by side are summed together."""
    lanes = min(_LANES, shape.inner)
    vectors = min(_VECTORS, -(-shape.inner // lanes))
    whole = T.Ramp(0, 1, lanes)
    blocks = -(-shape.inner // (lanes * vectors))
    with T.grid(shape.outer, blocks) as (o, block):
        # The last vectors overlap those before them.
        starts = [
            T.bind(T.min((block * vectors + v) * lanes, shape.inner - lanes))
            for v in range(vectors)
        ]
        totals = [register(lanes, "int32") for _ in starts]
        sums = [register(lanes, "int16") for _ in starts]
        for total in totals:
            T.buffer_store(total, T.Broadcast(T.int32(0), lanes), [whole])
        with T.serial(0, -(-shape.count // _CHUNK)) as chunk:
            for some in sums:
                T.buffer_store(some, T.Broadcast(T.int16(0), lanes), [whole])
            with T.serial(0, T.min(_CHUNK, shape.count - chunk * _CHUNK)) as k:
                row = T.bind((o * shape.count + chunk * _CHUNK + k) * shape.inner)
                for some, start in zip(sums, starts, strict=True):
                    value = T.Cast(f"int16x{lanes}", source[T.Ramp(row + start, 1, lanes)])
                    T.buffer_store(some, some[whole] + value, [whole])
            for total, some in zip(totals, sums, strict=True):
                more = T.Cast(f"int32x{lanes}", some[whole])
                T.buffer_store(total, total[whole] + more, [whole])
        for total, start in zip(totals, starts, strict=True):
            made = _stored(shape, total[whole], real, lanes)
            T.buffer_store(result, made, [T.Ramp(o * shape.inner + start, 1, lanes)])


def _stored(shape: Mean, total: Any, real: list[Any], lanes: int) -> Any:
    """Sums as stored results."""
    kind = f"x{lanes}" if lanes > 1 else ""
    wide = [T.Broadcast(v, lanes) if lanes > 1 else v for v in real]
    made = (_quotient if shape.is_pool else _rounded)(total, wide, lanes, kind)
    return T.Cast(f"{shape.dtype}{kind}", T.Cast(f"int32{kind}", made))


def _quotient(total: Any, real: list[Any], lanes: int, kind: str) -> Any:
    """Quotients of integers, halves rounded away from zero; exact, as they are small."""
    count, half = real
    exact = T.Cast(f"float32{kind}", total)
    is_negative = exact < (T.Broadcast(T.float32(0), lanes) if lanes > 1 else T.float32(0))
    return T.trunc(T.Select(is_negative, exact - half, exact + half) / count)


def _rounded(total: Any, real: list[Any], lanes: int, kind: str) -> Any:
    """Scaled sums in the result's steps. LiteRT rounds the product before it adds the bias."""
    factor, bias, low, high = real
    product = T.Cast(f"float32{kind}", total) * factor
    # Else LLVM would make one instruction of product and sum, which rounds once.
    suffix = f"v{lanes}f32" if lanes > 1 else "f32"
    product = T.call_llvm_pure_intrin(f"float32{kind}", f"llvm.arithmetic.fence.{suffix}", product)
    return T.max(T.min(T.nearbyint(product + bias), high), low)


def _is_plain(tensor: Tensor) -> bool:
    return bool(
        tensor.is_8_bit
        and tensor.quantization is not None
        and len(tensor.quantization.scales) == 1
        and not tensor.is_dynamic
        and tensor.size_bytes
    )
