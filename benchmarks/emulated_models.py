"""Networks for ``emulated.py``, made by tdse's own builder: int8, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, beside
from tdse.graph.model import Graph


class _Network:
    """Layers in the making; values are numbers, 0 is the image."""

    def __init__(self, side: int, channels: int = 3) -> None:
        self._input = Input((1, side, side, channels), "int8")
        self._layers: list[Layer] = []

    def conv(self, x: int, channels: int, kernel: int = 1, stride: int = 1) -> int:
        """A convolution with a ReLU."""
        size = (kernel, kernel)
        return self._add(Layer("conv2d", (x,), channels, size, stride=stride, activation="relu"))

    def depthwise(self, x: int, kernel: int = 3, stride: int = 1) -> int:
        """A depthwise convolution with a ReLU."""
        size = (kernel, kernel)
        return self._add(
            Layer("depthwise_conv2d", (x,), kernel=size, stride=stride, activation="relu")
        )

    def separable(self, x: int, channels: int, kernel: int = 3, stride: int = 1) -> int:
        """A depthwise convolution and one that mixes channels."""
        return self.conv(self.depthwise(x, kernel, stride), channels)

    def pool(self, x: int, stride: int = 1, kind: str = "max_pool2d") -> int:
        """The largest, or the mean, of 3x3."""
        return self._add(Layer(kind, (x,), kernel=(3, 3), stride=stride))

    def add(self, x: int, y: int) -> int:
        """The sum of two values."""
        return self._add(Layer("add", (x, y)))

    def concat(self, parts: Sequence[int]) -> int:
        """Channels of all parts."""
        return self._add(Layer("concatenation", tuple(parts), numbers=(3,)))

    def classify(self, x: int, classes: int) -> None:
        """Mean, dense layer, softmax."""
        mean = self._add(Layer("mean", (x,), keep_dims=False))
        self._add(Layer("softmax", (self._add(Layer("fully_connected", (mean,), classes)),)))

    def configuration(self) -> Configuration:
        """What was made."""
        return Configuration((self._input,), tuple(self._layers))

    def _add(self, layer: Layer) -> int:
        self._layers.append(layer)
        return len(self._layers)


def inception(side: int = 224, modules: int = 9, width: int = 16) -> Configuration:
    """Like GoogLeNet: modules of four branches, of one to two convolutions each."""
    net = _Network(side)
    x = net.pool(net.conv(0, 4 * width, 7, 2), 2)
    x = net.pool(net.conv(net.conv(x, 4 * width), 12 * width, 3), 2)
    for module in range(modules):
        if module in (2, 7):
            x = net.pool(x, 2)
        grown = width * (2 + module // 2)
        x = net.concat(
            [
                net.conv(x, 4 * grown),
                net.conv(net.conv(x, 3 * grown), 6 * grown, 3),
                net.conv(net.conv(x, grown), 2 * grown, 5),
                net.conv(net.pool(x), 2 * grown),
            ]
        )
    net.classify(x, 1000)
    return net.configuration()


def nasnet(side: int = 224, cells: int = 6, width: int = 32) -> Configuration:
    """Like NASNet: cells of five sums of separable convolutions and pools, on two inputs."""
    net = _Network(side)
    before = x = net.conv(0, 2 * width, 3, 2)
    for cell in range(cells):
        channels = width * (1 + cell // 2)
        stride = 2 if cell % 2 == 0 else 1
        left = net.conv(before, channels)
        right = net.conv(x, channels)
        sums = [
            net.add(
                net.separable(left, channels, 5, stride), net.separable(right, channels, 3, stride)
            ),
            net.add(
                net.separable(left, channels, 3, stride), net.separable(left, channels, 5, stride)
            ),
            net.add(net.separable(right, channels, 3, stride), net.pool(left, stride)),
            net.add(net.pool(right, stride), net.separable(right, channels, 5, stride)),
        ]
        before, x = sums[0] if stride == 2 else x, net.concat(sums)
    net.classify(x, 1000)
    return net.configuration()


def mobilenet(side: int = 224, width: int = 32) -> Configuration:
    """Like MobileNet v1: depthwise separable convolutions in a row."""
    net = _Network(side)
    x = net.conv(0, width, 3, 2)
    for factor, stride in (
        (2, 1),
        (4, 2),
        (4, 1),
        (8, 2),
        (8, 1),
        (16, 2),
        *[(16, 1)] * 5,
        (32, 2),
    ):
        x = net.separable(x, factor * width, 3, stride)
    net.classify(x, 1000)
    return net.configuration()


def detector(side: int = 320, width: int = 24) -> Configuration:
    """Like an SSD: a row of separable convolutions with two heads at each of four sizes."""
    net = _Network(side)
    x = net.conv(0, width, 3, 2)
    for factor, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1)):
        x = net.separable(x, factor * width, 3, stride)
    for _ in range(4):
        x = net.separable(net.separable(x, 16 * width, 3, 2), 16 * width)
        net.conv(net.conv(x, 8 * width, 3), 24, 3)
        net.conv(net.conv(x, 8 * width, 3), 126, 3)
    return net.configuration()


def _two_at_once() -> Configuration:
    return beside([inception(), mobilenet()])


_CONFIGURATIONS: Mapping[str, Callable[[], Configuration]] = {
    "inception_like": inception,
    "inception_like_448": partial(inception, 448),
    "nasnet_like": nasnet,
    "mobilenet_like": mobilenet,
    "mobilenet_like_448": partial(mobilenet, 448),
    "detector_like": detector,
    "inception_and_mobilenet": _two_at_once,
}

MODELS: Mapping[str, Callable[[], Graph]] = {
    name: lambda name=name, make=make: build_graph(make(), name)  # type: ignore[misc]
    for name, make in _CONFIGURATIONS.items()
}
"""Name to what makes the model."""
