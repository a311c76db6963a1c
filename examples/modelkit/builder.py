"""Builds a convolutional network layer by layer, with random weights, in float32 and in int8.

Each layer is computed in numpy on a few sample inputs as soon as it is added. Its weights are
normalised with what comes out, as a folded batch normalisation would, so a network of any depth
keeps a useful range of values; and the ranges seen become the scales of the int8 model, as
TensorFlow's post-training quantisation does it (per-channel int8 weights, int32 biases).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelkit import kernels
from modelkit.kernels import Array
from modelkit.quantise import (
    DraftTensor,
    affine,
    as_float32,
    as_int8_weights,
    as_integers,
    rounded,
)
from modelkit.writer import Operator, Signature, Subgraph, Tensor, write_model

Activation = Literal["none", "relu", "relu6"]
Padding = Literal["same", "valid"]

# Operator versions whose kernels take int8; 1 where not listed. Source: TFLite's
# tools/versioning/op_version.cc.
INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MUL": 2,
    "MEAN": 2,
    "RELU": 2,
    "SOFTMAX": 2,
    "CONCATENATION": 2,
    "AVERAGE_POOL_2D": 2,
    "MAX_POOL_2D": 2,
}
# The int8 output of SOFTMAX has a scale and a zero point fixed by TFLite's quantisation spec.
SOFTMAX_SCALE, SOFTMAX_ZERO_POINT = 1.0 / 256.0, -128


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the network under construction.

    Attributes:
        index: of the tensor.
        sample: its value for each of the sample inputs, [samples, ...].
    """

    index: int
    sample: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape: that of one sample, with a batch of 1."""
        return (1, *self.sample.shape[1:])


class NetworkBuilder:
    """Adds layers to a network; ``float32`` and ``int8`` give its two models.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._tensors: list[DraftTensor] = []
        self._operators: list[Operator] = []
        self._inputs: list[Value] = []
        # Tensors that must have equal scales share a group; ranges are kept by group.
        self._groups: dict[int, int] = {}
        self._ranges: dict[int, tuple[float, float]] = {}
        self._fixed: dict[int, tuple[float, int]] = {}

    def input(self, name: str, sample: Array) -> Value:
        """A network input; ``sample`` [samples, ...] holds typical values of it."""
        value = self._activation(name, sample)
        self._inputs.append(value)
        return value

    def constant(self, value: float | Array, name: str = "constant") -> Value:
        """A constant operand of ``add`` or ``mul``, of any shape that broadcasts."""
        data = np.asarray(value, np.float64)
        tensor = self._tensor(DraftTensor(name, data.shape, "activation", data))
        self._observe(tensor, data)
        return Value(tensor, data)

    def conv2d(
        self,
        x: Value,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: Padding = "same",
        activation: Activation = "none",
        offset: float = 0.0,
        gain: float = 1.0,
        name: str = "conv2d",
    ) -> Value:
        """Convolution of ``x`` [1, h, w, c] into ``channels``.

        Before the activation, each channel has the mean ``offset`` and the standard deviation
        ``gain`` over the samples.
        """
        weights = self._random.normal(size=(channels, kernel, kernel, x.shape[3]))
        plain = kernels.conv2d(x.sample, weights, stride, padding)
        factor, bias = self._normalised(plain, offset, gain)
        options = schema.Conv2DOptionsT()
        _set_window(options, stride, padding, activation)
        constants = self._parameters(name, x, weights * factor[:, None, None, None], 0, bias)
        result = kernels.activate(plain * factor + bias, activation)
        return self._layer("CONV_2D", (x.index, *constants), result, options, name)

    def depthwise_conv2d(
        self,
        x: Value,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: Padding = "same",
        activation: Activation = "none",
        name: str = "depthwise",
    ) -> Value:
        """Depthwise convolution of ``x`` [1, h, w, c], normalised as ``conv2d`` is."""
        weights = self._random.normal(size=(1, kernel, kernel, x.shape[3]))
        plain = kernels.depthwise_conv2d(x.sample, weights, stride, padding)
        factor, bias = self._normalised(plain, 0.0, 1.0)
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        _set_window(options, stride, padding, activation)
        constants = self._parameters(name, x, weights * factor, 3, bias)
        result = kernels.activate(plain * factor + bias, activation)
        return self._layer("DEPTHWISE_CONV_2D", (x.index, *constants), result, options, name)

    def fully_connected(
        self,
        x: Value,
        units: int,
        *,
        activation: Activation = "none",
        gain: float = 1.0,
        name: str = "fully_connected",
    ) -> Value:
        """Dense layer on ``x`` [1, c], normalised as ``conv2d`` is; one scale for its weights."""
        weights = self._random.normal(size=(units, x.shape[1]))
        plain = x.sample @ weights.T
        factor, bias = self._normalised(plain, 0.0, gain)
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = _activation_code(activation)
        constants = self._parameters(name, x, weights * factor[:, None], None, bias)
        result = kernels.activate(plain * factor + bias, activation)
        return self._layer("FULLY_CONNECTED", (x.index, *constants), result, options, name)

    def add(self, a: Value, b: Value, *, name: str = "add") -> Value:
        """Sum with broadcasting."""
        options = schema.AddOptionsT()
        return self._layer("ADD", (a.index, b.index), a.sample + b.sample, options, name)

    def mul(self, a: Value, b: Value, *, name: str = "mul") -> Value:
        """Product with broadcasting."""
        options = schema.MulOptionsT()
        return self._layer("MUL", (a.index, b.index), a.sample * b.sample, options, name)

    def relu(self, x: Value, *, name: str = "relu") -> Value:
        """``max(x, 0)`` as an operator of its own."""
        return self._layer("RELU", (x.index,), kernels.activate(x.sample, "relu"), None, name)

    def hard_swish(self, x: Value, *, name: str = "hard_swish") -> Value:
        """``x * relu6(x + 3) / 6``."""
        options = schema.HardSwishOptionsT()
        return self._layer("HARD_SWISH", (x.index,), kernels.hard_swish(x.sample), options, name)

    def mean(self, x: Value, *, name: str = "mean") -> Value:
        """Mean of ``x`` [1, h, w, c] over height and width: [1, 1, 1, c]."""
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axes = self._indices(f"{name}/axes", (1, 2))
        result = x.sample.mean(axis=(1, 2), keepdims=True)
        return self._layer("MEAN", (x.index, axes), result, options, name)

    def max_pool2d(
        self,
        x: Value,
        size: int = 2,
        *,
        stride: int = 2,
        padding: Padding = "same",
        name: str = "max_pool",
    ) -> Value:
        """Max pooling of ``x`` [1, h, w, c]."""
        result = kernels.max_pool2d(x.sample, size, stride, padding)
        return self._pool("MAX_POOL_2D", x, result, size, stride, padding, name)

    def average_pool2d(
        self,
        x: Value,
        size: int = 2,
        *,
        stride: int = 2,
        padding: Padding = "same",
        name: str = "average_pool",
    ) -> Value:
        """Average pooling of ``x`` [1, h, w, c]."""
        result = kernels.average_pool2d(x.sample, size, stride, padding)
        return self._pool("AVERAGE_POOL_2D", x, result, size, stride, padding, name)

    def concat(self, values: Sequence[Value], *, axis: int = 3, name: str = "concat") -> Value:
        """Concatenation along ``axis``."""
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        result = np.concatenate([value.sample for value in values], axis=axis)
        inputs = tuple(value.index for value in values)
        joined = self._layer("CONCATENATION", inputs, result, options, name)
        self._tie(joined, *values)
        return joined

    def reshape(self, x: Value, shape: tuple[int, ...], *, name: str = "reshape") -> Value:
        """``x`` with another shape, whose first dimension is 1."""
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        target = self._indices(f"{name}/shape", shape)
        result = x.sample.reshape(len(x.sample), *shape[1:])
        reshaped = self._layer("RESHAPE", (x.index, target), result, options, name)
        self._tie(reshaped, x)
        return reshaped

    def softmax(self, x: Value, *, name: str = "softmax") -> Value:
        """Softmax along the last dimension."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        value = self._layer("SOFTMAX", (x.index,), kernels.softmax(x.sample), options, name)
        self._fixed[value.index] = (SOFTMAX_SCALE, SOFTMAX_ZERO_POINT)
        return value

    def float32(self, outputs: Mapping[str, Value], description: str = "") -> bytes:
        """The network as a float32 ``.tflite``, with a signature that names its outputs."""
        tensors = [as_float32(tensor) for tensor in self._tensors]
        return self._written(tensors, self._operators, outputs, description)

    def int8(self, outputs: Mapping[str, Value], description: str = "") -> bytes:
        """The network as an int8 ``.tflite`` whose inputs and outputs are int8 too."""
        tensors: list[Tensor] = []
        for index, tensor in enumerate(self._tensors):
            tensors.append(self._quantised(index, tensor, tensors))
        operators = [
            Operator(op.code, op.inputs, op.outputs, op.options, INT8_VERSIONS.get(str(op.code), 1))
            for op in self._operators
        ]
        return self._written(tensors, operators, outputs, description)

    def _written(
        self,
        tensors: Sequence[Tensor],
        operators: Sequence[Operator],
        outputs: Mapping[str, Value],
        description: str,
    ) -> bytes:
        inputs = tuple(value.index for value in self._inputs)
        output_indices = tuple(value.index for value in outputs.values())
        subgraph = Subgraph(tensors, operators, inputs, output_indices)
        signature = Signature(tuple(tensors[index].name for index in inputs), tuple(outputs))
        return write_model([subgraph], signature=signature, description=description)

    def _tensor(self, tensor: DraftTensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _activation(self, name: str, sample: Array) -> Value:
        index = self._tensor(DraftTensor(name, (1, *sample.shape[1:]), "activation"))
        self._observe(index, sample)
        return Value(index, sample)

    def _indices(self, name: str, values: tuple[int, ...]) -> int:
        data = np.array(values, np.float64)
        return self._tensor(DraftTensor(name, data.shape, "indices", data))

    def _parameters(
        self, name: str, x: Value, weights: Array, axis: int | None, bias: Array
    ) -> tuple[int, int]:
        filters = self._tensor(
            DraftTensor(f"{name}/weights", weights.shape, "weights", weights, axis=axis)
        )
        scaled_by = (x.index, filters)
        added = DraftTensor(f"{name}/bias", bias.shape, "bias", bias, scaled_by=scaled_by)
        return filters, self._tensor(added)

    def _layer(
        self, code: str, inputs: tuple[int, ...], sample: Array, options: object, name: str
    ) -> Value:
        value = self._activation(name, sample)
        self._operators.append(Operator(code, inputs, (value.index,), options))
        return value

    def _pool(
        self,
        code: str,
        x: Value,
        result: Array,
        size: int,
        stride: int,
        padding: Padding,
        name: str,
    ) -> Value:
        options = schema.Pool2DOptionsT()
        options.filterWidth = options.filterHeight = size
        _set_window(options, stride, padding, "none")
        pooled = self._layer(code, (x.index,), result, options, name)
        self._tie(pooled, x)
        return pooled

    def _normalised(self, plain: Array, offset: float, gain: float) -> tuple[Array, Array]:
        """The factor and the bias of each channel that give it ``offset`` and ``gain``."""
        axes = tuple(range(plain.ndim - 1))
        deviation = plain.std(axis=axes)
        # A channel that hardly varies is not blown up into noise.
        factor = gain / np.maximum(deviation, 0.3 * deviation.mean() + 1e-6)
        spread = self._random.normal(scale=0.2 * gain, size=factor.shape)
        return rounded(factor), rounded(offset + spread - plain.mean(axis=axes) * factor)

    def _observe(self, index: int, sample: Array) -> None:
        self._groups[index] = index
        self._ranges[index] = (min(float(sample.min()), 0.0), max(float(sample.max()), 0.0))

    def _tie(self, *values: Value) -> None:
        """Gives the values, and all that are tied to them, one common scale."""
        groups = {self._groups[value.index] for value in values}
        lows, highs = zip(*(self._ranges[group] for group in groups), strict=True)
        leader = min(groups)
        self._ranges[leader] = (min(lows), max(highs))
        for index, group in self._groups.items():
            if group in groups:
                self._groups[index] = leader

    def _quantised(self, index: int, tensor: DraftTensor, done: Sequence[Tensor]) -> Tensor:
        """The int8 form of a tensor; ``done`` holds those of lower index."""
        scales: tuple[float, ...]
        if tensor.role == "indices":
            return as_integers(tensor, tensor.data, "int32")
        if tensor.role == "weights":
            return as_int8_weights(tensor)
        if tensor.role == "bias" and tensor.data is not None:
            activation, weights = (done[i] for i in tensor.scaled_by)
            scales = tuple(activation.scales[0] * scale for scale in weights.scales)
            zero_points = (0,) * len(scales)
            return as_integers(tensor, tensor.data / scales, "int32", scales, zero_points)
        scale, zero_point = self._fixed.get(index) or affine(*self._ranges[self._groups[index]])
        if tensor.data is None:
            return Tensor(
                tensor.name, tensor.shape, "int8", scales=(scale,), zero_points=(zero_point,)
            )
        stored = np.clip(np.round(tensor.data / scale) + zero_point, -128, 127)
        return as_integers(tensor, stored, "int8", (scale,), (zero_point,))


def _set_window(
    options: schema.Conv2DOptionsT | schema.DepthwiseConv2DOptionsT | schema.Pool2DOptionsT,
    stride: int,
    padding: Padding,
    activation: Activation,
) -> None:
    options.strideW = options.strideH = stride
    options.padding = getattr(schema.Padding, padding.upper())
    options.fusedActivationFunction = _activation_code(activation)


def _activation_code(activation: Activation) -> int:
    return int(getattr(schema.ActivationFunctionType, activation.upper()))
