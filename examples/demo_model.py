"""Writes the demonstration model: MobileNetV3-Small in int8, with random weights.

    python examples/demo_model.py OUT.tflite

The layers are those of table 2 of "Searching for MobileNetV3" (Howard et al., 2019): inverted
residuals with 3x3 and 5x5 depthwise convolutions, squeeze and excitation, and HARD_SWISH. The
weights are random, but the activations have sound ranges and the scores depend on the image, so
it takes the time that a trained model takes and its output can be compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modelkit import NetworkBuilder, Value
from modelkit.kernels import Array

CALIBRATION_IMAGES = 48


class Block(NamedTuple):
    """One inverted residual: depthwise kernel, widths, squeeze and excitation, activation."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


BLOCKS = (
    Block(3, 16, 16, True, False, 2),
    Block(3, 72, 24, False, False, 2),
    Block(3, 88, 24, False, False, 1),
    Block(5, 96, 40, True, True, 2),
    Block(5, 240, 40, True, True, 1),
    Block(5, 240, 40, True, True, 1),
    Block(5, 120, 48, True, True, 1),
    Block(5, 144, 48, True, True, 1),
    Block(5, 288, 96, True, True, 2),
    Block(5, 576, 96, True, True, 1),
    Block(5, 576, 96, True, True, 1),
)


def mobilenet_v3_small(
    *, size: int = 224, classes: int = 1000, quantized: bool = True, seed: int = 1
) -> bytes:
    """The bytes of the model: image [1, size, size, 3] in -1..1 to scores [1, classes].

    Args:
        size: height and width of the image in pixels, a multiple of 32.
        classes: number of scores.
        quantized: int8 inside and at the borders, else the float32 twin of the same network.
        seed: of the weights and of the images that the scales are calibrated on.
    """
    network = NetworkBuilder(seed)
    x = network.input("image", synthetic_images(CALIBRATION_IMAGES, size, seed))
    x = network.conv2d(x, 16, 3, stride=2, name="stem/conv")
    x = network.hard_swish(x, name="stem/hard_swish")
    for number, block in enumerate(BLOCKS, 1):
        x = _inverted_residual(network, x, block, f"block{number}")
    x = network.conv2d(x, 576, name="head/conv")
    x = network.hard_swish(x, name="head/conv_hard_swish")
    x = network.mean(x, name="head/mean")
    x = network.conv2d(x, 1024, name="head/features")
    x = network.hard_swish(x, name="head/features_hard_swish")
    x = network.conv2d(x, classes, gain=6.0, name="head/logits")
    x = network.reshape(x, (1, classes), name="head/reshape")
    outputs = {"scores": network.softmax(x, name="scores")}
    emit = network.int8 if quantized else network.float32
    return emit(outputs, "MobileNetV3-Small with random weights")


def synthetic_images(count: int, size: int, seed: int) -> Array:
    """``count`` images [count, size, size, 3] in -1..1: smooth waves, flat boxes, some noise."""
    random = np.random.default_rng((seed, size))
    row, column = np.mgrid[0:size, 0:size] / size
    images = np.zeros((count, size, size, 3))
    for image in images:
        for _ in range(4):
            frequency = random.uniform(-8.0, 8.0, size=2)
            wave = np.sin(2.0 * np.pi * (frequency[0] * row + frequency[1] * column))
            image += random.uniform(-0.4, 0.4, size=3) * wave[:, :, None]
        for _ in range(6):
            top, left = random.integers(0, size * 3 // 4, size=2)
            height, width = random.integers(size // 8, size // 2, size=2)
            image[top : top + height, left : left + width] += random.uniform(-0.7, 0.7, size=3)
        image += random.normal(scale=0.05, size=image.shape) + random.uniform(-0.3, 0.3)
    return np.clip(images, -1.0, 1.0)


def _inverted_residual(network: NetworkBuilder, x: Value, block: Block, name: str) -> Value:
    y = x
    if block.expanded != x.shape[3]:
        y = _convolution(network, y, block.expanded, block.hard_swish, f"{name}/expand")
    y = network.depthwise_conv2d(
        y,
        block.kernel,
        stride=block.stride,
        activation="none" if block.hard_swish else "relu",
        name=f"{name}/depthwise",
    )
    if block.hard_swish:
        y = network.hard_swish(y, name=f"{name}/depthwise_hard_swish")
    if block.squeeze:
        y = _squeeze_excite(network, y, f"{name}/squeeze")
    y = network.conv2d(y, block.channels, name=f"{name}/project")
    if block.stride == 1 and x.shape[3] == block.channels:
        y = network.add(x, y, name=f"{name}/add")
    return y


def _convolution(
    network: NetworkBuilder, x: Value, channels: int, hard_swish: bool, name: str
) -> Value:
    if not hard_swish:
        return network.conv2d(x, channels, activation="relu", name=name)
    return network.hard_swish(network.conv2d(x, channels, name=name), name=f"{name}_hard_swish")


def _squeeze_excite(network: NetworkBuilder, x: Value, name: str) -> Value:
    """Scales each channel by a hard sigmoid, ``relu6(z + 3) / 6``, of all channel means.

    The 3 is part of the second convolution's bias, as TensorFlow's converter folds it.
    """
    squeezed = max(8, (x.shape[3] // 4 + 4) // 8 * 8)
    z = network.mean(x, name=f"{name}/mean")
    z = network.conv2d(z, squeezed, activation="relu", name=f"{name}/reduce")
    z = network.conv2d(
        z, x.shape[3], activation="relu6", offset=3.0, gain=0.6, name=f"{name}/restore"
    )
    z = network.mul(z, network.constant(1.0 / 6.0, f"{name}/sixth"), name=f"{name}/gate")
    return network.mul(x, z, name=f"{name}/scale")


def main() -> None:
    """Writes the model to the path given on the command line."""
    parser = argparse.ArgumentParser(description="Write an int8 MobileNetV3-Small.")
    parser.add_argument("out", type=Path, help="path of the .tflite file to write")
    parser.add_argument(
        "--size", type=int, default=224, help="image height and width (%(default)s)"
    )
    parser.add_argument("--classes", type=int, default=1000, help="number of scores (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the weights (%(default)s)")
    options = parser.parse_args()
    data = mobilenet_v3_small(size=options.size, classes=options.classes, seed=options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
