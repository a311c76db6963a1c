"""Depthwise convolutions in float32, some pixels of a vector of channels at a time.

Before, in short::

    for pixel, channel: for k: y[pixel, channel] += x[pixel + k, channel] * w[k, channel]

After, with sums that never leave registers::

    for channels: for pixels:
        for k: for p: sum[p] += x[pixels + p + k, channels] * w[k, channels]
        y[pixels, channels] = limited(sum)

Nothing is padded: rows beyond the image are left out of the sum's loop, and columns at the left and
right whose windows reach beyond the image have code of their own, without the taps out there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import (
    ACTIVATIONS,
    STEPS_BESIDE,
    Arithmetic,
    activation_of,
    bounds_of_call,
    channel_vector,
    float_arithmetic,
    float_lanes,
    is_worth_dividing,
    multiply_add,
    register,
)
from .llvm_constants import constant_operand
from .llvm_depthwise import Depthwise
from .llvm_isa import Isa

# Sums in registers, of an inner tile; and vectors of channels of a column at the border. Of the
# registers, sums take half at most (see ``llvm_conv_tiles``): with AVX2, ten shapes took 1.0 to 2.5
# times as long in tiles of 14.
_MOST_PIXELS = 14
_BORDER_VECTORS = 4


def float_depthwise_arguments(graph: Graph, op: Op) -> tuple[npt.NDArray[np.float32], ...]:
    """The constants of the kernel: weights as the model has them, biases, and limits."""
    weights, bias = (constant_operand(graph, op, position).reshape(-1) for position in (1, 2))
    return weights, bias, np.array(ACTIVATIONS[activation_of(op)], np.float32)


@cache
def float_depthwise_kernel(shape: Depthwise, isa: Isa) -> tvm.tirx.PrimFunc:
    """A kernel (input, weights, biases, limits, output)."""
    h, w, c, (kh, kw) = shape.height, shape.width, shape.channels, shape.kernel
    oh, ow = shape.output
    how = _narrowed(float_arithmetic(isa), float_lanes(isa, c))
    inner, border = _columns(shape)
    pixels = _pixels(len(inner), isa)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("depthwise")
        x = T.arg("x", T.Buffer((1, h, w, c), "float32"))
        weights = T.arg("weights", T.Buffer((kh * kw * c,), "float32"))
        bias = T.arg("bias", T.Buffer((c,), "float32"))
        limits = T.arg("limits", T.Buffer((2,), "float32"))
        y = T.arg("y", T.Buffer((1, oh, ow, c), "float32"))
        begin, end = bounds_of_call(oh, float_depthwise_iterations(shape, isa) > 0)
        T.func_attr({"tirx.noalias": True})
        image = T.decl_buffer((h * w * c,), "float32", data=x.data)
        result = T.decl_buffer((oh * ow * c,), "float32", data=y.data)
        buffers = image, weights, bias, result
        bounds = T.bind(limits[0]), T.bind(limits[1])
        vectors = -(-c // how.lanes)
        together = min(_BORDER_VECTORS, vectors)
        with T.serial(begin, end) as row:
            if border:
                with T.serial(0, -(-vectors // together)) as group:
                    first = T.bind(T.min(group * together, vectors - together))
                    starts = [channel_vector(first + v, c, how.lanes) for v in range(together)]
                    for column, taps in border:
                        _tile(shape, how, isa, buffers, bounds, row, column, 1, starts, taps)
            if inner:
                with T.serial(0, vectors) as vector, T.serial(0, -(-len(inner) // pixels)) as block:
                    last = inner[-1] - pixels + 1
                    column = T.bind(T.min(inner[0] + block * pixels, last))
                    starts = [T.bind(channel_vector(vector, c, how.lanes))]
                    taps = range(kw)
                    _tile(shape, how, isa, buffers, bounds, row, column, pixels, starts, taps)
    return builder.get()


def float_depthwise_iterations(shape: Depthwise, isa: Isa) -> int:
    """Those of the kernel's outermost loop that threads may divide; 0 if it is not worth it."""
    vectors = math.prod(shape.output) * shape.channels / float_lanes(isa, shape.channels)
    steps = vectors * (math.prod(shape.kernel) + STEPS_BESIDE)
    return shape.output[0] if is_worth_dividing(steps) else 0


