"""Random sizes of feature maps as vision networks have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from tdse.graph.layers import Shape

T = TypeVar("T")

# Sizes of feature maps and numbers of channels that published networks use, for inputs of 96 to
# 513 pixels and widths of 0.25 to 1.0.
_USUAL_SIZES = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 33, 36, 40, 48, 56, 57, 64, 65,
    72, 80, 96, 111, 112, 113, 128, 129, 144, 160, 192, 224, 256,
)  # fmt: skip
_USUAL_CHANNELS = (
    1, 2, 3, 4, 6, 8, 10, 11, 12, 16, 20, 22, 24, 28, 32, 36, 40, 42, 44, 48, 56, 64, 72, 80, 88,
    96, 112, 116, 120, 128, 144, 160, 176, 192, 232, 240, 256, 264, 288, 320, 352, 384, 464, 480,
    512, 528, 576, 672, 704, 768, 864, 960, 1000, 1001, 1024, 1056, 1152, 1280, 1404, 1536,
)  # fmt: skip
# They leave remainders in vectors and tiles.
_AWKWARD_CHANNELS = (5, 7, 9, 13, 15, 17, 21, 31, 33, 39, 63, 65, 67, 97, 127, 129, 195, 257, 511)
MAX_SIZE = 288
MAX_CHANNELS = 1536


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of two positive numbers."""
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def pick(generator: np.random.Generator, choices: Mapping[T, float]) -> T:
    """One of the keys, in proportion to its value."""
    weights = np.array(list(choices.values()))
    return list(choices)[generator.choice(len(weights), p=weights / weights.sum())]


def _nearest(choices: Sequence[int], value: float) -> int:
    return min(choices, key=lambda each: abs(math.log(each / value)))


def draw_size(generator: np.random.Generator, low: int = 1) -> int:
    """Height or width of a feature map."""
    value = log_uniform(generator, low, MAX_SIZE)
    usual = generator.random() < 0.6
    return max(_nearest(_USUAL_SIZES, value) if usual else round(value), low)


def draw_channels(generator: np.random.Generator, low: int = 1, high: int = MAX_CHANNELS) -> int:
    """Number of channels of a feature map."""
    value = log_uniform(generator, low, high)
    form = generator.random()
    if form < 0.45:
        value = _nearest(_USUAL_CHANNELS, value)
    elif form < 0.75:
        step = pick(generator, {8: 1.0, 16: 1.0, 32: 1.0})
        value = step * max(round(value / step), 1)
    elif form < 0.85:
        value = _nearest(_AWKWARD_CHANNELS, value)
    return min(max(round(value), low), high)


def draw_map(generator: np.random.Generator, low: int = 1) -> Shape:
    """Shape of a feature map, mostly square."""
    height = draw_size(generator, low)
    width = height
    if generator.random() < 0.15:
        width = round(height * log_uniform(generator, 0.4, 2.5))
    return (1, height, min(max(width, low), MAX_SIZE), draw_channels(generator))


def draw_related(generator: np.random.Generator, channels: int) -> int:
    """Channels of a result: often a simple multiple of those of the input."""
    if generator.random() < 0.5:
        return draw_channels(generator)
    factor = float(generator.choice((1 / 6, 1 / 4, 1 / 2, 1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)))
    return min(max(round(channels * factor), 1), MAX_CHANNELS)
