"""Random operators as real networks have them, to be measured so that cost models learn from them.

Sizes follow what 26 published vision networks for phones use (MobileNet V1 to V3, NASNet,
EfficientNet, DeepLab, MoveNet and MediaPipe's), but reach beyond what any of them uses alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from tdse.graph.kinds import size_bytes
from tdse.graph.layers import (
    Activation,
    Configuration,
    Input,
    Layer,
    Sampling,
    Shape,
    layer_macs,
    operands,
    result_shapes,
)

T = TypeVar("T")

# One run of an operator should stay under about 30 ms, also with a slow kernel.
MAX_MACS = 150_000_000
MAX_TENSOR_BYTES = 8 << 20
# LiteRT's int8 kernel for large windows computes 0.4 GMAC/s, and its int8 kernels for elements
# that XNNPACK does not take 0.1 G elements/s.
_MAX_DEPTHWISE_MACS = 16_000_000
_MAX_ELEMENTS = 2_000_000

# Kinds with multiply-accumulates, whose size is counted in them; that of others in elements.
_MAC_KINDS = frozenset(
    {"conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected", "batch_matmul"}
)

# How many operators of each kind to draw, relative to each other: about as the square root of how
# often networks have them and of how much time they take, so that a kind is never too rare to
# learn from.
KINDS: Mapping[tuple[str, str], int] = {
    ("conv2d", "float32"): 100,
    ("conv2d", "int8"): 100,
    ("conv2d", "uint8"): 30,
    ("depthwise_conv2d", "float32"): 70,
    ("depthwise_conv2d", "int8"): 70,
    ("depthwise_conv2d", "uint8"): 24,
    ("transpose_conv2d", "float32"): 8,
    ("transpose_conv2d", "int8"): 6,
    ("fully_connected", "float32"): 20,
    ("fully_connected", "int8"): 16,
    ("fully_connected", "uint8"): 5,
    ("batch_matmul", "float32"): 8,
    ("batch_matmul", "int8"): 4,
    ("add", "float32"): 30,
    ("add", "int8"): 30,
    ("add", "uint8"): 8,
    ("mul", "float32"): 20,
    ("mul", "int8"): 20,
    ("sub", "float32"): 6,
    ("sub", "int8"): 5,
    ("div", "float32"): 4,
    ("prelu", "float32"): 30,
    ("relu", "float32"): 14,
    ("relu", "int8"): 16,
    ("relu6", "float32"): 6,
    ("relu6", "int8"): 6,
    ("hard_swish", "float32"): 12,
    ("hard_swish", "int8"): 14,
    ("logistic", "float32"): 14,
    ("logistic", "int8"): 14,
    ("logistic", "uint8"): 3,
    ("tanh", "float32"): 5,
    ("tanh", "int8"): 5,
    ("softmax", "float32"): 6,
    ("softmax", "int8"): 6,
    ("softmax", "uint8"): 4,
    ("max_pool2d", "float32"): 14,
    ("max_pool2d", "int8"): 10,
    ("max_pool2d", "uint8"): 4,
    ("average_pool2d", "float32"): 10,
    ("average_pool2d", "int8"): 16,
    ("average_pool2d", "uint8"): 6,
    ("mean", "float32"): 12,
    ("mean", "int8"): 14,
    ("pad", "float32"): 20,
    ("pad", "int8"): 8,
    ("reshape", "float32"): 8,
    ("reshape", "int8"): 6,
    ("reshape", "uint8"): 4,
    ("transpose", "float32"): 6,
    ("transpose", "int8"): 5,
    ("strided_slice", "float32"): 6,
    ("strided_slice", "int8"): 6,
    ("split", "float32"): 5,
    ("split", "int8"): 4,
    ("split", "uint8"): 3,
    ("concatenation", "float32"): 12,
    ("concatenation", "int8"): 16,
    ("concatenation", "uint8"): 6,
    ("depth_to_space", "float32"): 6,
    ("depth_to_space", "int8"): 4,
    ("resize_bilinear", "float32"): 14,
    ("resize_bilinear", "int8"): 8,
    ("resize_bilinear", "uint8"): 6,
    ("resize_nearest_neighbor", "float32"): 6,
    ("resize_nearest_neighbor", "int8"): 4,
    ("quantize", "int8"): 10,
    ("quantize", "uint8"): 3,
    ("dequantize", "float32"): 6,
}

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
_MAX_SIZE = 288
_MAX_CHANNELS = 1536
# Of an operator's many draws, the one closest to the work that was drawn is taken.
_CANDIDATES = 24


def draw(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    """A random operator; the same state of the generator gives the same one.

    Work, in multiply-accumulates or elements, is drawn first and log-uniformly: from tiny to the
    limit, more often where networks have their operators. Of some sizes drawn as networks have
    them, the one closest to that work is taken.

    Args:
        generator: advanced by the call.
        kind: of ``KINDS``.
        dtype: of ``KINDS``, of the operator's result.
    """
    make = _MAKERS[kind]
    target = _draw_work(generator, kind)
    candidates: list[tuple[float, Configuration]] = []
    while len(candidates) < _CANDIDATES:
        candidate = make(generator, kind, dtype)
        work = _work(candidate) if within_limits(candidate) else 0
        if work:
            candidates.append((abs(math.log(work / target)), candidate))
    return min(candidates, key=lambda each: each[0])[1]


def within_limits(configuration: Configuration) -> bool:
    """Whether each operator is small enough to be measured, and its sizes make sense."""
    shapes = [each.shape for each in configuration.inputs]
    dtypes = {each.dtype for each in configuration.inputs}
    widest = "float32" if dtypes & {"float32"} else "int8"
    for layer in configuration.layers:
        read = [shapes[i] for i in layer.inputs]
        results = result_shapes(layer, read)
        if any(size < 1 for shape in results for size in shape):
            return False
        element = "float32" if layer.kind in ("quantize", "dequantize") else widest
        tensors = [operand.shape for operand in operands(layer, read)] + list(results)
        if max(size_bytes(element, shape) for shape in tensors) > MAX_TENSOR_BYTES:
            return False
        limit = _MAX_DEPTHWISE_MACS if layer.kind == "depthwise_conv2d" else MAX_MACS
        if layer_macs(layer, read) > limit:
            return False
        if layer.kind not in _MAC_KINDS and _elements(read, results) > _MAX_ELEMENTS:
            return False
        shapes.extend(results)
    return True


def _work(configuration: Configuration) -> int:
    """Multiply-accumulates, or elements, of a configuration of one operator."""
    (layer,) = configuration.layers
    shapes = [each.shape for each in configuration.inputs]
    if layer.kind in _MAC_KINDS:
        return layer_macs(layer, shapes)
    return _elements(shapes, result_shapes(layer, shapes))


def _elements(read: Sequence[Shape], results: Sequence[Shape]) -> int:
    return max(sum(map(math.prod, read)), sum(map(math.prod, results)))


def _draw_work(generator: np.random.Generator, kind: str) -> float:
    if kind in _MAC_KINDS:
        largest = _MAX_DEPTHWISE_MACS if kind == "depthwise_conv2d" else MAX_MACS
        usual = (1e4, 4e6) if kind == "depthwise_conv2d" else (1e5, 3e7)
        bounds = usual if generator.random() < 0.65 else (64, largest)
    else:
        bounds = (4e3, 4e5) if generator.random() < 0.65 else (1, _MAX_ELEMENTS)
    return log_uniform(generator, *bounds)


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def pick(generator: np.random.Generator, choices: Mapping[T, float]) -> T:
    weights = np.array(list(choices.values()))
    return list(choices)[generator.choice(len(weights), p=weights / weights.sum())]


def _nearest(choices: Sequence[int], value: float) -> int:
    return min(choices, key=lambda each: abs(math.log(each / value)))


def draw_size(generator: np.random.Generator, low: int = 1) -> int:
    """Height or width of a feature map."""
    value = log_uniform(generator, low, _MAX_SIZE)
    usual = generator.random() < 0.6
    return max(_nearest(_USUAL_SIZES, value) if usual else round(value), low)


def draw_channels(generator: np.random.Generator, low: int = 1, high: int = _MAX_CHANNELS) -> int:
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
    return (1, height, min(max(width, low), _MAX_SIZE), draw_channels(generator))


def _draw_activation(generator: np.random.Generator) -> Activation:
    choices: dict[Activation, float] = {"none": 0.6, "relu": 0.15, "relu6": 0.25}
    return pick(generator, choices)


def _single(layer: Layer, dtype: str, *shapes: Shape) -> Configuration:
    return Configuration(tuple(Input(shape, dtype) for shape in shapes), (layer,))


def _draw_related(generator: np.random.Generator, channels: int) -> int:
    """Channels of a result: often a simple multiple of those of the input."""
    if generator.random() < 0.5:
        return draw_channels(generator)
    factor = float(generator.choice((1 / 6, 1 / 4, 1 / 2, 1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)))
    return min(max(round(channels * factor), 1), _MAX_CHANNELS)


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
        channels=_draw_related(generator, channels),
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
    kernels = {(3, 3): 0.58, (5, 5): 0.25, (7, 7): 0.08, (1, 1): 0.04, (2, 2): 0.03, (9, 9): 0.02}
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
    layer = Layer(
        kind,
        channels=_draw_related(generator, shape[3]),
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
    return _single(Layer(kind, activation=activation, constant=constant), dtype, shape)


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
        if max(window) <= 64:
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
        shapes = [(1, height, width, _draw_related(generator, channels)) for _ in range(parts)]
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


def _quantize(generator: np.random.Generator, kind: str, dtype: str) -> Configuration:
    shape = draw_map(generator)
    if generator.random() < 0.1:
        shape = (1, shape[3])
    if kind == "dequantize":
        source = pick(generator, {"int8": 0.8, "uint8": 0.2})
        return _single(Layer(kind), source, shape)
    source = pick(generator, {"float32": 0.6, "int8": 0.3, "uint8": 0.1})
    return _single(Layer(kind, dtype=dtype), source, shape)


_MAKERS: Mapping[str, Callable[[np.random.Generator, str, str], Configuration]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "transpose_conv2d": _transpose_conv2d,
    "fully_connected": _fully_connected,
    "batch_matmul": _batch_matmul,
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
    "resize_bilinear": _resize,
    "resize_nearest_neighbor": _resize,
    "quantize": _quantize,
    "dequantize": _quantize,
}
