"""Random pieces of networks, to learn how the time of a region differs from that of its operators.

A runtime fuses, packs and keeps in cache what it runs together, so the times of single operators
do not add up to the time of a region.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from tdse.graph.layers import (
    Activation,
    Configuration,
    Input,
    Layer,
    Padding,
    Shape,
    layer_macs,
    result_shapes,
)
from tdse.measure.excitation import within_limits
from tdse.measure.excitation_sizes import draw_channels, log_uniform, pick

MIN_OPS, MAX_OPS = 4, 30
MIN_MACS, MAX_MACS = 3_000_000, 200_000_000
# Bytes of weights of a stack, and of each of its convolutions.
_STACK_BYTES = (1_000_000, 8_000_000)
_STACK_OP_BYTES = (50_000, 500_000)
# Of several chains that are within the limits, the one closest to the work drawn is taken.
_CANDIDATES = 6

# Applied to a feature map by an operator, or several, of their own, or fused.
_Style = Literal["none", "relu", "relu6", "relu_op", "hard_swish", "swish", "prelu"]


def draw_chain(generator: np.random.Generator, dtype: str) -> Configuration:
    """Random blocks one after the other, as classifiers and detectors for phones have them.

    Work is drawn log-uniformly. The same state of the generator gives the same chain.

    Args:
        generator: advanced by the call.
        dtype: float32 or int8.
    """
    target = log_uniform(generator, MIN_MACS, MAX_MACS)
    candidates: list[tuple[float, Configuration]] = []
    while len(candidates) < _CANDIDATES:
        chain = _Chain(generator, dtype)
        chain.grow(int(log_uniform(generator, MIN_OPS, MAX_OPS)))
        candidate = chain.configuration()
        fits = MIN_OPS <= len(candidate.layers) <= MAX_OPS
        if fits and MIN_MACS <= chain.macs <= MAX_MACS and within_limits(candidate):
            candidates.append((abs(math.log(chain.macs / target)), candidate))
    return min(candidates, key=lambda each: each[0])[1]


def draw_stack(generator: np.random.Generator, dtype: str) -> Configuration:
    """Equal separable blocks whose weights fit a cache one by one, but not all together.

    That is what the later half of a classifier is to a processor. The same state of the generator
    gives the same stack.

    Args:
        generator: advanced by the call.
        dtype: float32 or int8.
    """
    element_bytes = 4 if dtype == "float32" else 1
    one = log_uniform(generator, *_STACK_OP_BYTES)
    channels = 8 * max(1, round(math.sqrt(one / element_bytes) / 8))
    total = log_uniform(generator, *_STACK_BYTES)
    blocks = max(2, round(total / (channels * channels * element_bytes)))
    macs = log_uniform(generator, MIN_MACS, MAX_MACS)
    side = max(2, round(math.sqrt(macs / (blocks * channels * channels))))
    layers: list[Layer] = []
    for value in range(0, 2 * blocks, 2):
        layers.append(Layer("depthwise_conv2d", (value,), kernel=(3, 3), activation="relu6"))
        layers.append(Layer("conv2d", (value + 1,), channels=channels, activation="relu6"))
    return Configuration((Input((1, side, side, channels), dtype),), tuple(layers))


class _Chain:
    """A network in the making; values are numbered as a configuration numbers them."""

    def __init__(self, generator: np.random.Generator, dtype: str) -> None:
        self._generator = generator
        self._dtype = dtype
        size = round(log_uniform(generator, 5, 128))
        shape = (1, size, size, draw_channels(generator, 8, 256))
        self._input = Input(shape, dtype)
        self._shapes: list[Shape] = [shape]
        self._layers: list[Layer] = []
        # A network has one style of activations throughout.
        styles: dict[_Style, float] = {"relu6": 0.4, "relu": 0.2, "hard_swish": 0.2, "swish": 0.2}
        self._style = pick(generator, styles)
        # Networks that come from PyTorch pad by operators, which runtimes fold into convolutions.
        self._pads = self._chance(0.2)
        self.macs = 0

    def grow(self, ops: int) -> None:
        """Add blocks until there are at least ``ops`` operators."""
        block = pick(self._generator, _BLOCKS)
        value = 0
        while len(self._layers) < ops:
            # Networks repeat their blocks.
            if self._chance(0.3):
                block = pick(self._generator, _BLOCKS)
            value = block(self, value)
            if self._chance(0.08):
                break
        if self._chance(0.2):
            self._head(value)

    def configuration(self) -> Configuration:
        """What has been added so far."""
        return Configuration((self._input,), tuple(self._layers))

    def inverted_residual(self, x: int) -> int:
        """Expand, depthwise, perhaps squeeze and excite, project, and add where shapes allow."""
        channels = self._shapes[x][3]
        expansion = pick(self._generator, {1: 0.15, 3: 0.25, 4: 0.2, 6: 0.4})
        stride = self._draw_stride(x)
        y = self._conv(x, channels * expansion, self._style) if expansion > 1 else x
        y = self._depthwise(y, self._draw_kernel(), stride, self._style)
        if self._chance(0.35):
            y = self._squeeze_excite(y)
        same = stride == 1 and self._chance(0.7)
        y = self._conv(y, channels if same else self._draw_width(x, stride))
        return self._binary("add", x, y) if same else y

    def separable(self, x: int) -> int:
        """A depthwise and a pointwise convolution, once or, behind ReLUs of their own, twice."""
        stride, kernel = self._draw_stride(x), self._draw_kernel()
        width = self._draw_width(x, stride)
        if self._chance(0.5):
            y = self._depthwise(x, kernel, stride, self._style)
            return self._conv(y, width, self._style)
        y = self._depthwise(self._activate(x, "relu_op"), kernel, stride)
        y = self._activate(self._conv(y, width), "relu_op")
        return self._conv(self._depthwise(y, kernel, 1), width)

    def prelu_residual(self, x: int) -> int:
        """Depthwise, pointwise, addition and PReLU; the shortcut is pooled and padded."""
        channels = self._shapes[x][3]
        stride = self._draw_stride(x)
        grown = channels * 2 if stride == 2 and self._chance(0.5) else channels
        y = self._conv(self._depthwise(x, self._draw_kernel(), stride), grown)
        if stride == 2:
            x = self._add(Layer("max_pool2d", (x,), kernel=(2, 2), stride=2))
        if grown > channels:
            x = self._add(Layer("pad", (x,), numbers=(0, 0, 0, 0, 0, 0, 0, grown - channels)))
        style: _Style = "prelu" if self._dtype == "float32" else "relu_op"
        return self._activate(self._binary("add", y, x), style)

    def branches(self, x: int) -> int:
        """Convolutions beside each other, joined along their channels."""
        ends = [self._branch(x) for _ in range(pick(self._generator, {2: 0.4, 3: 0.3, 4: 0.3}))]
        return self._add(Layer("concatenation", tuple(ends), numbers=(3,)))

    def convolutions(self, x: int) -> int:
        """One to three plain convolutions."""
        for _ in range(pick(self._generator, {1: 0.4, 2: 0.4, 3: 0.2})):
            kernel = pick(self._generator, {1: 0.4, 3: 0.5, 5: 0.1})
            stride = self._draw_stride(x)
            width = self._draw_width(x, stride)
            small = min(self._shapes[x][1:3]) < 4 * kernel
            padding: Padding = "same" if small or self._chance(0.8) else "valid"
            x = self._conv(x, width, self._style, kernel, stride, padding)
        return x

    def upsampling(self, x: int) -> int:
        """Enlarged to twice the size, and convolved."""
        _, height, width, channels = self._shapes[x]
        y = self._add(
            Layer(
                "resize_bilinear",
                (x,),
                numbers=(2 * height, 2 * width),
                sampling="half_pixel_centers",
            )
        )
        return self._conv(y, max(channels // 2, 8), self._style)

    def _head(self, x: int) -> int:
        """Mean, classes and their probabilities."""
        rescaled = self._dtype != "float32"
        y = self._add(Layer("mean", (x,), keep_dims=False, rescaled=rescaled))
        classes = pick(self._generator, {10: 0.2, 100: 0.3, 1000: 0.5})
        return self._add(
            Layer("softmax", (self._add(Layer("fully_connected", (y,), channels=classes)),))
        )

    def _branch(self, x: int) -> int:
        channels = max(self._shapes[x][3] // 2, 8)
        form = self._generator.random()
        if form < 0.35:
            return self._conv(x, channels, self._style)
        if form < 0.7:
            y = self._conv(x, channels, self._style)
            return self._conv(y, channels, self._style, pick(self._generator, {3: 0.7, 5: 0.3}))
        if form < 0.85:
            y = self._add(Layer("average_pool2d", (x,), kernel=(3, 3)))
            return self._conv(y, channels, self._style)
        return self._conv(self._depthwise(x, self._draw_kernel(), 1), channels, self._style)

    def _squeeze_excite(self, x: int) -> int:
        channels = self._shapes[x][3]
        squeezed = max(channels // 4 // 8 * 8, 8)
        rescaled = self._dtype != "float32"
        if self._chance(0.7):
            y = self._add(Layer("mean", (x,), rescaled=rescaled))
            y = self._conv(self._conv(y, squeezed, "relu"), channels)
        else:
            y = self._add(Layer("mean", (x,), keep_dims=False, rescaled=rescaled))
            y = self._add(Layer("fully_connected", (y,), channels=squeezed, activation="relu"))
            y = self._add(Layer("fully_connected", (y,), channels=channels))
            y = self._add(Layer("reshape", (y,), numbers=(1, 1, 1, channels)))
        return self._binary("mul", x, self._add(Layer("logistic", (y,))))

    def _conv(
        self,
        x: int,
        channels: int,
        style: _Style = "none",
        kernel: int = 1,
        stride: int = 1,
        padding: Padding = "same",
    ) -> int:
        x, padding = self._pad(x, kernel, padding)
        layer = Layer(
            "conv2d",
            (x,),
            channels=channels,
            kernel=(kernel, kernel),
            stride=stride,
            padding=padding,
            activation=_fused(style),
        )
        return self._activate(self._add(layer), style)

    def _depthwise(self, x: int, kernel: int, stride: int, style: _Style = "none") -> int:
        x, padding = self._pad(x, kernel, "same")
        layer = Layer(
            "depthwise_conv2d",
            (x,),
            kernel=(kernel, kernel),
            stride=stride,
            padding=padding,
            activation=_fused(style),
        )
        return self._activate(self._add(layer), style)

    def _pad(self, x: int, kernel: int, padding: Padding) -> tuple[int, Padding]:
        """What a window is to read, and its padding, where the network pads by operators."""
        if not self._pads or kernel == 1 or padding == "valid":
            return x, padding
        around = kernel // 2
        numbers = (0, 0, around, around, around, around, 0, 0)
        return self._add(Layer("pad", (x,), numbers=numbers)), "valid"

    def _activate(self, x: int, style: _Style) -> int:
        """What of an activation is not fused into the operator before it."""
        if style == "relu_op":
            return self._add(Layer("relu", (x,), rescaled=self._dtype != "float32"))
        if style == "swish":
            return self._binary("mul", x, self._add(Layer("logistic", (x,))))
        if style in ("hard_swish", "prelu"):
            return self._add(Layer(style, (x,)))
        return x

    def _binary(self, kind: str, x: int, y: int) -> int:
        return self._add(Layer(kind, (x, y)))

    def _add(self, layer: Layer) -> int:
        read = [self._shapes[value] for value in layer.inputs]
        (shape,) = result_shapes(layer, read)
        self._shapes.append(shape)
        self._layers.append(layer)
        self.macs += layer_macs(layer, read)
        return len(self._shapes) - 1

    def _chance(self, probability: float) -> bool:
        return bool(self._generator.random() < probability)

    def _draw_stride(self, x: int) -> int:
        return 2 if min(self._shapes[x][1:3]) >= 8 and self._chance(0.25) else 1

    def _draw_kernel(self) -> int:
        return pick(self._generator, {3: 0.65, 5: 0.25, 7: 0.1})

    def _draw_width(self, x: int, stride: int) -> int:
        """Channels of a result, more often more than fewer, above all where the map shrinks."""
        factors = {0.5: 0.1, 1.0: 0.4, 1.5: 0.2, 2.0: 0.3 * stride}
        width = self._shapes[x][3] * pick(self._generator, factors)
        return max(round(width / 8) * 8, 8)


def _fused(style: _Style) -> Activation:
    return style if style == "relu" or style == "relu6" else "none"


_BLOCKS: Mapping[Callable[[_Chain, int], int], float] = {
    _Chain.inverted_residual: 0.35,
    _Chain.separable: 0.2,
    _Chain.prelu_residual: 0.15,
    _Chain.branches: 0.12,
    _Chain.convolutions: 0.12,
    _Chain.upsampling: 0.06,
}