def _tile(
    shape: Depthwise,
    how: Arithmetic,
    isa: Isa,
    buffers: tuple[Any, Any, Any, Any],
    bounds: tuple[Any, Any],
    row: Any,
    column: Any,
    pixels: int,
    starts: Sequence[Any],
    taps: range,
) -> None:
    """Outputs of ``pixels`` columns from ``column`` on, of the channels from each of ``starts``.

    The windows have only the columns ``taps`` within the image.
    """
    image, weights, bias, result = buffers
    (kh, kw), (sh, sw), (dh, dw) = shape.kernel, shape.stride, shape.dilation
    (top, left), c, lanes = shape.padding, shape.channels, how.lanes
    whole = T.Ramp(0, 1, lanes)
    sums = [[register(lanes, "float32") for _ in starts] for _ in range(pixels)]
    for of_pixel in sums:
        for start, total in zip(starts, of_pixel, strict=True):
            T.buffer_store(total, bias[T.Ramp(start, 1, lanes)], [whole])
    # Rows of the window that lie within the image.
    above = top - row * sh
    begin = T.bind(T.max((above + dh - 1) // dh, 0)) if top else T.int32(0)
    end = T.bind(T.min((above + shape.height - 1) // dh + 1, kh))
    with T.serial(begin, end) as ky:
        base = T.bind(((row * sh - top + ky * dh) * shape.width + column * sw - left) * c)
        for kx in taps:
            factors = [
                T.bind(weights[T.Ramp((ky * kw + kx) * c + start, 1, lanes)]) for start in starts
            ]
            for p, of_pixel in enumerate(sums):
                for start, total, factor in zip(starts, of_pixel, factors, strict=True):
                    at = base + (p * sw + kx * dw) * c + start
                    value = image[T.Ramp(at, 1, lanes)]
                    added = multiply_add(total[whole], value, factor, how, isa)
                    T.buffer_store(total, added, [whole])
    low, high = bounds
    for p, of_pixel in enumerate(sums):
        at = (row * shape.output[1] + column + p) * c
        for start, total in zip(starts, of_pixel, strict=True):
            # The sum comes second: of a comparison with NaN, that is what is taken.
            limited = T.max(T.Broadcast(low, lanes), T.min(T.Broadcast(high, lanes), total[whole]))
            T.buffer_store(result, limited, [T.Ramp(at + start, 1, lanes)])


def _columns(shape: Depthwise) -> tuple[range, list[tuple[int, range]]]:
    """Output columns whose windows are within the image, and the others with their taps there."""
    kw, sw, dw, left = shape.kernel[1], shape.stride[1], shape.dilation[1], shape.padding[1]
    inner, border = [], []
    for column in range(shape.output[1]):
        first = column * sw - left
        taps = [k for k in range(kw) if 0 <= first + k * dw < shape.width]
        if len(taps) == kw:
            inner.append(column)
        else:
            border.append((column, range(taps[0], taps[-1] + 1) if taps else range(0)))
    return range(inner[0], inner[-1] + 1) if inner else range(0), border


def _pixels(columns: int, isa: Isa) -> int:
    """The size of tiles that compute the fewest columns twice, the largest of these."""
    sizes = range(1, min(columns, _MOST_PIXELS, isa.registers // 2) + 1)
    # A tile costs about as much beside its sums as one more column.
    return min(sizes, key=lambda size: (-(-columns // size) * (size + 1), -size), default=1)


def _narrowed(how: Arithmetic, lanes: int) -> Arithmetic:
    """The arithmetic with so many lanes."""
    return replace(how, lanes=lanes, instruction=f"llvm.fma.v{lanes}f32" if how.instruction else "")
