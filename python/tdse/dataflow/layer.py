"""A layer as a nest of loops over tensors in DRAM: convolutions of all kinds, matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Groups, batch, output channels and input channels of a group, output rows and columns, filter
# rows and columns; the order of cpp/dataflow/layer.h.
LOOPS = ("G", "N", "M", "C", "Ox", "Oy", "Fx", "Fy")
OPERANDS = ("output", "input", "weights")
# Loops that an operand does not depend on, so that it can be used again while they run.
IRRELEVANT = (frozenset({"C", "Fx", "Fy"}), frozenset({"M"}), frozenset({"N", "Ox", "Oy"}))

Sizes = tuple[int, ...]

# Of output, input and weights: dimensions in DRAM, innermost first. Ix and Iy are rows and columns
# of the input. Dimensions of size 1 do no harm, so one layout serves convolutions of all kinds.
Layout = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
NCHW: Layout = (
    ("Oy", "Ox", "M", "G", "N"),
    ("Iy", "Ix", "C", "G", "N"),
    ("Fy", "Fx", "C", "M", "G"),
)
# Of TFLite; depthwise weights have the channels innermost.
NHWC: Layout = (
    ("M", "G", "Oy", "Ox", "N"),
    ("C", "G", "Iy", "Ix", "N"),
    ("C", "Fy", "Fx", "M", "G"),
)
NHWC_DEPTHWISE: Layout = (NHWC[0], NHWC[1], ("M", "G", "Fy", "Fx"))
# A matrix product of rows N and columns M; the second operand has its columns innermost.
GEMM: Layout = (("M", "N", "G"), ("C", "N", "G"), ("M", "C", "G"))
# The same with a second operand that is transposed, as of a fully connected layer in TFLite.
GEMM_TRANSPOSED: Layout = (("M", "N", "G"), ("C", "N", "G"), ("C", "M", "G"))


@dataclass(frozen=True)
class Layer:
    """One layer, and how often a network has it.

    Attributes:
        name: for people.
        sizes: iterations of each loop, in the order of ``LOOPS``.
        stride: of the window, rows and columns.
        dilation: of the filter, rows and columns.
        input_size: rows and columns of the input in DRAM, with padding; (1, 1) if it has none.
        layout: of the operands in DRAM.
        instances: how many equal layers the network has.
    """

    name: str
    sizes: Sizes
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    input_size: tuple[int, int] = (1, 1)
    layout: Layout = NCHW
    instances: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one instance."""
        return math.prod(self.sizes)

    @property
    def shape(self) -> tuple[object, ...]:
        """Everything that costs depend on: equal layers have equal shapes."""
        return (self.sizes, self.stride, self.dilation, self.input_size, self.layout)

    def elements(self, operand: int, tile: Sequence[int]) -> int:
        """Distinct elements of an operand in a tile of so many iterations of each loop.

        Of an input, all between the first and the last row and column are counted, whether a
        stride or a dilation leaves some of them out or not.
        """
        g, n, m, c, ox, oy, fx, fy = tile
        if operand == 0:
            return g * n * m * ox * oy
        if operand == 1:
            return g * n * c * self.span(0, ox, fx) * self.span(1, oy, fy)
        return g * m * c * fx * fy

    def span(self, axis: int, outputs: int, taps: int) -> int:
        """Rows (axis 0) or columns (1) of the input under so many outputs and filter taps."""
        return (outputs - 1) * self.stride[axis] + (taps - 1) * self.dilation[axis] + 1


def convolution(
    name: str,
    *,
    batch: int = 1,
    groups: int = 1,
    channels: tuple[int, int],
    output: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    input_size: tuple[int, int] | None = None,
    layout: Layout = NCHW,
    instances: int = 1,
) -> Layer:
    """A convolution.

    Args:
        name: for people.
        batch: images.
        groups: of channels; a depthwise convolution has as many as channels of the input.
        channels: of the output and of the input, of one group.
        output: rows and columns.
        kernel: rows and columns.
        stride: rows and columns.
        dilation: rows and columns.
        input_size: rows and columns with padding; by default what the window reaches.
        layout: of the operands in DRAM.
        instances: how many equal layers the network has.
    """
    sizes = (groups, batch, *channels, *output, *kernel)
    layer = Layer(name, sizes, stride, dilation, (1, 1), layout, instances)
    reach = (layer.span(0, output[0], kernel[0]), layer.span(1, output[1], kernel[1]))
    return Layer(name, sizes, stride, dilation, input_size or reach, layout, instances)


def matrix_product(
    name: str,
    rows: int,
    columns: int,
    inner: int,
    *,
    batch: int = 1,
    layout: Layout = GEMM,
    instances: int = 1,
) -> Layer:
    """``rows`` x ``inner`` times ``inner`` x ``columns``, ``batch`` times."""
    sizes = (batch, rows, columns, inner, 1, 1, 1, 1)
    return Layer(name, sizes, layout=layout, instances=instances)
