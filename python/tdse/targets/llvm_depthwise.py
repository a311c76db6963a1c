"""Depthwise convolutions on 8-bit tensors in integer arithmetic.

TVM imports them as float32 arithmetic between a dequantisation and a quantisation. Here the
products are summed in int32, as LiteRT does it, and scaled to the output's quantisation in
float32, as XNNPACK does it.

The kernel first brings a band of input rows into a form in which taps of neighbouring columns lie
side by side: the word of column x and channel c holds the values of (x, c), (x + 1, c), ... of a
group of taps, which one instruction multiplies by as many weights and adds to a sum::

    group of 4 taps, 2 channels:  a0 b0 a1 b1 a2 b2 a3 b3 a4 b4
                              ->  (a0 a1 a2 a3) (b0 b1 b2 b3) (a1 a2 a3 a4) (b1 b2 b3 b4)

A row of words is then read as one vector over columns and channels alike, whatever the number of
channels: the weights are repeated until their period is a multiple of the vector's length.
"""

# TVM's script notation has calls where annotations have types.
# mypy: disable-error-code="valid-type"

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script import tirx as T

from tdse.graph.model import Graph, Op, Tensor

from .llvm_arithmetic import (
    ACTIVATIONS,
    Arithmetic,
    activation_of,
    is_worth_dividing,
    multiply_add,
    requantization_factors,
    requantized,
    stored_limits,
)
from .llvm_constants import constant_operand, has_constant_parameters
from .llvm_isa import Isa
from .llvm_window import window_of

# A band of rows in words should stay in the second-level cache.
_BAND_BYTES = 256 * 1024

# What else is done for a vector of outputs takes as long as so many multiplications.
_STEPS_BESIDE = 14

# Part of that is to bring a vector of an input row into words.
_STEPS_OF_WORDS = 6

# Threads divide the rows into so many groups: the most for which what is prepared again is no more
# than this share of all, or the fewest.
_GROUPS = (8, 4, 2)
_MOST_AGAIN = 0.2

# Larger windows are rare, and their unrolled kernels take long to compile.
_MOST_TAPS = 128


@dataclass(frozen=True)
class Depthwise:
    """Geometry of a depthwise convolution with one filter for each channel.

    Attributes:
        height, width, channels: of the input [1, height, width, channels].
        kernel: height and width of the window.
        stride: of rows and columns.
        dilation: of rows and columns; distance of a window's taps.
        padding: rows above and columns left of the input.
        output: height and width.
        dtype: ``int8``, ``uint8`` or ``float32``, of input and output.
    """

    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]
    dtype: str


def depthwise_of(graph: Graph, op: Op) -> Depthwise | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind != "depthwise_conv2d" or not graph.data or len(op.inputs) != 3:
        return None
    if min(op.inputs) < 0:
        return None
    x, w, bias, y = (graph.tensors[t] for t in (*op.inputs, op.outputs[0]))
    if not (has_constant_parameters(graph, op) and _types_fit(x, w, bias, y)):
        return None
    if len(x.shape) != 4 or not (x.size_bytes and y.size_bytes):
        return None
    window = window_of(op, x, w, y)
    if (
        x.shape[0] != 1
        or w.shape[3] != x.shape[3]
        or y.shape[3] != x.shape[3]
        or window.stride[1] not in (1, 2)
        or (window.dilation[1] > 1 and window.stride[1] > 1)
        or math.prod(w.shape[1:3]) > _MOST_TAPS
        or activation_of(op) not in ACTIVATIONS
        or (y.shape[3] < 4 if x.dtype == "float32" else y.shape[2] * y.shape[3] < 16)
    ):
        return None
    return Depthwise(
        height=x.shape[1],
        width=x.shape[2],
        channels=x.shape[3],
        kernel=window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        padding=window.padding,
        output=(y.shape[1], y.shape[2]),
        dtype=x.dtype,
    )


