"""One-operator models, and runs of compiled regions, for the tests of targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.assemble import Compiled
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.targets import CompiledRegions

Value = np.ndarray[Any, Any]

RANDOM = np.random.default_rng(7)


def byte_tensor(
    name: str, shape: tuple[int, ...], dtype: str = "int8", scale: float = 0.05, zero: int = -3
) -> Tensor:
    """A quantised tensor; for uint8, the zero point is moved up by 128."""
    return Tensor(name, shape, dtype, scales=(scale,), zero_points=(_zero(dtype, zero),))


def one_op(
    code: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    options: object | None = None,
    version: int = 1,
) -> Graph:
    """The graph of a single operator; tensors without data are inputs of the model.

    Constants of float16 pass through DEQUANTIZE, as converters write them.
    """
    tensors = [*inputs, *outputs]
    count = len(inputs)
    given = tuple(i for i in range(count) if inputs[i].data is None)
    made = tuple(range(count, len(tensors)))
    operators = []
    for i, tensor in enumerate(inputs):
        if tensor.data is not None and tensor.dtype == "float16":
            tensors[i] = Tensor(f"{tensor.name}32", tensor.shape)
            dequantize = schema.DequantizeOptionsT()
            operators.append(Operator("DEQUANTIZE", (len(tensors),), (i,), dequantize, 3))
            tensors.append(tensor)
    operators.append(Operator(code, tuple(range(count)), made, options, version))
    return read_tflite(write_model([Subgraph(tensors, operators, given, made)]), name=code.lower())


def unary(code: str, shape: tuple[int, ...], dtype: str = "int8") -> Graph:
    """An elementwise operator on bytes whose input ranges from about -4 to 4."""
    result = byte_tensor("y", shape, dtype, 0.02, -10)
    if code in ("LOGISTIC", "TANH"):
        # TFLite fixes the quantisation of these results.
        scale, zero = (1 / 256, -128) if code == "LOGISTIC" else (1 / 128, 0)
        result = byte_tensor("y", shape, dtype, scale, zero)
    if code == "LEAKY_RELU":
        return one_op(code, [byte_tensor("x", shape, dtype)], [result], _leaky(), 2)
    tables = {"HARD_SWISH": schema.HardSwishOptionsT, "QUANTIZE": schema.QuantizeOptionsT}
    options = tables[code]() if code in tables else None
    version = 1 if code == "HARD_SWISH" else 2
    return one_op(code, [byte_tensor("x", shape, dtype, 0.03)], [result], options, version)


def depthwise(
    height: int,
    width: int,
    channels: int,
    kernel: tuple[int, int] = (3, 3),
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "same",
    activation: str = "none",
    dtype: str = "int8",
) -> Graph:
    """A depthwise convolution with random weights; quantised per channel for int8."""
    options = schema.DepthwiseConv2DOptionsT()
    options.depthMultiplier = 1
    shape = 1, *kernel, channels
    return _windowed(
        "DEPTHWISE_CONV_2D", options, (height, width, channels), shape, 3,
        stride, dilation, padding, activation, dtype,
    )  # fmt: skip


def conv(
    height: int,
    width: int,
    channels: int,
    filters: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "same",
    activation: str = "none",
    dtype: str = "int8",
) -> Graph:
    """A convolution with random weights; quantised per filter for int8."""
    shape = filters, *kernel, channels
    return _windowed(
        "CONV_2D", schema.Conv2DOptionsT(), (height, width, channels), shape, 0,
        stride, dilation, padding, activation, dtype,
    )  # fmt: skip


def dense(
    rows: int, channels: int, filters: int, *, dtype: str = "int8", bias: bool = True
) -> Graph:
    """A fully connected layer with random weights; quantised per filter for int8."""
    x = activation_tensor("x", (rows, channels), dtype, 0.05)
    weights = _weights((filters, channels), dtype, 0)
    y = activation_tensor("y", (rows, filters), dtype, 0.06 * math.sqrt(channels), 4)
    given = [x, weights, _bias(filters, weights, dtype)] if bias else [x, weights]
    return one_op("FULLY_CONNECTED", given, [y], schema.FullyConnectedOptionsT(), 5)


def activation_tensor(
    name: str, shape: tuple[int, ...], dtype: str, scale: float, zero: int = -3
) -> Tensor:
    """A quantised tensor, or one of float32, also for constants of float16."""
    if dtype.startswith("float"):
        return Tensor(name, shape)
    return byte_tensor(name, shape, dtype, scale, zero)


def _windowed(
    code: str,
    options: Any,
    image: tuple[int, int, int],
    shape: tuple[int, ...],
    axis: int,
    stride: int,
    dilation: int,
    padding: str,
    activation: str,
    dtype: str,
) -> Graph:
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = dilation
    options.padding = getattr(schema.Padding, padding.upper())
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation.upper())
    x = activation_tensor("x", (1, *image), dtype, 0.05)
    weights = _weights(shape, dtype, axis)
    kernel, filters = shape[1:3], shape[axis]
    reach = [(k - 1) * dilation + 1 for k in kernel]
    out = [_windows(size, r, stride, padding) for size, r in zip(image[:2], reach, strict=True)]
    # Wide enough for most sums, so that few results are clamped.
    scale = 0.06 * math.sqrt(math.prod(kernel) * (1 if axis == 3 else shape[3]))
    y = activation_tensor("y", (1, *out, filters), dtype, scale, 4)
    return one_op(code, [x, weights, _bias(filters, weights, dtype)], [y], options, 3)


def _weights(shape: tuple[int, ...], dtype: str, axis: int) -> Tensor:
    if dtype.startswith("float"):
        return Tensor("w", shape, dtype, RANDOM.uniform(-1, 1, shape).astype(dtype))
    per_channel = dtype == "int8"
    scales = tuple(RANDOM.uniform(0.005, 0.02, shape[axis] if per_channel else 1))
    zeros = (0,) * shape[axis] if per_channel else (117,)
    limits = np.iinfo(dtype)
    values = RANDOM.integers(limits.min + 1, limits.max, shape).astype(dtype)
    return Tensor("w", shape, dtype, values, scales, zeros, axis)


def _bias(filters: int, weights: Tensor, dtype: str) -> Tensor:
    if dtype.startswith("float"):
        values = RANDOM.uniform(-1, 1, filters).astype(dtype)
        return Tensor("b", (filters,), dtype, values)
    drawn = RANDOM.integers(-500, 500, filters).astype(np.int32)
    scales = tuple(0.05 * s for s in weights.scales)
    return Tensor("b", (filters,), "int32", drawn, scales, (0,) * len(scales))


def pool(
    code: str,
    shape: tuple[int, int, int],
    window: tuple[int, int],
    stride: int,
    padding: str,
    dtype: str = "int8",
) -> Graph:
    """AVERAGE_POOL_2D or MAX_POOL_2D on bytes."""
    options = schema.Pool2DOptionsT()
    options.filterHeight, options.filterWidth = window
    options.strideH = options.strideW = stride
    options.padding = getattr(schema.Padding, padding.upper())
    out = [_windows(s, w, stride, padding) for s, w in zip(shape[:2], window, strict=True)]
    x = byte_tensor("x", (1, *shape), dtype)
    y = replace(x, name="y", shape=(1, *out, shape[2]))
    return one_op(code, [x], [y], options, 2)


def run_on(
    target: Any,
    graph: Graph,
    inputs: Sequence[Value],
    regions: Sequence[Region] | None = None,
    threads: int = 1,
) -> list[Value]:
    """Compile a graph for ``target``, as one region unless told otherwise, and run it."""
    whole = (Region(0, target.name, graph.placed_ops),)
    compiled: CompiledRegions = target.compile(graph, regions or whole, threads)
    return run_compiled(graph, regions or whole, compiled, inputs, threads)


def run_compiled(
    graph: Graph,
    regions: Sequence[Region],
    compiled: CompiledRegions,
    inputs: Sequence[Value],
    threads: int = 1,
) -> list[Value]:
    """Run regions that a target has compiled, in the executor."""
    done = Compiled(graph, tuple(regions), compiled.regions, compiled.libraries, threads)
    results = done.whole().model().run(list(inputs))
    return [np.asarray(value) for value in results]


def random_values(graph: Graph) -> list[Value]:
    """Inputs over the whole range of bytes, and from -2 to 2 for floats."""
    values: list[Value] = []
    for tensor in (graph.tensors[index] for index in graph.inputs):
        if tensor.dtype == "float32":
            values.append(RANDOM.uniform(-2, 2, tensor.shape).astype(np.float32))
        else:
            limits = np.iinfo(tensor.dtype)
            drawn = RANDOM.integers(limits.min, limits.max, tensor.shape, endpoint=True)
            values.append(drawn.astype(tensor.dtype))
    return values


def innermost_loops(script: str) -> list[str]:
    """The bodies of a kernel's loops that have no loops inside, as TVM prints them."""
    lines = script.splitlines()
    depth = [len(line) - len(line.lstrip()) for line in lines]
    found = []
    for i in (i for i, line in enumerate(lines) if line.lstrip().startswith("for ")):
        end = next((k for k in range(i + 1, len(lines)) if depth[k] <= depth[i]), len(lines))
        body = lines[i + 1 : end]
        if not any(line.lstrip().startswith("for ") for line in body):
            found.append("\n".join(body))
    return found


def _windows(size: int, window: int, stride: int, padding: str) -> int:
    return -(-(size if padding == "same" else size - window + 1) // stride)


def _zero(dtype: str, zero: int) -> int:
    return zero + 128 if dtype == "uint8" else zero


def _leaky() -> schema.LeakyReluOptionsT:
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.1
    return options
