"""Average and maximum over windows of 8-bit tensors, in integer arithmetic as LiteRT does it.

The kernel first copies the input into rows with room for the padding, the columns sorted by their
remainder modulo the stride. A window then reads, at each of its positions, a row of values that
lie side by side over columns and channels alike::

    columns of stride 2:  0 1 2 3 4 5 6  ->  0 2 4 6 | 1 3 5
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

from tdse.graph.model import Graph, Op

from .llvm_window import int_attribute, padding_before

_KINDS = ("average_pool2d", "max_pool2d")

# Windows are unrolled, and sums are kept in 16 bits.
_MOST_POSITIONS = 64


@dataclass(frozen=True)
class Pool:
    """Geometry of a pooling operator on one image.

    Attributes:
        is_average: otherwise it takes the maximum.
        height, width, channels: of the input [1, height, width, channels].
        window: height and width.
        stride: of rows and columns.
        padding: rows above and columns left of the input.
        output: height and width.
        dtype: ``int8`` or ``uint8``; of a maximum, also ``float32``.
    """

    is_average: bool
    height: int
    width: int
    channels: int
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]
    dtype: str


def pool_of(graph: Graph, op: Op) -> Pool | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind not in _KINDS or not graph.data or len(op.inputs) != 1:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_float_maximum = op.kind == "max_pool2d" and x.dtype == "float32"
    if (
        not (is_float_maximum or (x.is_8_bit and x.quantization is not None))
        or (x.dtype, x.quantization) != (y.dtype, y.quantization)
        or x.is_dynamic
        or y.is_dynamic
        or x.is_constant
        or not (x.size_bytes and y.size_bytes)
        or len(x.shape) != 4
        or x.shape[0] != 1
        or op.attributes.get("fused_activation_function", "none") != "none"
    ):
        return None
    window = int_attribute(op, "filter_height"), int_attribute(op, "filter_width")
    stride = int_attribute(op, "stride_h"), int_attribute(op, "stride_w")
    if not 1 <= math.prod(window) <= _MOST_POSITIONS or min(stride) < 1:
        return None
    return Pool(
        is_average=op.kind == "average_pool2d",
        height=x.shape[1],
        width=x.shape[2],
        channels=x.shape[3],
        window=window,
        stride=stride,
        padding=padding_before(op, x, y, window, stride),
        output=(y.shape[1], y.shape[2]),
        dtype=x.dtype,
    )


def pool_arguments(shape: Pool) -> tuple[npt.NDArray[np.float32], ...]:
    """Positions of each window inside the input: of rows, and of columns for each channel."""
    rows, columns = (
        np.array(
            [
                min(i * stride - before + window, size) - max(i * stride - before, 0)
                for i in range(count)
            ],
            np.float32,
        )
        for window, stride, before, size, count in zip(
            shape.window,
            shape.stride,
            shape.padding,
            (shape.height, shape.width),
            shape.output,
            strict=True,
        )
    )
    return rows, np.repeat(columns, shape.channels)


@cache
def pool_kernel(shape: Pool) -> tvm.tirx.PrimFunc:
    """A kernel (input, positions of rows, positions of columns, output)."""
    h, w, c = shape.height, shape.width, shape.channels
    (kh, kw), (sh, sw), (top, left), (oh, ow) = (
        shape.window,
        shape.stride,
        shape.padding,
        shape.output,
    )
    is_average = shape.is_average
    value = "int16" if is_average else shape.dtype
    fill = 0 if is_average else int(np.iinfo(shape.dtype).min)
    padded_rows = max((oh - 1) * sh + kh, top + h)
    # One phase for each remainder of a column modulo the stride.
    phase = -(-max((ow - 1) * sw + kw, left + w) // sw) * c
    row = phase * sw

    def windowed(stored: Any, first_row: Any, at: Any) -> Any:
        result = None
        for ky in range(kh):
            for kx in range(kw):
                item = stored[(first_row + ky) * row + kx % sw * phase + kx // sw * c + at]
                if result is None:
                    result = item
                else:
                    result = result + item if is_average else T.max(result, item)
        return result

    def divided(total: Any, count: Any) -> Any:
        """The quotient of small integers rounded half away from zero, exact in float32."""
        exact = T.Cast("float32", total)
        half = T.floor(count * T.float32(0.5))
        moved = T.Select(exact >= T.float32(0), exact + half, exact - half)
        return T.Cast(shape.dtype, T.Cast("int32", T.trunc(moved / count)))

    @T.prim_func(s_tir=True, private=True)
    def pool(
        x: T.Buffer((1, h, w, c), shape.dtype),
        row_counts: T.Buffer((oh,), "float32"),
        column_counts: T.Buffer((ow * c,), "float32"),
        y: T.Buffer((1, oh, ow, c), shape.dtype),
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((h * w * c,), shape.dtype, data=x.data)
        result = T.decl_buffer((oh * ow * c,), shape.dtype, data=y.data)
        stored = T.sblock_alloc_buffer((padded_rows * row,), value)
        for i in range(padded_rows * row):
            stored[i] = T.Cast(value, T.int32(fill))
        for r in range(h):
            if sw == 1:
                for i in range(w * c):
                    stored[(top + r) * row + left * c + i] = T.Cast(value, source[r * w * c + i])
            else:
                for i, channel in T.grid(w, c):
                    stored[
                        (top + r) * row + (left + i) % sw * phase + (left + i) // sw * c + channel
                    ] = T.Cast(value, source[(r * w + i) * c + channel])
        for r in range(oh):
            for i in range(ow * c):
                if is_average:
                    result[r * (ow * c) + i] = divided(
                        windowed(stored, r * sh, i), row_counts[r] * column_counts[i]
                    )
                else:
                    result[r * (ow * c) + i] = windowed(stored, r * sh, i)

    return pool
