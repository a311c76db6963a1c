"""Build the model of a configuration, with random weights and the scales of a quantised network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from .layers import Configuration, Layer, Operand, Shape, operands, result_shapes
from .model import Graph, Quantization
from .reader import read_tflite
from .writer import NewOp, NewTensor, write_model

# Versions whose kernels take int8; 1 where not listed. Source: TFLite's
# tools/versioning/op_version.cc. The same file asks for version 3 of a resize with half-pixel
# centres, and for version 2 of a depthwise convolution with a dilation.
_INT8_VERSIONS: Mapping[str, int] = {
    "conv2d": 3,
    "depthwise_conv2d": 3,
    "transpose_conv2d": 2,
    "fully_connected": 4,
    "batch_matmul": 2,
    "dequantize": 2,
    **dict.fromkeys(("add", "mul", "sub", "mean", "pad", "logistic", "tanh", "softmax"), 2),
    **dict.fromkeys(("relu", "relu6", "max_pool2d", "average_pool2d", "concatenation"), 2),
    **dict.fromkeys(("resize_bilinear", "resize_nearest_neighbor", "depth_to_space"), 2),
    **dict.fromkeys(("strided_slice", "split", "transpose", "arg_max"), 2),
}

# Scale and int8 zero point that TFLite's quantisation specification fixes for a result. It leaves
# that of an LSTM free, but a tanh gives it the same bounds.
_FIXED: Mapping[str, tuple[float, int]] = {
    "softmax": (1.0 / 256.0, -128),
    "logistic": (1.0 / 256.0, -128),
    "tanh": (1.0 / 128.0, 0),
    "unidirectional_sequence_lstm": (1.0 / 128.0, 0),
}

# TFLite's int8 LSTM has cells of 16 bits, with a power of two for a scale; this one, which the
# converter gives to cells below 8.
_CELL_SCALE = 2.0**-12
# Cells are clipped there, which the converter writes into every Keras LSTM.
_CELL_CLIP = 10.0

# Scale of constants that do next to nothing, as converters give one to those that are all zero.
_FAR_SCALE = 2.0**-20

# Kinds whose result has the scale of their operands: they move or choose values.
_TYING = frozenset(
    {
        "max_pool2d",
        "average_pool2d",
        "reshape",
        "pad",
        "resize_bilinear",
        "resize_nearest_neighbor",
        "concatenation",
        "split",
        "strided_slice",
        "transpose",
        "depth_to_space",
        "relu",
        "relu6",
        "mean",
    }
)

# Element types of values with a scale.
_QUANTIZED = ("int8", "uint8")

# Standard deviations of uniformly random 8-bit numbers, and of what a layer should make of them.
_DEVIATION = 74.0
_RESULT_DEVIATION = 40.0


def build_graph(configuration: Configuration, name: str = "") -> Graph:
    """The model of a configuration, read back from its bytes; equal ones give equal bytes.

    Weights are random, from a seed that depends on the configuration alone; they keep the values
    of a deep network in the range of normal floating-point numbers. All values that no layer reads
    are outputs.

    Args:
        configuration: inputs and layers.
        name: of the graph, for messages; by default the kinds of its layers.
    """
    builder = _Builder(configuration)
    name = name or "_".join(layer.kind for layer in configuration.layers[:3])
    return read_tflite(builder.write(), name)


class _Builder:
    """A model in the making."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        digest = hashlib.sha256(configuration.to_json().encode()).digest()
        self._generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        self._shapes: list[Shape] = [each.shape for each in configuration.inputs]
        self._dtypes: list[str] = [each.dtype for each in configuration.inputs]
        self._results: list[tuple[int, ...]] = []
        for layer in configuration.layers:
            shapes = result_shapes(layer, [self._shapes[i] for i in layer.inputs])
            first = len(self._shapes)
            self._results.append(tuple(range(first, first + len(shapes))))
            self._shapes.extend(shapes)
            self._dtypes.extend([self._result_dtype(layer)] * len(shapes))
        self._quantizations = self._quantize()
        self._tensors: list[NewTensor] = []
        self._ops: list[NewOp] = []

    def write(self) -> bytes:
        """The flatbuffer."""
        count = len(self._configuration.inputs)
        for value in range(count):
            self._add_value(value, f"input_{value}")
        tensors = list(range(count))
        for position, layer in enumerate(self._configuration.layers):
            name = f"{layer.kind}_{position}"
            inputs = self._add_operands(position, tensors, name)
            outputs = tuple(
                self._add_value(value, f"{name}/result_{place}")
                for place, value in enumerate(self._results[position])
            )
            tensors.extend(outputs)
            dtype = self._dtypes[layer.inputs[0]]
            version = _version(layer, dtype)
            inside = self._add_intermediates(position, name)
            self._ops.append(NewOp(layer.kind, version, inputs, outputs, _options(layer), inside))
        read = {value for layer in self._configuration.layers for value in layer.inputs}
        last = [tensors[value] for value in range(count, len(tensors)) if value not in read]
        return write_model(self._tensors, self._ops, tensors[:count], last)

    def _result_dtype(self, layer: Layer) -> str:
        if layer.kind == "dequantize":
            return "float32"
        return layer.dtype or self._dtypes[layer.inputs[0]]

    def _operands(self, layer: Layer) -> tuple[Operand, ...]:
        return operands(layer, [self._shapes[i] for i in layer.inputs])

    def _add_value(self, value: int, name: str) -> int:
        tensor = NewTensor(
            name, self._shapes[value], self._dtypes[value], self._quantizations[value]
        )
        return self._add(tensor)

    def _add(self, tensor: NewTensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _add_operands(self, position: int, tensors: Sequence[int], name: str) -> tuple[int, ...]:
        """Positions of a layer's operands in the list of tensors, to which constants are added.

        Args:
            position: of the layer.
            tensors: where each value is in that list.
            name: of the layer.
        """
        places: list[int] = []
        # Of the weights to which a bias has not been added yet.
        quantizations: list[Quantization | None] = []
        for place, operand in enumerate(self._operands(self._configuration.layers[position])):
            full_name = f"{name}/{operand.role}_{place}"
            if operand.role == "value":
                places.append(tensors[operand.value])
            elif operand.role == "absent":
                places.append(-1)
            elif operand.is_constant:
                weights = quantizations.pop(0) if operand.role == "bias" else None
                places.append(self._add_constant(operand, position, weights, full_name))
                if operand.role == "weights":
                    quantizations.append(self._tensors[-1].quantization)
            else:
                places.append(self._add_state(operand, self._results[position][0], full_name))
        return tuple(places)

    def _add_state(self, operand: Operand, result: int, name: str) -> int:
        dtype, quantization = self._dtypes[result], self._quantizations[result]
        if operand.role == "cell_state" and quantization is not None:
            dtype, quantization = "int16", Quantization((_CELL_SCALE,), (0,))
        return self._add(NewTensor(name, operand.shape, dtype, quantization, is_variable=True))

    def _add_intermediates(self, position: int, name: str) -> tuple[int, ...]:
        """Tensors without elements, by which an int8 LSTM knows scales of what is inside.

        Those of the gates say nothing, as gates are not normalised; the last is that of the result.
        """
        quantization = self._quantizations[self._results[position][0]]
        layer = self._configuration.layers[position]
        if layer.kind != "unidirectional_sequence_lstm" or quantization is None:
            return ()
        gates = [NewTensor(f"{name}/gate_{gate}", (0,), "float32") for gate in range(4)]
        hidden = NewTensor(f"{name}/hidden", (0,), "int8", quantization)
        return tuple(self._add(tensor) for tensor in (*gates, hidden))

    def _add_constant(
        self, operand: Operand, position: int, weights: Quantization | None, name: str
    ) -> int:
        layer = self._configuration.layers[position]
        source, result = layer.inputs[0], self._results[position][0]
        dtype = self._dtypes[source]
        data: npt.NDArray[Any]
        quantization = None
        if operand.role == "indices":
            data = np.array(operand.numbers, np.int32).reshape(operand.shape)
        elif dtype == "float32":
            data = self._floats(operand, layer)
        elif operand.role == "bias":
            assert weights is not None
            scale = self._scale_of(source)
            scales = tuple(_float32(scale * each) for each in weights.scales)
            quantization = Quantization(scales, (0,) * len(scales))
            data = self._generator.integers(-2000, 2000, operand.shape).astype(np.int32)
        else:
            low, high = (-127, 128) if dtype == "int8" else (0, 256)
            data = self._generator.integers(low, high, operand.shape).astype(dtype)
            if operand.role == "constant":
                far = Quantization((_FAR_SCALE,), (0,))
                quantization = far if layer.rescaled else self._free_quantization(dtype)
            else:
                scale = self._scale_of(source if operand.role == "weights" else result)
                quantization = self._weight_quantization(operand, layer, scale, result)
        return self._add(NewTensor(name, data.shape, str(data.dtype), quantization, data))

    def _floats(self, operand: Operand, layer: Layer) -> npt.NDArray[np.float32]:
        if operand.role in ("weights", "recurrent"):
            scale = 1.0 / math.sqrt(_terms(operand, layer))
            normal = self._generator.standard_normal(operand.shape, np.float32)
            scaled: npt.NDArray[np.float32] = (normal * np.float32(scale)).astype(np.float32)
            return scaled
        # Away from 0: also a divisor, and the slopes of a PReLU.
        return self._generator.uniform(0.1, 1.0, operand.shape).astype(np.float32)

    def _scale_of(self, value: int) -> float:
        quantization = self._quantizations[value]
        assert quantization is not None
        return quantization.scales[0]

    def _weight_quantization(
        self, operand: Operand, layer: Layer, scale: float, result: int
    ) -> Quantization:
        """Scales that make the result of random weights and inputs fill its range, but not more."""
        spread = _DEVIATION**2 * math.sqrt(_terms(operand, layer))
        middle = self._scale_of(result) * _RESULT_DEVIATION / (scale * spread)
        if self._dtypes[result] == "uint8":
            zero_point = int(self._generator.integers(100, 156))
            return Quantization((_float32(middle),), (zero_point,))
        axis = operand.axis if layer.per_channel else None
        count = 1 if axis is None else operand.shape[axis]
        scales = middle * self._generator.uniform(0.5, 1.5, count)
        return Quantization(tuple(_float32(s) for s in scales), (0,) * count, axis or 0)

    def _free_quantization(self, dtype: str) -> Quantization:
        # About [-4, 4], as normalised activations have it.
        scale = 2.0 ** self._generator.uniform(-5.5, -4.5)
        zero_point = int(self._generator.integers(-30, 31)) + (128 if dtype == "uint8" else 0)
        return Quantization((_float32(scale),), (zero_point,))

    def _quantize(self) -> list[Quantization | None]:
        """Parameters of each value; those that layers tie together have the same."""
        leaders = _tied(self._configuration.layers, self._results, len(self._shapes))
        makers = {
            value: layer
            for layer, results in zip(self._configuration.layers, self._results, strict=True)
            for value in results
        }
        chosen: dict[int, Quantization] = {}
        for value, dtype in enumerate(self._dtypes):
            if dtype not in _QUANTIZED:
                continue
            known = _known_quantization(makers.get(value), dtype)
            if known is not None:
                chosen.setdefault(leaders[value], known)
        for value, dtype in enumerate(self._dtypes):
            if dtype in _QUANTIZED and leaders[value] not in chosen:
                chosen[leaders[value]] = self._free_quantization(dtype)
        return [chosen.get(leader) for leader in leaders]


def _tied(layers: Sequence[Layer], results: Sequence[tuple[int, ...]], count: int) -> list[int]:
    """For each value, the lowest one that has the same scale and zero point."""
    leaders = list(range(count))
    for layer, outputs in zip(layers, results, strict=True):
        if layer.kind in _TYING and not layer.rescaled:
            group = {leaders[value] for value in (*layer.inputs, *outputs)}
            leaders = [min(group) if leader in group else leader for leader in leaders]
    return leaders


def _known_quantization(maker: Layer | None, dtype: str) -> Quantization | None:
    """Parameters that follow from the layer that makes a value, or None."""
    if maker is None:
        return None
    scale, zero_point = _FIXED.get(maker.kind, (0.0, 0))
    activation = maker.kind if maker.kind in ("relu", "relu6") else maker.activation
    if activation == "relu6":
        scale, zero_point = 6.0 / 255.0, -128
    elif activation == "relu":
        scale, zero_point = 4.0 / 255.0, -128
    if not scale:
        return None
    return Quantization((_float32(scale),), (zero_point + (128 if dtype == "uint8" else 0),))


def _terms(weights: Operand, layer: Layer) -> int:
    """Products that are summed into one element of a result."""
    if layer.kind == "depthwise_conv2d":
        return math.prod(layer.kernel)
    return math.prod(weights.shape[1:])


def _float32(value: float) -> float:
    return float(np.float32(value))


def _version(layer: Layer, dtype: str) -> int:
    version = _INT8_VERSIONS.get(layer.kind, 1) if dtype == "int8" else 1
    if layer.sampling == "half_pixel_centers":
        return 3
    if layer.kind == "depthwise_conv2d" and layer.dilation > 1:
        return max(version, 2)
    return version


def _options(layer: Layer) -> object | None:
    """The schema's options of a layer, or None for a kind that has none."""
    rule = _OPTIONS.get(layer.kind)
    return None if rule is None else rule(layer)


def _window(layer: Layer) -> dict[str, int]:
    return {
        "padding": int(getattr(schema.Padding, layer.padding.upper())),
        "strideH": layer.stride,
        "strideW": layer.stride,
    }


def _dilated(layer: Layer) -> dict[str, int]:
    return {
        **_window(layer),
        **_activated(layer),
        "dilationHFactor": layer.dilation,
        "dilationWFactor": layer.dilation,
    }


def _activated(layer: Layer) -> dict[str, int]:
    code = getattr(schema.ActivationFunctionType, layer.activation.upper())
    return {"fusedActivationFunction": int(code)}


def _sampled(layer: Layer) -> dict[str, bool]:
    return {
        "alignCorners": layer.sampling == "align_corners",
        "halfPixelCenters": layer.sampling == "half_pixel_centers",
    }


def _pool(layer: Layer) -> object:
    height, width = layer.kernel
    return schema.Pool2DOptionsT(
        **_window(layer), **_activated(layer), filterHeight=height, filterWidth=width
    )


_OPTIONS: Mapping[str, Callable[[Layer], object]] = {
    "conv2d": lambda layer: schema.Conv2DOptionsT(**_dilated(layer)),
    "depthwise_conv2d": lambda layer: schema.DepthwiseConv2DOptionsT(
        **_dilated(layer), depthMultiplier=1
    ),
    "transpose_conv2d": lambda layer: schema.TransposeConvOptionsT(**_window(layer)),
    "fully_connected": lambda layer: schema.FullyConnectedOptionsT(**_activated(layer)),
    "batch_matmul": lambda layer: schema.BatchMatMulOptionsT(adjY=layer.transposed),
    "unidirectional_sequence_lstm": lambda layer: schema.UnidirectionalSequenceLSTMOptionsT(
        fusedActivationFunction=schema.ActivationFunctionType.TANH, cellClip=_CELL_CLIP
    ),
    "max_pool2d": _pool,
    "average_pool2d": _pool,
    "add": lambda layer: schema.AddOptionsT(**_activated(layer)),
    "mul": lambda layer: schema.MulOptionsT(**_activated(layer)),
    "sub": lambda layer: schema.SubOptionsT(**_activated(layer)),
    "div": lambda layer: schema.DivOptionsT(**_activated(layer)),
    "mean": lambda layer: schema.ReducerOptionsT(keepDims=layer.keep_dims),
    "pad": lambda layer: schema.PadOptionsT(),
    "reshape": lambda layer: schema.ReshapeOptionsT(newShape=np.array(layer.numbers, np.int32)),
    "resize_bilinear": lambda layer: schema.ResizeBilinearOptionsT(**_sampled(layer)),
    "resize_nearest_neighbor": lambda layer: schema.ResizeNearestNeighborOptionsT(
        **_sampled(layer)
    ),
    "concatenation": lambda layer: schema.ConcatenationOptionsT(axis=layer.numbers[0]),
    "split": lambda layer: schema.SplitOptionsT(numSplits=layer.numbers[1]),
    "strided_slice": lambda layer: schema.StridedSliceOptionsT(),
    "softmax": lambda layer: schema.SoftmaxOptionsT(beta=1.0),
    "arg_max": lambda layer: schema.ArgMaxOptionsT(
        outputType=int(getattr(schema.TensorType, layer.dtype.upper()))
    ),
    "depth_to_space": lambda layer: schema.DepthToSpaceOptionsT(blockSize=layer.numbers[0]),
    "transpose": lambda layer: schema.TransposeOptionsT(),
    "hard_swish": lambda layer: schema.HardSwishOptionsT(),
    "quantize": lambda layer: schema.QuantizeOptionsT(),
    "dequantize": lambda layer: schema.DequantizeOptionsT(),
}
