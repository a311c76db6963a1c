"""What the cost models know of an operator: a fixed vector of numbers."""

from __future__ import annotations

import math

from tdse.graph.model import Graph, Op

# The kinds that carry most time in real networks get a column each; all others share one.
_KINDS = (
    "conv2d",
    "depthwise_conv2d",
    "transpose_conv",
    "fully_connected",
    "batch_matmul",
    "add",
    "mul",
    "sub",
    "concatenation",
    "average_pool2d",
    "max_pool2d",
    "mean",
    "relu",
    "relu6",
    "hard_swish",
    "logistic",
    "tanh",
    "prelu",
    "softmax",
    "pad",
    "reshape",
    "resize_bilinear",
    "strided_slice",
    "quantize",
    "dequantize",
    "transpose",
    "split",
)
_DTYPE_BYTES = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float16": 2}

FEATURE_NAMES = (
    *(f"is_{kind}" for kind in (*_KINDS, "other")),
    "log_macs",
    "log_input_bytes",
    "log_output_bytes",
    "log_parameter_bytes",
    "log_output_elements",
    "output_height",
    "output_width",
    "output_channels",
    "input_channels",
    "kernel_height",
    "kernel_width",
    "stride_height",
    "stride_width",
    "element_bytes",
    "is_float",
    "channel_remainder",
    "threads",
)


def features(graph: Graph, op: Op, threads: int) -> tuple[float, ...]:
    """The feature vector of ``op`` run with ``threads`` threads, named by ``FEATURE_NAMES``."""
    output = graph.tensors[op.outputs[0]]
    given = [graph.tensors[t] for t in op.inputs if t >= 0]
    source = next((t for t in given if not t.is_constant), output)
    kernel = next((t.shape for t in given if t.is_constant and len(t.shape) == 4), None)
    height, width, channels = _image(output.shape)
    kernel_height, kernel_width = kernel[1:3] if kernel else _filter(op)
    return (
        *(float(op.kind == kind) for kind in _KINDS),
        float(op.kind not in _KINDS),
        math.log1p(op.macs),
        math.log1p(op.input_bytes),
        math.log1p(op.output_bytes),
        math.log1p(op.parameter_bytes),
        math.log1p(math.prod(output.shape)),
        height,
        width,
        channels,
        _image(source.shape)[2],
        float(kernel_height),
        float(kernel_width),
        _number(op, "stride_h"),
        _number(op, "stride_w"),
        float(_DTYPE_BYTES.get(output.dtype, 8)),
        float(output.dtype.startswith("float")),
        float(channels % 8),
        float(threads),
    )


def _image(shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Height, width and channels of an NHWC shape, leading ones added."""
    padded = (1, 1, 1, *shape)[-3:]
    return float(padded[0]), float(padded[1]), float(padded[2])


def _filter(op: Op) -> tuple[float, float]:
    return _number(op, "filter_height"), _number(op, "filter_width")


def _number(op: Op, name: str) -> float:
    value = op.attributes.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0
