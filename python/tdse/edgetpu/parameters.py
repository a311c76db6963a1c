"""How many bytes the constants of operators take on the Edge TPU.

Read from what the compiler made of Coral's test models, where the weights can be found in the
parameters of the package: filters lie in groups of 64 output channels, each before its biases;
within a group, four input by four output channels lie together.
"""

from __future__ import annotations

import math

import numpy as np

from tdse.edgetpu.limits import values
from tdse.edgetpu.package import CUSTOM_OP, read_package
from tdse.graph.model import Graph, Op

# Output channels of a group; of fewer, a multiple of _LANES is laid out.
_GROUP, _LANES = 64, 16
# Each layer begins on such a border.
_ALIGNMENT = 64
_BIAS_BYTES = 4
# Where each channel has its scale: its multiplier and shift.
_SCALE_BYTES = 8
# Depthwise weights are stored in 32 bits.
_DEPTHWISE_BYTES = 4


def parameter_bytes(graph: Graph, index: int) -> int:
    """Bytes of an operator's constants in the Edge TPU's memory."""
    op = graph.ops[index]
    if op.tflite_name == CUSTOM_OP:
        return read_package(graph, index).cached_bytes
    layout = _LAYOUTS.get(op.kind)
    return _aligned(layout(graph, op)) if layout is not None else 0


def convolution_bytes(outputs: int, taps: int, inputs: int, per_channel_bytes: int) -> int:
    """Bytes of the filters of a convolution or dense layer, and of what goes with each output.

    Args:
        outputs: output channels.
        taps: positions of the window.
        inputs: input channels.
        per_channel_bytes: bytes of bias and scale of an output channel.
    """
    return _aligned(_channels(outputs) * (taps * _padded(inputs, 4) + per_channel_bytes))


def depthwise_bytes(taps: int, channels: int, per_channel_bytes: int) -> int:
    """The same for a depthwise convolution."""
    return _aligned(_padded(channels, 4) * (taps * _DEPTHWISE_BYTES + per_channel_bytes))


def _convolution(graph: Graph, op: Op) -> int:
    outputs, *window, inputs = graph.tensors[op.inputs[1]].shape
    return convolution_bytes(outputs, math.prod(window), inputs, _per_channel(graph, op))


def _depthwise(graph: Graph, op: Op) -> int:
    _, height, width, channels = graph.tensors[op.inputs[1]].shape
    return depthwise_bytes(height * width, channels, _per_channel(graph, op))


def _softmax(graph: Graph, op: Op) -> int:
    # Three products with 16 outputs each, as they appear in the parameters.
    return 3 * 16 * _padded(graph.tensors[op.inputs[0]].shape[-1], 4) + 16 * _BIAS_BYTES


def _matrices(graph: Graph, op: Op) -> int:
    shapes = [graph.tensors[t].shape for t in op.inputs[1:] if t >= 0 and graph.is_constant(t)]
    return sum(
        _channels(shape[0]) * (_padded(shape[1], 4) + _BIAS_BYTES)
        for shape in shapes
        if len(shape) == 2
    )


def _per_channel(graph: Graph, op: Op) -> int:
    """Bytes beside the weights of an output channel; a bias that is zero is left out."""
    scales = graph.tensors[op.inputs[1]].quantization
    is_scaled = scales is not None and len(scales.scales) > 1
    bias = op.inputs[2] if len(op.inputs) > 2 else -1
    has_bias = bias >= 0 and bool(np.any(values(graph, bias)))
    return _BIAS_BYTES * has_bias + _SCALE_BYTES * is_scaled


def _channels(count: int) -> int:
    return _padded(count, _GROUP if count > _GROUP else _LANES)


def _aligned(size: int) -> int:
    return _padded(size, _ALIGNMENT)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


_LAYOUTS = {
    "conv2d": _convolution,
    "transpose_conv2d": _convolution,
    "fully_connected": _convolution,
    "depthwise_conv2d": _depthwise,
    "softmax": _softmax,
    "lstm": _matrices,
    "unidirectional_sequence_lstm": _matrices,
}