def depthwise_arguments(
    graph: Graph, op: Op, shape: Depthwise, how: Arithmetic
) -> tuple[npt.NDArray[Any], ...]:
    """The constants of the kernel: weights, biases, factors, and limits."""
    x, w, y = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    assert x.quantization and w.quantization and y.quantization
    kh, kw, c = *shape.kernel, shape.channels
    weights = constant_operand(graph, op, 1).reshape(kh, kw, c)
    weights = weights.astype(np.int32) - np.array(w.quantization.zero_points, np.int32)
    bias = constant_operand(graph, op, 2).astype(np.int64)
    factors = requantization_factors(x.quantization, w.quantization, y.quantization)
    # Where stored bytes are shifted to become factors, that of a zero is not zero.
    zero = x.quantization.zero_points[0] + how.shift(shape.dtype)
    if how.taps == 4:
        bias -= zero * weights.sum((0, 1), dtype=np.int64)
    channel = np.arange(_period(shape, how) + how.lanes) % c
    groups = -(-kw // how.taps)
    words = np.zeros((kh, groups, len(channel), how.taps), np.int32)
    for column in range(kw):
        words[:, column // how.taps, :, column % how.taps] = weights[:, column][:, channel]
    narrow = words.astype(how.weights)
    return (
        narrow.reshape(-1).view(np.int32),
        bias.astype(np.int32)[channel],
        np.broadcast_to(factors, c).astype(np.float32)[channel],
        np.array([zero, y.quantization.zero_points[0]], np.int32),
        stored_limits(op, y),
    )


@cache
def depthwise_kernel(shape: Depthwise, how: Arithmetic, isa: Isa) -> tvm.tirx.PrimFunc:
    """A kernel (input, weights, biases, factors, zero points, limits, output, begin, end).

    It makes the groups of rows from ``begin`` to before ``end``. Quantisation is in the arguments,
    so that operators of equal shapes share a kernel.
    """
    h, w, c = shape.height, shape.width, shape.channels
    (kh, kw), (sh, sw), (dh, dw) = shape.kernel, shape.stride, shape.dilation
    (top, left), (oh, ow) = shape.padding, shape.output
    taps, lanes = how.taps, how.lanes
    groups = -(-kw // taps)
    # Words of a row lie as many columns apart as the stride, so that outputs are neighbours.
    group_step = taps * dw // sw * c
    columns = ow + (groups - 1) * taps * dw // sw
    row = _round_up(columns * c, lanes)
    # The columns of a line are sorted by their remainder modulo the stride.
    phase = -(-max((columns - 1) * sw + (taps - 1) * dw + 1, left + w) // sw) * c
    reach = (kh - 1) * dh + 1
    band = max(1, min(oh, (_BAND_BYTES // (row * 4) - reach) // sh + 1))
    band_rows = (band - 1) * sh + reach
    parts = depthwise_iterations(shape, how)
    period = _period(shape, how)
    stored = period + lanes
    vectors, full, rest = period // lanes, ow * c // lanes, ow * c % lanes
    value = "uint8" if taps == 4 else "int16"

    def prepared(byte: Any, zero: Any) -> Any:
        if taps != 4:
            return T.Cast("int16", T.Cast("int32", byte) - zero)
        stored = byte if shape.dtype == "uint8" else T.reinterpret("uint8", byte)
        return T.bitwise_xor(stored, T.uint8(128)) if how.shift(shape.dtype) else stored

    def word(line: Any, at: Any) -> Any:
        unsigned = [line[t * dw % sw * phase + t * dw // sw * c + at] for t in range(taps)]
        if taps == 2:
            unsigned = [T.reinterpret("uint16", v) for v in unsigned]
        result = T.Cast("int32", unsigned[0])
        for t in range(1, taps):
            moved = T.shift_left(T.Cast("int32", unsigned[t]), T.int32(32 // taps * t))
            result = T.bitwise_or(result, moved)
        return result

    def outputs(
        words: Any, weights: Any, bias: Any, factors: Any, start: Any, at: Any, bounds: Any
    ) -> Any:
        """One vector of outputs; `start` is of its words, `at` of its weights."""
        total = bias[T.Ramp(at, 1, lanes)]
        for ky in range(kh):
            for g in range(groups):
                total = multiply_add(
                    total,
                    words[T.Ramp(start + ky * dh * row + g * group_step, 1, lanes)],
                    weights[T.Ramp(at + (ky * groups + g) * stored, 1, lanes)],
                    how,
                    isa,
                )
        return requantized([total], [factors[T.Ramp(at, 1, lanes)]], bounds, lanes, shape.dtype)

    @T.prim_func(s_tir=True, private=True)
    def depthwise(
        x: T.Buffer((1, h, w, c), shape.dtype),
        weights: T.Buffer((kh * groups * stored,), "int32"),
        bias: T.Buffer((stored,), "int32"),
        factors: T.Buffer((stored,), "float32"),
        zeros: T.Buffer((2,), "int32"),
        limits: T.Buffer((2,), "float32"),
        y: T.Buffer((1, oh, ow, c), shape.dtype),
        begin: T.int32,
        end: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((h * w * c,), shape.dtype, data=x.data)
        result = T.decl_buffer((oh * ow * c,), shape.dtype, data=y.data)
        line = T.sblock_alloc_buffer((phase * sw,), value)
        words = T.sblock_alloc_buffer((band_rows * row,), "int32")
        fill = T.bind(T.Cast(value, zeros[0] if taps == 4 else T.int32(0)))
        bounds = (T.bind(limits[0]), T.bind(limits[1]), T.bind(zeros[1]))
        for i in range(phase * sw):
            line[i] = fill
        start = T.bind(begin * oh // parts)
        last = T.bind(end * oh // parts)
        for number in range((last - start + band - 1) // band):
            first = T.bind(start + number * band)
            for r in range((T.min(band, last - first) - 1) * sh + reach):
                if top <= first * sh + r and first * sh + r < top + h:
                    if sw == 1:
                        for i in range(w * c):
                            line[left * c + i] = prepared(
                                source[(first * sh + r - top) * (w * c) + i], zeros[0]
                            )
                    else:
                        for i, channel in T.grid(w, c):
                            line[(left + i) % sw * phase + (left + i) // sw * c + channel] = (
                                prepared(
                                    source[((first * sh + r - top) * w + i) * c + channel],
                                    zeros[0],
                                )
                            )
                else:
                    for i in range(phase * sw):
                        line[i] = fill
                for i in range(columns * c):
                    words[r * row + i] = word(line, i)
            for r in range(T.min(band, last - first)):
                for v in range(vectors):
                    for i in range((full - v + vectors - 1) // vectors):
                        result[
                            T.Ramp(
                                (first + r) * (ow * c) + (i * vectors + v) * lanes,
                                1,
                                lanes,
                            )
                        ] = outputs(
                            words,
                            weights,
                            bias,
                            factors,
                            r * sh * row + (i * vectors + v) * lanes,
                            v * lanes,
                            bounds,
                        )
                if rest > 0:
                    # The last vector of a row overlaps the one before it.
                    result[T.Ramp((first + r) * (ow * c) + ow * c - lanes, 1, lanes)] = outputs(
                        words,
                        weights,
                        bias,
                        factors,
                        r * sh * row + ow * c - lanes,
                        (ow * c - lanes) % period,
                        bounds,
                    )

    return depthwise


def depthwise_iterations(shape: Depthwise, how: Arithmetic) -> int:
    """Groups of rows that the kernel can make by themselves, on a thread each.

    Rows above and below a group are prepared for it and for its neighbours, so small images and
    large windows have few groups.
    """
    oh, (kh, kw) = shape.output[0], shape.kernel
    steps = kh * -(-kw // how.taps) + _STEPS_BESIDE
    vectors = math.prod(shape.output) * shape.channels / how.lanes
    if not is_worth_dividing(vectors * steps):
        return 1
    shared_rows = max(0, (kh - 1) * shape.dilation[0] + 1 - shape.stride[0])
    most = _MOST_AGAIN * steps * oh / max(1, shared_rows * _STEPS_OF_WORDS)
    return min(oh, next((groups for groups in _GROUPS if groups <= most), _GROUPS[-1]))


def _types_fit(x: Tensor, w: Tensor, bias: Tensor, y: Tensor) -> bool:
    if x.is_dynamic or y.is_dynamic:
        return False
    if x.dtype == "float32":
        return x.dtype == w.dtype == bias.dtype == y.dtype
    return bool(
        x.quantization
        and w.quantization
        and y.quantization
        and x.dtype == y.dtype
        and x.is_8_bit
        and w.is_8_bit
        and bias.dtype == "int32"
    )


def _period(shape: Depthwise, how: Arithmetic) -> int:
    return math.lcm(shape.channels, how.lanes)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
