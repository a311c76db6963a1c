"""Convolutions and fully connected layers: their geometry, and constants in the kernel's layout.

A fully connected layer is a convolution of an image of one row, whose pixels are the rows of its
input; so is a convolution with a window of one element, wherever the pixels follow each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.graph.model import Graph, Op, Tensor

from .llvm_arithmetic import (
    ACTIVATIONS,
    Arithmetic,
    activation_of,
    are_bytes,
    float_arithmetic,
    integer_arithmetic,
    requantization_factors,
    stored_limits,
)
from .llvm_constants import constant_operand, has_constant_parameters
from .llvm_isa import Isa
from .llvm_window import window_of

# Of longer sums, those of unsigned bytes might leave int32.
_MOST_FACTORS = 60_000


# Where the zero points are among ``conv_arguments`` of integers.
ZEROS = 3


@dataclass(frozen=True)
class Conv:
    """Geometry of a convolution on one image.

    Attributes:
        given: shape of the input tensor.
        made: shape of the output tensor.
        height, width, channels: of the image, which has all elements of the input.
        filters: channels of the output.
        kernel: height and width of the window.
        stride: of rows and columns.
        dilation: of rows and columns; distance of a window's elements.
        padding: rows above and columns left of the image.
        output: height and width.
        dtype: of input and output: ``int8``, ``uint8`` or ``float32``.
    """

    given: tuple[int, ...]
    made: tuple[int, ...]
    height: int
    width: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]
    dtype: str

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns that windows reach, or that hold the image where that is more."""
        rows, columns = (
            max((count - 1) * stride + (window - 1) * dilation + 1, before + size)
            for count, stride, window, dilation, before, size in zip(
                self.output,
                self.stride,
                self.kernel,
                self.dilation,
                self.padding,
                (self.height, self.width),
                strict=True,
            )
        )
        return rows, columns

    @property
    def runs(self) -> tuple[int, int, int]:
        """Rows and columns of a window's runs of neighbouring values, and the length of each."""
        (kh, kw), c = self.kernel, self.channels
        return (kh, 1, kw * c) if self.dilation[1] == 1 else (kh, kw, c)

    def words(self, taps: int) -> int:
        """Words of so many values in a window."""
        rows, columns, length = self.runs
        return rows * columns * len(word_starts(length, taps))


def conv_of(graph: Graph, op: Op) -> Conv | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind not in ("conv2d", "fully_connected") or not graph.data or len(op.inputs) < 2:
        return None
    x, w, y = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    bias = graph.tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    if not (has_constant_parameters(graph, op) and _types_fit(x, w, bias, y)):
        return None
    if not (x.size_bytes and y.size_bytes):
        return None
    if activation_of(op) not in ACTIVATIONS or math.prod(w.shape[1:]) > _MOST_FACTORS:
        return None
    return _dense(op, x, w, y) if op.kind == "fully_connected" else _windowed(op, x, w, y)


def _dense(op: Op, x: Tensor, w: Tensor, y: Tensor) -> Conv | None:
    filters, channels = w.shape[0], math.prod(w.shape[1:])
    rows = math.prod(x.shape) // channels
    if (
        op.attributes.get("weights_format", "default") != "default"
        or rows * channels != math.prod(x.shape)
        or rows * filters != math.prod(y.shape)
    ):
        return None
    return _row(x, y, rows, channels, filters)


def _windowed(op: Op, x: Tensor, w: Tensor, y: Tensor) -> Conv | None:
    if len(x.shape) != 4 or w.shape[3] != x.shape[3]:
        return None
    window = window_of(op, x, w, y)
    if window.kernel == window.stride == (1, 1):
        return _row(x, y, math.prod(x.shape[:3]), x.shape[3], w.shape[0])
    if x.shape[0] != 1:
        return None
    return Conv(
        given=x.shape,
        made=y.shape,
        height=x.shape[1],
        width=x.shape[2],
        channels=x.shape[3],
        filters=w.shape[0],
        kernel=window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        padding=window.padding,
        output=(y.shape[1], y.shape[2]),
        dtype=x.dtype,
    )


def _row(x: Tensor, y: Tensor, pixels: int, channels: int, filters: int) -> Conv:
    one = 1, 1
    size = 1, pixels
    return Conv(
        x.shape, y.shape, *size, channels, filters, one, one, one, (0, 0), size, dtype=x.dtype
    )


def conv_arithmetic(graph: Graph, op: Op, shape: Conv, isa: Isa) -> Arithmetic:
    """The fastest arithmetic that ``isa`` has for an operator."""
    weights = graph.tensors[op.inputs[1]]
    if shape.dtype == "float32":
        return float_arithmetic(isa)
    how = integer_arithmetic(weights, isa)
    if how.taps == 2 and shape.output == (1, 1) and are_bytes(weights):
        # Each weight is read once, which takes longer than to widen it.
        return replace(how, weights="int8")
    return how


