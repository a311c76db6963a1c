"""What the cost models know of workloads: tables of numbers, a row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tdse.graph.workload import FAR_SCALES, TensorForm, Workload

Floats = npt.NDArray[np.float64]

# Kinds whose cost is worth telling apart get a column each; all others share one.
KINDS = (
    "conv2d",
    "depthwise_conv2d",
    "transpose_conv2d",
    "fully_connected",
    "batch_matmul",
    "unidirectional_sequence_lstm",
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
    "arg_max",
)
# Other names of the same: XNNPACK computes MediaPipe's custom operator as TRANSPOSE_CONV.
_SAME_AS: Mapping[str, str] = {"convolution2d_transpose_bias": "transpose_conv2d"}
_POSITION: Mapping[str, int] = {kind: i for i, kind in enumerate(KINDS)}
_ELEMENT_BYTES = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float16": 2}
_CONVOLUTIONS = frozenset({"conv2d", "depthwise_conv2d", "transpose_conv2d"})

# What is read off a workload, in this order; everything else is computed from it.
_READ = (
    "kind", "macs", "input_bytes", "output_bytes", "parameter_bytes", "output_elements", "columns",
    "height", "width", "kernel_height", "kernel_width", "stride", "dilation", "is_padded",
    "source_elements", "input_channels", "input_elements", "input_rows", "element_bytes",
    "is_float", "is_unsigned", "is_input_float", "is_per_channel", "is_activated", "is_clamped",
    "is_requantized", "has_constant", "is_broadcast", "has_scalar", "has_far_scales", "operands",
    "results", "rank",
)  # fmt: skip

# Vector kernels work on so many elements at once; what is left over costs a step of its own.
_LANES = (4, 8, 16, 32)
# So many rows of a result are computed at once by matrix kernels, by processor and type.
_ROW_TILES = (3, 4, 5, 7)
# Channels of a register tile: a vector of AVX-512, two of AVX2, four of NEON.
TILE = 16
# And half of one.
NARROW = 8


@dataclass(frozen=True)
class Quantities:
    """Numbers of some workloads, each an array with an element for each of them.

    A workload is seen as loops: ``rows`` results (batch, height and width) of ``columns`` channels,
    each a sum over ``depth`` products; 1 where nothing is summed.

    Attributes:
        kinds: of the workloads, with their element types.
        table: what was read off the workloads, ``[workloads, _READ]``.
    """

    kinds: tuple[tuple[str, str], ...]
    table: Floats

    def __getitem__(self, name: str) -> Floats:
        """The column ``name`` of what was read."""
        column: Floats = self.table[:, _READ.index(name)]
        return column

    def __len__(self) -> int:
        """Number of workloads."""
        return len(self.kinds)

    def take(self, members: Sequence[int]) -> Quantities:
        """The quantities of some of the workloads."""
        return Quantities(tuple(self.kinds[i] for i in members), self.table[list(members)])

    @cached_property
    def groups(self) -> Mapping[tuple[str, str], list[int]]:
        """Positions of the workloads of each kind and element type."""
        return group(self.kinds)

    @cached_property
    def window(self) -> Floats:
        """Positions of the window that is summed over, 1 where there is none."""
        return self["kernel_height"] * self["kernel_width"]

    @cached_property
    def rows(self) -> Floats:
        """Positions of the result."""
        return np.maximum(1.0, self["output_elements"] // self["columns"])

    @cached_property
    def depth(self) -> Floats:
        """Products that are summed for an element of the result."""
        elements = np.maximum(1.0, self["output_elements"])
        return np.maximum(np.maximum(1.0, self["macs"] // elements), self.window)

    @cached_property
    def traffic(self) -> Floats:
        """Bytes that are read and written."""
        return self["input_bytes"] + self["output_bytes"] + self["parameter_bytes"]

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """What trees learn from, ``[workloads, FEATURE_NAMES]``.

        ``x_over_8`` is by how much more work there is when x is rounded up to whole vectors of 8.
        """
        positions = self["kind"].astype(int)
        is_kind = np.zeros((len(self), len(KINDS) + 1))
        is_kind[np.arange(len(self)), positions] = 1.0
        columns, channels = self["columns"], self["input_channels"]
        intensity = self["macs"] / np.maximum(1.0, self.traffic)
        computed = (
            *(np.log1p(self[name]) for name in _LOGARITHMS),
            *(np.log1p(each) for each in (self.traffic, intensity, self.rows, self.depth)),
            *(self[name] for name in _PLAIN),
            *(_rounded_up(each, n) for each in (columns, self.depth, channels) for n in _LANES),
            *(_rounded_up(self.rows, n) for n in _ROW_TILES),
            columns % 16,
            columns % 64,
            np.log(self.depth * columns),
            np.log(np.maximum(1.0, self["width"]) * columns),
        )
        return np.column_stack([is_kind, *computed]).astype(np.float32)


_LOGARITHMS = (
    "macs", "input_bytes", "output_bytes", "parameter_bytes", "source_elements",
    "output_elements", "columns",
)  # fmt: skip
_PLAIN = (
    "height", "width", "input_channels", "kernel_height", "kernel_width", "stride", "dilation",
    "is_padded", "element_bytes", "is_float", "is_unsigned", "is_input_float", "is_per_channel",
    "is_activated", "is_clamped", "is_requantized", "has_constant", "is_broadcast", "has_scalar",
    "has_far_scales", "operands", "results", "rank",
)  # fmt: skip
FEATURE_NAMES = (
    *(f"is_{kind}" for kind in (*KINDS, "other")),
    *(f"log_{name}" for name in _LOGARITHMS),
    *("log_traffic_bytes", "log_intensity", "log_rows", "log_depth"),
    *_PLAIN,
    *(f"{name}_over_{n}" for name in ("columns", "depth", "input_channels") for n in _LANES),
    *(f"rows_over_{n}" for n in _ROW_TILES),
    *("columns_modulo_16", "columns_modulo_64", "log_weights", "log_row_elements"),
)


def group(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """Positions of each of the keys."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return groups


