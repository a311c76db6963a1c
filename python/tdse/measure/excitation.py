"""Random operators as real networks have them, to be measured so that cost models learn from them.

Sizes follow what 26 published vision networks for phones use (MobileNet V1 to V3, NASNet,
EfficientNet, DeepLab, MoveNet and MediaPipe's), but reach beyond what any of them uses alone. None
of them has an LSTM: the sizes of these reach from a few units to those of small speech networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tdse.graph.kinds import size_bytes
from tdse.graph.layers import Configuration, Shape, layer_macs, operands, result_shapes
from tdse.measure.excitation_kinds import MAKERS
from tdse.measure.excitation_sizes import log_uniform

# One run of an operator should stay under about 30 ms, also with a slow kernel.
MAX_MACS = 150_000_000
MAX_TENSOR_BYTES = 8 << 20
# LiteRT's int8 kernel for large windows computes 0.4 GMAC/s, that for LSTMs 2, where they are
# large, and its int8 kernels for elements that XNNPACK does not take 0.1 G elements/s.
_MAX_DEPTHWISE_MACS = 16_000_000
_MAX_INT8_LSTM_MACS = 32_000_000
_MAX_ELEMENTS = 2_000_000

# Kinds with multiply-accumulates, whose size is counted in them; that of others in elements.
_MAC_KINDS = frozenset(
    {
        "conv2d",
        "depthwise_conv2d",
        "transpose_conv2d",
        "fully_connected",
        "batch_matmul",
        "unidirectional_sequence_lstm",
    }
)

# Where networks have most operators of a kind, multiply-accumulates; that of other kinds is next.
_USUAL_MACS: Mapping[str, tuple[float, float]] = {
    "depthwise_conv2d": (2e5, 6e6),
    "unidirectional_sequence_lstm": (1e5, 1e7),
}
_OTHERS_USUAL_MACS = (5e5, 4e7)

# How many operators of each kind and element type of the result to draw, relative to each other:
# more of those that networks have often or spend their time in, but of none too few to learn from.
KINDS: Mapping[tuple[str, str], int] = {
    ("conv2d", "float32"): 120,
    ("conv2d", "int8"): 110,
    ("conv2d", "uint8"): 50,
    ("depthwise_conv2d", "float32"): 80,
    ("depthwise_conv2d", "int8"): 72,
    ("depthwise_conv2d", "uint8"): 30,
    ("transpose_conv2d", "float32"): 12,
    ("transpose_conv2d", "int8"): 6,
    ("fully_connected", "float32"): 20,
    ("fully_connected", "int8"): 16,
    ("fully_connected", "uint8"): 5,
    ("batch_matmul", "float32"): 8,
    ("batch_matmul", "int8"): 4,
    ("unidirectional_sequence_lstm", "float32"): 6,
    ("unidirectional_sequence_lstm", "int8"): 12,
    ("add", "float32"): 30,
    ("add", "int8"): 30,
    ("add", "uint8"): 8,
    ("mul", "float32"): 20,
    ("mul", "int8"): 20,
    ("sub", "float32"): 6,
    ("sub", "int8"): 14,
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
    ("strided_slice", "int8"): 10,
    ("split", "float32"): 5,
    ("split", "int8"): 4,
    ("split", "uint8"): 6,
    ("concatenation", "float32"): 12,
    ("concatenation", "int8"): 16,
    ("concatenation", "uint8"): 6,
    ("depth_to_space", "float32"): 6,
    ("depth_to_space", "int8"): 4,
    ("arg_max", "int64"): 6,
    ("arg_max", "int32"): 4,
    ("resize_bilinear", "float32"): 14,
    ("resize_bilinear", "int8"): 8,
    ("resize_bilinear", "uint8"): 6,
    ("resize_nearest_neighbor", "float32"): 6,
    ("resize_nearest_neighbor", "int8"): 4,
    ("quantize", "int8"): 10,
    ("quantize", "uint8"): 3,
    ("dequantize", "float32"): 6,
}
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
    make = MAKERS[kind]
    target = _draw_work(generator, kind, dtype)
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
        if layer_macs(layer, read) > _most_macs(layer.kind, widest):
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


def _most_macs(kind: str, dtype: str) -> int:
    if kind == "depthwise_conv2d":
        return _MAX_DEPTHWISE_MACS
    if kind == "unidirectional_sequence_lstm" and dtype == "int8":
        return _MAX_INT8_LSTM_MACS
    return MAX_MACS


def _draw_work(generator: np.random.Generator, kind: str, dtype: str) -> float:
    if kind in _MAC_KINDS:
        usual = _USUAL_MACS.get(kind, _OTHERS_USUAL_MACS)
        bounds = usual if generator.random() < 0.75 else (64, _most_macs(kind, dtype))
    else:
        bounds = (1e4, 8e5) if generator.random() < 0.65 else (1, _MAX_ELEMENTS)
    return log_uniform(generator, *bounds)
