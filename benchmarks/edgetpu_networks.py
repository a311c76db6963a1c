"""Layers of networks whose latencies on the Edge TPU Coral has published.

Architectures are as their papers and TF-Slim say; batch normalisation is folded into convolutions,
except in DenseNet, where it comes before them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tdse.edgetpu.cost import Layer
from tdse.edgetpu.parameters import convolution_bytes, depthwise_bytes

# Post-training or quantisation-aware: per-tensor scales, a bias for each channel.
_PER_CHANNEL_BYTES = 4


@dataclass(frozen=True)
class Network:
    """A network as the Edge TPU sees it.

    Attributes:
        layers: in order.
        input_bytes: of its input.
        output_bytes: of its outputs.
        has_postprocessing: detections are filtered by an operator on the host.
    """

    layers: tuple[Layer, ...]
    input_bytes: int
    output_bytes: int
    has_postprocessing: bool = False


class _Builder:
    """Layers in the making; remembers height (equal to width) and channels of the last one."""

    def __init__(self, size: int, channels: int = 3) -> None:
        self.size, self.channels = size, channels
        self.input_bytes = size * size * channels
        self.layers: list[Layer] = []

    def conv(
        self,
        outputs: int,
        window: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        valid: bool = False,
    ) -> None:
        kernel = window if isinstance(window, tuple) else (window, window)
        inputs = self.channels
        self._shrink(max(kernel), stride, valid)
        taps = math.prod(kernel)
        self.channels = outputs
        self._add(
            "conv2d", inputs, taps, convolution_bytes(outputs, taps, inputs, _PER_CHANNEL_BYTES)
        )

    def depthwise(self, window: int = 3, stride: int = 1) -> None:
        self._shrink(window, stride, False)
        self._add(
            "depthwise_conv2d",
            1,
            window * window,
            depthwise_bytes(window * window, self.channels, _PER_CHANNEL_BYTES),
        )

    def pool(self, window: int, stride: int, *, valid: bool = False) -> None:
        self._shrink(window, stride, valid)
        self._add("max_pool2d", 1, window * window, 0)

    def elementwise(self, operands: int) -> None:
        self._add("add", 1, operands, 0)

    def dense(self, outputs: int) -> None:
        inputs = self.channels * self.size * self.size
        self.size, self.channels = 1, outputs
        self._add(
            "fully_connected", inputs, 1, convolution_bytes(outputs, 1, inputs, _PER_CHANNEL_BYTES)
        )

    def global_pool(self) -> None:
        window = self.size * self.size
        self.size = 1
        self._add("average_pool2d", 1, window, 0)

    def branches(self, *branches: Callable[[], None]) -> None:
        """Run each from where this one is, and concatenate what they make."""
        size, channels, joined = self.size, self.channels, 0
        ends = []
        for branch in branches:
            self.size, self.channels = size, channels
            branch()
            joined += self.channels
            ends.append(self.size)
        assert len(set(ends)) == 1, "branches end with one size"
        self.channels = joined

    def concatenate(self) -> None:
        self._add("concatenation", 1, 1, 0)

    def network(self, output_bytes: int = 0, *, has_postprocessing: bool = False) -> Network:
        output_bytes = output_bytes or self.channels * self.size * self.size
        return Network(tuple(self.layers), self.input_bytes, output_bytes, has_postprocessing)

    def _shrink(self, window: int, stride: int, valid: bool) -> None:
        if valid:
            self.size = (self.size - window) // stride + 1
        else:
            self.size = -(-self.size // stride)

    def _add(self, kind: str, inputs: int, taps: int, parameter_bytes: int) -> None:
        self.layers.append(
            Layer(kind, self.size, self.size, inputs, self.channels, taps, parameter_bytes)
        )


_MOBILENET_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
# Expansion, channels, repetitions, stride.
_MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
_CLASSES = 1001
_COCO = 91


def mobilenet_v1() -> Network:
    net = _Builder(224)
    _mobilenet_v1(net)
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()


def mobilenet_v2() -> Network:
    net = _Builder(224)
    _mobilenet_v2(net)
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()


def ssd_mobilenet_v1() -> Network:
    net = _Builder(300)
    heads = _mobilenet_v1(net)
    return _ssd(net, heads)


def ssd_mobilenet_v2() -> Network:
    net = _Builder(300)
    heads = _mobilenet_v2(net)
    return _ssd(net, heads)


def inception_v1() -> Network:
    net = _Builder(224)
    net.conv(64, 7, 2)
    net.pool(3, 2)
    net.conv(64)
    net.conv(192, 3)
    net.pool(3, 2)
    _inception_v1(net, (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
    net.pool(3, 2)
    _inception_v1(
        net,
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    )
    net.pool(2, 2)
    _inception_v1(net, (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()


def inception_v4() -> Network:
    net = _Builder(299)

    def convs(*steps: tuple[int, int | tuple[int, int]]) -> Callable[[], None]:
        def run() -> None:
            for outputs, window in steps:
                net.conv(outputs, window)

        return run

    def then(before: Callable[[], None], outputs: int, stride: int) -> Callable[[], None]:
        def run() -> None:
            before()
            net.conv(outputs, 3, stride, valid=True)

        return run

    def pooled(outputs: int) -> Callable[[], None]:
        def run() -> None:
            net.pool(3, 1)
            net.conv(outputs)

        return run

    def halved() -> None:
        net.pool(3, 2, valid=True)

    net.conv(32, 3, 2, valid=True)
    net.conv(32, 3, valid=True)
    net.conv(64, 3)
    net.branches(halved, then(convs(), 96, 2))
    net.branches(
        then(convs((64, 1)), 96, 1), then(convs((64, 1), (64, (1, 7)), (64, (7, 1))), 96, 1)
    )
    net.branches(then(convs(), 192, 2), halved)
    for _ in range(4):
        net.branches(
            convs((96, 1)), convs((64, 1), (96, 3)), convs((64, 1), (96, 3), (96, 3)), pooled(96)
        )
    net.branches(then(convs(), 384, 2), then(convs((192, 1), (224, 3)), 256, 2), halved)
    for _ in range(7):
        net.branches(
            convs((384, 1)),
            convs((192, 1), (224, (1, 7)), (256, (7, 1))),
            convs((192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
            pooled(128),
        )
    net.branches(
        then(convs((192, 1)), 192, 2),
        then(convs((256, 1), (256, (1, 7)), (320, (7, 1))), 320, 2),
        halved,
    )
    for _ in range(3):

        def split() -> None:
            net.branches(convs((256, (1, 3))), convs((256, (3, 1))))

        def first() -> None:
            net.conv(384)
            split()

        def second() -> None:
            convs((384, 1), (448, (3, 1)), (512, (1, 3)))()
            split()

        net.branches(convs((256, 1)), first, second, pooled(256))
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()


def resnet_50() -> Network:
    return _resnet((3, 4, 6, 3))


def resnet_152() -> Network:
    return _resnet((3, 8, 36, 3))


def vgg16() -> Network:
    return _vgg((2, 2, 3, 3, 3))


def vgg19() -> Network:
    return _vgg((2, 2, 4, 4, 4))


def densenet_121() -> Network:
    net = _Builder(224)
    net.conv(64, 7, 2)
    net.pool(3, 2)
    for count in (6, 12, 24, 16):
        for _ in range(count):
            channels = net.channels
            # Scale and shift before each of the two convolutions; the second's is folded.
            net.elementwise(2)
            net.elementwise(2)
            net.conv(128)
            net.conv(32, 3)
            net.channels = channels + 32
            net.concatenate()
        net.elementwise(2)
        net.elementwise(2)
        if count != 16:
            net.conv(net.channels // 2)
            net.pool(2, 2)
    net.global_pool()
    net.dense(1000)
    return net.network()


def squeezenet() -> Network:
    net = _Builder(224)
    net.conv(96, 7, 2)
    net.pool(3, 2)
    for index, (squeeze, expand) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        net.conv(squeeze)
        net.branches(lambda e=expand: net.conv(e), lambda e=expand: net.conv(e, 3))  # type: ignore[misc]
        if index in (2, 6):
            net.pool(3, 2)
    net.conv(1000)
    net.global_pool()
    return net.network()


def efficientnet_s() -> Network:
    return _efficientnet(224, 1.0)


def efficientnet_m() -> Network:
    return _efficientnet(240, 1.1)


NETWORKS: Mapping[str, Callable[[], Network]] = {
    "MobileNet v1": mobilenet_v1,
    "MobileNet v2": mobilenet_v2,
    "Inception v1": inception_v1,
    "Inception v4": inception_v4,
    "SSD-MobileNet v1": ssd_mobilenet_v1,
    "SSD-MobileNet v2": ssd_mobilenet_v2,
    "ResNet-50": resnet_50,
    "ResNet-152": resnet_152,
    "VGG16": vgg16,
    "VGG19": vgg19,
    "DenseNet-121": densenet_121,
    "SqueezeNet": squeezenet,
    "EfficientNet-EdgeTPU S": efficientnet_s,
    "EfficientNet-EdgeTPU M": efficientnet_m,
}


def _mobilenet_v1(net: _Builder) -> list[tuple[int, int]]:
    """Size and channels of the two maps that detectors read, too."""
    net.conv(32, 3, 2)
    for outputs, stride in _MOBILENET_V1:
        net.depthwise(3, stride)
        net.conv(outputs)
    return [(net.size * 2, 512), (net.size, 1024)]


def _mobilenet_v2(net: _Builder) -> list[tuple[int, int]]:
    heads = []
    net.conv(32, 3, 2)
    for expansion, outputs, count, stride in _MOBILENET_V2:
        for repetition in range(count):
            inputs = net.channels
            if expansion > 1:
                net.conv(inputs * expansion)
            if outputs == 160 and not repetition:
                heads.append((net.size, net.channels))
            net.depthwise(3, 1 if repetition else stride)
            net.conv(outputs)
            if repetition:
                net.elementwise(2)
    net.conv(1280)
    return [*heads, (net.size, 1280)]


def _ssd(net: _Builder, heads: Sequence[tuple[int, int]]) -> Network:
    maps = list(heads)
    for narrow, wide in ((256, 512), (128, 256), (128, 256), (64, 128)):
        net.conv(narrow)
        net.conv(wide, 3, 2)
        maps.append((net.size, wide))
    output_bytes = 0
    for index, (size, channels) in enumerate(maps):
        anchors = 6 if index else 3
        for values in (4, _COCO):
            net.size, net.channels = size, channels
            net.conv(anchors * values)
            output_bytes += size * size * anchors * values
    return net.network(output_bytes, has_postprocessing=True)


def _inception_v1(net: _Builder, *modules: tuple[int, int, int, int, int, int]) -> None:
    for direct, narrow, wide, narrow_2, wide_2, pooled in modules:

        def one(direct: int = direct) -> None:
            net.conv(direct)

        def two(narrow: int = narrow, wide: int = wide) -> None:
            net.conv(narrow)
            net.conv(wide, 3)

        def three(narrow: int = narrow_2, wide: int = wide_2) -> None:
            two(narrow, wide)

        def four(outputs: int = pooled) -> None:
            net.pool(3, 1)
            net.conv(outputs)

        net.branches(one, two, three, four)


def _resnet(counts: Sequence[int]) -> Network:
    net = _Builder(224)
    net.conv(64, 7, 2)
    net.pool(3, 2)
    for stage, count in enumerate(counts):
        width = 64 << stage
        for repetition in range(count):
            inputs, size = net.channels, net.size
            stride = 2 if stage and not repetition else 1
            net.conv(width)
            net.conv(width, 3, stride)
            net.conv(4 * width)
            if not repetition:
                end = net.size
                net.size, net.channels = size, inputs
                net.conv(4 * width, 1, stride)
                net.size = end
            net.elementwise(2)
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()


def _vgg(counts: Sequence[int]) -> Network:
    net = _Builder(224)
    for count, outputs in zip(counts, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            net.conv(outputs, 3)
        net.pool(2, 2)
    for outputs in (4096, 4096, _CLASSES):
        net.dense(outputs)
    return net.network()


def _efficientnet(size: int, depth: float) -> Network:
    net = _Builder(size)
    net.conv(32, 3, 2)
    # Repetitions, window, stride, expansion, channels, whether expansion and depthwise are one.
    for count, window, stride, expansion, outputs, fused in (
        (1, 3, 1, 4, 24, True),
        (2, 3, 2, 8, 32, True),
        (4, 3, 2, 8, 48, True),
        (5, 5, 2, 8, 96, False),
        (4, 5, 1, 8, 144, False),
        (2, 5, 2, 8, 192, False),
    ):
        for repetition in range(math.ceil(count * depth)):
            inputs, step = net.channels, 1 if repetition else stride
            if fused:
                net.conv(inputs * expansion, window, step)
            else:
                net.conv(inputs * expansion)
                net.depthwise(window, step)
            net.conv(outputs)
            if repetition:
                net.elementwise(2)
    net.conv(1280)
    net.global_pool()
    net.dense(_CLASSES)
    return net.network()