def kind_of_cost(kind: str) -> str:
    """The kind under which operators are measured and predicted that take as long."""
    return _SAME_AS.get(kind, kind)


def quantities(works: Sequence[Workload]) -> Quantities:
    """The numbers of workloads."""
    kinds = tuple((kind_of_cost(work.kind), work.outputs[0].dtype) for work in works)
    table = np.array([_read(work) for work in works], np.float64).reshape(-1, len(_READ))
    return Quantities(kinds, table)


def _read(work: Workload) -> tuple[float, ...]:
    """The numbers named by ``_READ``."""
    kind, output = kind_of_cost(work.kind), work.outputs[0]
    given = [form for form in work.inputs if form is not None]
    values = [form for form in given if not form.is_constant]
    source = values[0] if values else given[0] if given else output
    attributes = work.attributes
    shape = output.shape
    columns = max(1, shape[-1]) if shape else 1
    height, width = shape[-3:-1] if len(shape) >= 4 else (1, 1)
    kernel_height, kernel_width = _kernel(kind, attributes, given)
    stride = _attribute(attributes, "stride_h")
    if kind == "transpose_conv2d" and len(source.shape) == 4:
        stride = max(1, height // source.shape[1])
    elements = output.elements
    activation = attributes.get("fused_activation_function", "none")
    return (
        _POSITION.get(kind, len(KINDS)),
        work.macs,
        work.input_bytes,
        work.output_bytes,
        work.parameter_bytes,
        elements,
        columns,
        height,
        width,
        kernel_height,
        kernel_width,
        stride,
        _attribute(attributes, "dilation_h_factor"),
        attributes.get("padding") == "same",
        source.elements,
        source.shape[-1] if source.shape else 1,
        sum(form.elements for form in values),
        sum(form.elements / max(1, form.shape[-1] if form.shape else 1) for form in values),
        _ELEMENT_BYTES.get(output.dtype, 8),
        output.dtype == "float32",
        output.dtype == "uint8",
        source.dtype == "float32",
        any(form.scales > 1 for form in given),
        activation != "none",
        activation == "relu6",
        source.quantization != output.quantization,
        len(values) < len(given),
        len(given) > 1 and any(form.elements < elements for form in given[:2]),
        len(given) > 1 and any(form.elements == 1 for form in given[:2]),
        attributes.get(FAR_SCALES, False) is True,
        len(values),
        len(work.outputs),
        len(shape),
    )


def _kernel(
    kind: str, attributes: Mapping[str, object], given: Sequence[TensorForm]
) -> tuple[int, int]:
    if kind in _CONVOLUTIONS:
        for form in given:
            if form.is_constant and len(form.shape) == 4:
                return form.shape[1], form.shape[2]
        return 1, 1
    return _attribute(attributes, "filter_height"), _attribute(attributes, "filter_width")


def _attribute(attributes: Mapping[str, object], name: str) -> int:
    value = attributes.get(name, 1)
    return max(1, int(value)) if isinstance(value, int | float) else 1


def _rounded_up(sizes: Floats, lanes: int) -> Floats:
    whole: Floats = np.ceil(sizes / lanes) * lanes / np.maximum(1.0, sizes)
    return whole