@dataclass(frozen=True)
class Tiles:
    """How the sums of a convolution are divided into those that are held in registers together.

    Attributes:
        pixels: neighbouring outputs of a row.
        vectors: vectors of output channels.
        count: tiles of output channels; the last overlaps the one before it, where it must.
        by_tile: a tile of output channels is made of all pixels before the next tile is begun, so
            that its weights stay in the first-level cache; else the pixels do.
        unrolled: words of a run whose code stands one after the other; divides their number.
    """

    pixels: int
    vectors: int
    count: int
    by_tile: bool = False
    unrolled: int = 1


def column_starts(shape: Conv, how: Arithmetic, tiles: Tiles) -> list[list[int]]:
    """The output channel that each vector of each tile begins with."""
    all_vectors = -(-shape.filters // how.lanes)
    last = max(0, shape.filters - how.lanes)
    return [
        [
            min((min(t * tiles.vectors, all_vectors - tiles.vectors) + v) * how.lanes, last)
            for v in range(tiles.vectors)
        ]
        for t in range(tiles.count)
    ]


def word_starts(length: int, taps: int) -> list[int]:
    """The values of a run that its words begin with; the last word overlaps the one before it."""
    return [min(k * taps, max(0, length - taps)) for k in range(-(-length // taps))]


def conv_arguments(
    graph: Graph, op: Op, shape: Conv, how: Arithmetic, tiles: Tiles
) -> tuple[npt.NDArray[Any], ...]:
    """The constants of the kernel: weights, biases, factors, zero points, and limits.

    Float kernels have no factors and no zero points. Weights, as words, are in the order in which
    the kernel reads them: tile, row and column of a run, word of the run, vector, lane.
    """
    x, w, y = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    rows, columns, length = shape.runs
    filters = constant_operand(graph, op, 1).reshape(shape.filters, rows, columns, length)
    bias: npt.NDArray[Any] = np.zeros(shape.filters, np.float32 if how.taps == 1 else np.int64)
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        bias += constant_operand(graph, op, 2)
    starts = column_starts(shape, how, tiles)
    channel = np.array(starts)[:, :, None] + np.arange(how.lanes)
    is_there, channel = channel < shape.filters, np.minimum(channel, shape.filters - 1)

    def by_lane(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.where(is_there, np.broadcast_to(values, shape.filters)[channel], 0).reshape(-1)

    if how.taps == 1:
        limits = np.array(ACTIVATIONS[activation_of(op)], np.float32)
        packed = _packed(filters, channel, 1, how.weights)
        return packed, by_lane(bias).astype(np.float32), limits
    assert x.quantization and w.quantization and y.quantization
    zeros = np.array(w.quantization.zero_points, np.int32).reshape(-1, 1, 1, 1)
    filters = filters.astype(np.int32) - zeros
    zero = x.quantization.zero_points[0]
    if how.taps == 4:
        bias -= (zero + how.shift(shape.dtype)) * filters.sum((1, 2, 3), dtype=np.int64)
    factors = requantization_factors(x.quantization, w.quantization, y.quantization)
    return (
        _packed(filters, channel, how.taps, how.weights),
        by_lane(bias).astype(np.int32),
        by_lane(factors).astype(np.float32),
        np.array([zero, y.quantization.zero_points[0]], np.int32),
        stored_limits(op, y),
    )


def _packed(
    filters: npt.NDArray[Any], channel: npt.NDArray[Any], taps: int, dtype: str
) -> npt.NDArray[Any]:
    """Weights in the kernel's order; values of a run that two words have count in the first."""
    _, rows, columns, length = filters.shape
    starts = word_starts(length, taps)
    words = np.zeros((*channel.shape, rows, columns, len(starts), taps), dtype)
    counted = 0
    for k, start in enumerate(starts):
        end = min(start + taps, length)
        values = filters[channel, :, :, counted:end]
        words[..., k, counted - start : end - start] = values
        counted = end
    # From (tile, vector, lane, row, column, word, tap).
    return np.ascontiguousarray(words.transpose(0, 3, 4, 5, 1, 2, 6)).reshape(-1)


def _types_fit(x: Tensor, w: Tensor, bias: Tensor | None, y: Tensor) -> bool:
    if x.is_dynamic or y.is_dynamic or x.dtype != y.dtype:
        return False
    if x.dtype == "float32":
        return w.dtype == "float32" and (bias is None or bias.dtype == "float32")
    return bool(
        x.is_8_bit
        and w.is_8_bit
        and x.quantization
        and w.quantization
        and y.quantization
        and (bias is None or bias.dtype == "int32")
    )
