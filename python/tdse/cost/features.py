"""What the cost models know of a workload: a fixed vector of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.graph.workload import TensorForm, Workload

# Kinds whose cost is worth telling apart get a column each; all others share one.
KINDS = (
    "conv2d",
    "depthwise_conv2d",
    "transpose_conv2d",
    "fully_connected",
    "batch_matmul",
    "add",
    "mul",
    "sub",
    "div",
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
    "resize_nearest_neighbor",
    "strided_slice",
    "quantize",
    "dequantize",
    "transpose",
    "split",
    "depth_to_space",
)
_ELEMENT_BYTES = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float16": 2}
# Vector kernels work on so many elements at once; what is left over costs a step of its own.
_LANES = (4, 8, 16, 32)


@dataclass(frozen=True)
class Sizes:
    """A workload as loops: ``rows`` results of ``columns`` channels, each over ``depth`` products.

    Attributes:
        rows: positions of the result: batch, height and width.
        columns: channels of the result.
        depth: products added up for one element of the result; 1 where nothing is added up.
        height: of the result.
        width: of the result.
        input_channels: last dimension of the first operand that is not constant.
        kernel_height: of the window, 1 where there is none.
        kernel_width: likewise.
        stride: of the window.
        dilation: of the window.
    """

    rows: int
    columns: int
    depth: int
    height: int
    width: int
    input_channels: int
    kernel_height: int
    kernel_width: int
    stride: int
    dilation: int


FEATURE_NAMES = (
    *(f"is_{kind}" for kind in (*KINDS, "other")),
    "log_macs",
    "log_input_bytes",
    "log_output_bytes",
    "log_parameter_bytes",
    "log_traffic_bytes",
    "log_intensity",
    "log_input_elements",
    "log_output_elements",
    "log_rows",
    "log_columns",
    "log_depth",
    "height",
    "width",
    "input_channels",
    "kernel_height",
    "kernel_width",
    "stride",
    "dilation",
    "is_padded",
    "element_bytes",
    "is_float",
    "is_unsigned",
    "is_input_float",
    "is_per_channel",
    "is_activated",
    "is_clamped",
    "is_requantized",
    "has_constant",
    "is_broadcast",
    "operands",
    "rank",
    *(f"columns_over_{lanes}" for lanes in _LANES),
    *(f"depth_over_{lanes}" for lanes in _LANES),
    *(f"input_channels_over_{lanes}" for lanes in _LANES),
)


def features(workload: Workload) -> tuple[float, ...]:
    """The feature vector of ``workload``, named by ``FEATURE_NAMES``.

    ``x_over_8`` is by how much more work there is when x is rounded up to whole vectors of 8.
    """
    output = workload.outputs[0]
    given = [form for form in workload.inputs if form is not None]
    values = [form for form in given if not form.is_constant]
    source = (values or given or [output])[0]
    sizes = sizes_of(workload)
    traffic = workload.input_bytes + workload.output_bytes + workload.parameter_bytes
    activation = workload.attributes.get("fused_activation_function", "none")
    return (
        *(float(workload.kind == kind) for kind in KINDS),
        float(workload.kind not in KINDS),
        math.log1p(workload.macs),
        math.log1p(workload.input_bytes),
        math.log1p(workload.output_bytes),
        math.log1p(workload.parameter_bytes),
        math.log1p(traffic),
        math.log1p(workload.macs / max(1, traffic)),
        math.log1p(source.elements),
        math.log1p(output.elements),
        math.log1p(sizes.rows),
        math.log1p(sizes.columns),
        math.log1p(sizes.depth),
        float(sizes.height),
        float(sizes.width),
        float(sizes.input_channels),
        float(sizes.kernel_height),
        float(sizes.kernel_width),
        float(sizes.stride),
        float(sizes.dilation),
        float(workload.attributes.get("padding") == "same"),
        float(_ELEMENT_BYTES.get(output.dtype, 8)),
        float(output.dtype.startswith("float")),
        float(output.dtype == "uint8"),
        float(source.dtype.startswith("float")),
        float(any(form.scales > 1 for form in given)),
        float(activation != "none"),
        float(activation == "relu6"),
        float(source.quantization != output.quantization),
        float(any(form.is_constant for form in given)),
        float(_is_broadcast(values, output)),
        float(len(values)),
        float(len(output.shape)),
        *(_rounded_up(sizes.columns, lanes) for lanes in _LANES),
        *(_rounded_up(sizes.depth, lanes) for lanes in _LANES),
        *(_rounded_up(sizes.input_channels, lanes) for lanes in _LANES),
    )


def sizes_of(workload: Workload) -> Sizes:
    """The loops of a workload."""
    output = workload.outputs[0]
    given = [form for form in workload.inputs if form is not None]
    source = next((form for form in given if not form.is_constant), output)
    columns = output.shape[-1] if output.shape else 1
    height, width = output.shape[-3:-1] if len(output.shape) >= 4 else (1, 1)
    kernel_height, kernel_width = _kernel(workload, given)
    elements = max(1, output.elements)
    return Sizes(
        rows=max(1, elements // max(1, columns)),
        columns=max(1, columns),
        depth=max(1, workload.macs // elements, kernel_height * kernel_width),
        height=height,
        width=width,
        input_channels=max(1, source.shape[-1]) if source.shape else 1,
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride=_attribute(workload, "stride_h"),
        dilation=_attribute(workload, "dilation_h_factor"),
    )


def _kernel(workload: Workload, given: Sequence[TensorForm]) -> tuple[int, int]:
    if workload.kind in ("conv2d", "depthwise_conv2d", "transpose_conv2d"):
        weights = next((form for form in given if form.is_constant and len(form.shape) == 4), None)
        if weights is not None:
            return weights.shape[1], weights.shape[2]
    return _attribute(workload, "filter_height"), _attribute(workload, "filter_width")


def _attribute(workload: Workload, name: str) -> int:
    value = workload.attributes.get(name, 1)
    return max(1, int(value)) if isinstance(value, int | float) else 1


def _is_broadcast(values: Sequence[TensorForm], output: TensorForm) -> bool:
    return len(values) > 1 and any(form.elements < output.elements for form in values[:2])


def _rounded_up(size: int, lanes: int) -> float:
    return math.ceil(size / lanes) * lanes / size
