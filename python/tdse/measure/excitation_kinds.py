"""How the sizes and attributes of each kind of operator are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tdse.graph.layers import Activation, Configuration, Input, Layer, Sampling, Shape
from tdse.measure.excitation_sizes import (
    draw_channels,
    draw_map,
    draw_related,
    draw_size,
    log_uniform,
    pick,
)


def _draw_activation(generator: np.random.Generator) -> Activation:
    choices: dict[Activation, float] = {"none": 0.6, "relu": 0.15, "relu6": 0.25}
    return pick(generator, choices)


def _single(layer: Layer, dtype: str, *shapes: Shape) -> Configuration:
    return Configuration(tuple(Input(shape, dtype) for shape in shapes), (layer,))


def _conv2d(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    batch, height, width, channels = draw_map(generator)
    if generator.random() < 0.04:
        # The first layer of a network.
        height = width = draw_size(generator, 64)
        channels = 3
    kernels = {
        (1, 1): 0.62, (3, 3): 0.18, (2, 2): 0.05, (5, 5): 0.05, (7, 7): 0.03, (1, 7): 0.02,
        (7, 1): 0.02, (1, 3): 0.015, (3, 1): 0.015,
    }  # fmt: skip
    kernel = pick(generator, kernels)
    if kernel == (1, 1):
        stride = pick(generator, {1: 0.95, 2: 0.05})
    elif kernel == (2, 2):
        stride = pick(generator, {1: 0.3, 2: 0.7})
    else:
        stride = pick(generator, {1: 0.6, 2: 0.3, 3: 0.1})
    layer = Layer(
        kind,
        channels=draw_related(generator, channels),
        kernel=kernel,
        stride=stride,
        dilation=_draw_dilation(generator, kernel, stride),
        padding="same" if generator.random() < 0.6 else "valid",
        activation=_draw_activation(generator),
        per_channel=generator.random() < 0.95,
    )
    return _single(layer, dtype, (batch, height, width, channels))


def _draw_dilation(generator: np.random.Generator, kernel: tuple[int, int], stride: int) -> int:
    if kernel not in ((3, 3), (5, 5)) or stride > 1:
        return 1
    return pick(generator, {1: 0.9, 2: 0.07, 4: 0.03})


def _depthwise(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    # Small windows are drawn more often than networks have them: of equal work, large ones are
    # nearer to what is wanted.
    kernels = {(3, 3): 0.5, (5, 5): 0.22, (7, 7): 0.07, (1, 1): 0.14, (2, 2): 0.05, (9, 9): 0.02}
    kernel = pick(generator, kernels)
    stride = pick(generator, {1: 0.75, 2: 0.25})
    layer = Layer(
        kind,
        kernel=kernel,
        stride=stride,
        dilation=_draw_dilation(generator, kernel, stride),
        padding="same" if generator.random() < 0.75 else "valid",
        activation=_draw_activation(generator),
    )
    return _single(layer, dtype, draw_map(generator))


def _transpose_conv2d(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    # The last layer of a segmentation gives a mask, or a few classes.
    is_last = generator.random() < 0.35
    layer = Layer(
        kind,
        channels=draw_channels(generator, high=8) if is_last else draw_related(generator, shape[3]),
        kernel=pick(generator, {(2, 2): 0.4, (3, 3): 0.3, (4, 4): 0.3}),
        stride=2,
        padding="same" if generator.random() < 0.6 else "valid",
    )
    return _single(layer, dtype, shape)


def _fully_connected(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    # Some heads give a score or a few coordinates.
    largest = 16 if generator.random() < 0.15 else 4096
    layer = Layer(
        kind,
        channels=draw_channels(generator, high=largest),
        activation=_draw_activation(generator),
        per_channel=generator.random() < 0.7,
        bias=generator.random() < 0.7,
    )
    rows = 1 if generator.random() < 0.85 else round(log_uniform(generator, 2, 256))
    return _single(layer, dtype, (rows, draw_channels(generator, high=4096)))


def _batch_matmul(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    heads = pick(generator, {1: 0.5, 4: 0.25, 8: 0.25})
    rows, columns = draw_channels(generator, high=512), draw_channels(generator, high=512)
    depth = draw_channels(generator, high=512)
    transposed = generator.random() < 0.5
    second = (columns, depth) if transposed else (depth, columns)
    layer = Layer(kind, (0, 1), transposed=transposed)
    return _single(layer, dtype, (heads, rows, depth), (heads, *second))


def _lstm(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    steps = round(log_uniform(generator, 1, 128))
    features, units = (draw_channels(generator, 4, 512) for _ in range(2))
    return _single(Layer(kind, channels=units), dtype, (1, steps, features))


def _binary(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.12:
        # Coordinates and scores have fewer dimensions.
        rows = shape[1] * shape[2]
        shape = (1, rows, shape[3]) if generator.random() < 0.6 else (1, shape[3])
    by_channel = (*(1 for _ in shape[1:]), shape[-1])
    # Residuals are added; attention and constant factors scale channels.
    even = 0.7 if kind == "add" else 0.3
    form = generator.random()
    activation = _draw_activation(generator) if generator.random() < 0.4 else "none"
    layer = Layer(kind, (0, 1), activation=activation)
    if form < even:
        return _single(layer, dtype, shape, shape)
    if form < even + (1 - even) / 2:
        return _single(layer, dtype, shape, by_channel)
    constant = pick(generator, {(): 0.4, by_channel: 0.4, shape: 0.2})
    # A mean that images already have is subtracted as zeros of a tiny scale.
    far = dtype != "float32" and kind != "div" and generator.random() < 0.4
    layer = Layer(kind, activation=activation, constant=constant, rescaled=far)
    return _single(layer, dtype, shape)


def _unary(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.2:
        # A squeezed feature map, or the result of a head.
        shape = (1, 1, 1, shape[3]) if generator.random() < 0.7 else (1, shape[3])
    rescaled = dtype != "float32" and kind in ("relu", "relu6") and generator.random() < 0.7
    return _single(Layer(kind, rescaled=rescaled), dtype, shape)


def _prelu(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    return _single(Layer(kind), dtype, draw_map(generator))


def _softmax(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator) if generator.random() < 0.4 else (1, draw_channels(generator))
    return _single(Layer(kind), dtype, shape)


def _pool(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if kind == "average_pool2d" and generator.random() < 0.3:
        window = (shape[1], shape[2])
        if max(window) <= 128:
            return _single(Layer(kind, kernel=window, padding="valid"), dtype, shape)
    extent = pick(generator, {1: 0.08, 2: 0.42, 3: 0.4, 5: 0.1})
    layer = Layer(
        kind,
        kernel=(extent, extent),
        stride=pick(generator, {1: 0.35, 2: 0.65}),
        padding="same" if generator.random() < 0.5 else "valid",
    )
    return _single(layer, dtype, shape)


def _mean(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    keep_dims = generator.random() < 0.75
    rescaled = dtype != "float32" and generator.random() < 0.85
    return _single(Layer(kind, keep_dims=keep_dims, rescaled=rescaled), dtype, draw_map(generator))


def _pad(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.35:
        # A residual whose channels grow.
        return _single(Layer(kind, numbers=(0, 0, 0, 0, 0, 0, 0, shape[3])), dtype, shape)
    before = pick(generator, {0: 0.5, 1: 0.3, 2: 0.15, 3: 0.05})
    after = max(before, 1) if generator.random() < 0.8 else before + 1
    return _single(Layer(kind, numbers=(0, 0, before, after, before, after, 0, 0)), dtype, shape)


def _reshape(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = _, height, width, channels = draw_map(generator)
    forms: dict[Shape, float] = {
        shape: 0.5,
        (1, height * width, channels): 0.25,
        (1, height * width * channels): 0.15,
        (height * width, channels): 0.05,
        (height * width * channels,): 0.05,
    }
    before, after = pick(generator, forms), pick(generator, forms)
    return _single(Layer(kind, numbers=after), dtype, before)


def _transpose(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.3:
        return _single(Layer(kind, numbers=(0, 2, 1)), dtype, (1, shape[1] * shape[2], shape[3]))
    orders: dict[Shape, float] = {(0, 3, 1, 2): 0.4, (0, 2, 3, 1): 0.4, (0, 2, 1, 3): 0.2}
    return _single(Layer(kind, numbers=pick(generator, orders)), dtype, shape)


def _strided_slice(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = batch, height, width, channels = draw_map(generator, low=2)
    if generator.random() < 0.5:
        bounds = (0, 1, 1, 0, batch, height, width, channels)
    else:
        bounds = (0, 0, 0, 0, batch, height, width, max(channels // 2, 1))
    return _single(Layer(kind, numbers=bounds), dtype, shape)


def _split(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    parts = pick(generator, {2: 0.6, 3: 0.15, 4: 0.15, 6: 0.1})
    batch, height, width, channels = draw_map(generator)
    shape = (batch, height, width, parts * math.ceil(channels / parts))
    return _single(Layer(kind, numbers=(3, parts)), dtype, shape)


def _concatenation(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    _, height, width, channels = draw_map(generator)
    parts = pick(generator, {2: 0.4, 3: 0.2, 4: 0.2, 5: 0.05, 6: 0.15})
    shapes: list[Shape]
    # Heads of a detector are joined along their anchors, branches along their channels.
    anchors = generator.random() < (0.4 if dtype == "float32" else 0.1)
    if anchors:
        columns = draw_channels(generator, high=96)
        shapes = [(1, math.ceil(height * width / 4**k), columns) for k in range(parts)]
    elif generator.random() < 0.6:
        shapes = [(1, height, width, channels)] * parts
    else:
        shapes = [(1, height, width, draw_related(generator, channels)) for _ in range(parts)]
    rescaled = dtype == "uint8" and generator.random() < 0.5
    layer = Layer(kind, tuple(range(parts)), numbers=(1 if anchors else 3,), rescaled=rescaled)
    return _single(layer, dtype, *shapes)


def _depth_to_space(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    block = pick(generator, {2: 0.85, 3: 0.05, 4: 0.1})
    batch, height, width, channels = draw_map(generator)
    shape = (batch, height, width, block**2 * math.ceil(channels / block**2))
    return _single(Layer(kind, numbers=(block,)), dtype, shape)


def _resize(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = _, height, width, _ = draw_map(generator)
    if generator.random() < 0.06:
        # A pooled feature map, spread out again.
        shape = (1, 1, 1, shape[3])
    factor = pick(generator, {2: 0.75, 4: 0.1, 8: 0.05, 1: 0.05, 0: 0.05})
    size = (height * factor, width * factor) if factor else (draw_size(generator),) * 2
    choices: dict[Sampling, float] = {"half_pixel_centers": 0.65, "align_corners": 0.25}
    if kind == "resize_nearest_neighbor":
        choices = {"plain": 0.5, "half_pixel_centers": 0.4, "align_corners": 0.1}
    return _single(Layer(kind, numbers=size, sampling=pick(generator, choices)), dtype, shape)


def _arg_max(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    # The class of each pixel, or the place of the largest value of each channel.
    shape = _, height, width, channels = draw_map(generator)
    axis = 3
    if generator.random() < 0.4:
        shape, axis = (1, height * width, channels), 1
    source = pick(generator, {"float32": 0.4, "int8": 0.3, "uint8": 0.3})
    return _single(Layer(kind, numbers=(axis,), dtype=dtype), source, shape)


def _quantize(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.1:
        shape = (1, shape[3])
    if kind == "dequantize":
        source = pick(generator, {"int8": 0.8, "uint8": 0.2})
        return _single(Layer(kind), source, shape)
    source = pick(generator, {"float32": 0.6, "int8": 0.3, "uint8": 0.1})
    return _single(Layer(kind, dtype=dtype), source, shape)


# Each takes the kind and the element type of the result, and gives an operator that may still be
# too large, or have a result without elements.
MAKERS: Mapping[str, Callable[[np.random.Generator, str, str], Configuration]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "transpose_conv2d": _transpose_conv2d,
    "fully_connected": _fully_connected,
    "batch_matmul": _batch_matmul,
    "unidirectional_sequence_lstm": _lstm,
    **dict.fromkeys(("add", "mul", "sub", "div"), _binary),
    **dict.fromkeys(("relu", "relu6", "hard_swish", "logistic", "tanh"), _unary),
    "prelu": _prelu,
    "softmax": _softmax,
    "max_pool2d": _pool,
    "average_pool2d": _pool,
    "mean": _mean,
    "pad": _pad,
    "reshape": _reshape,
    "transpose": _transpose,
    "strided_slice": _strided_slice,
    "split": _split,
    "concatenation": _concatenation,
    "depth_to_space": _depth_to_space,
    "arg_max": _arg_max,
    "resize_bilinear": _resize,
    "resize_nearest_neighbor": _resize,
    "quantize": _quantize,
    "dequantize": _quantize,
}
