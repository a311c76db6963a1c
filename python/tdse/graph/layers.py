"""A small network as sizes and attributes alone, from which a model can be built."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from .kinds import macs
from .model import Tensor

Shape = tuple[int, ...]
Padding = Literal["same", "valid"]
Activation = Literal["none", "relu", "relu6"]
Sampling = Literal["plain", "align_corners", "half_pixel_centers"]

# Kinds with a constant operand of weights, and the dimension of it that has a scale per channel.
_CHANNEL_AXES: Mapping[str, int] = {
    "conv2d": 0,
    "depthwise_conv2d": 3,
    "transpose_conv2d": 0,
    "fully_connected": 0,
}


@dataclass(frozen=True)
class Input:
    """An input of a network: its shape, outermost dimension first, and its element type."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Layer:
    """One operator of a network, without the values of its constants and its scales.

    Attributes:
        kind: the field's term, see ``kind_of``.
        inputs: numbers of the values it reads: the network's inputs come first, then the results
            of the layers, in their order.
        channels: of the result of a convolution, or units of a fully connected or recurrent layer;
            a depthwise one has those of its input.
        kernel: height and width of a window.
        stride: of a window, in both directions.
        dilation: of a window, in both directions.
        padding: of a window.
        activation: fused into the operator.
        per_channel: int8 weights have one scale for each channel.
        bias: a fully connected layer has one; convolutions always do, transposed ones never.
        constant: shape of a constant second operand of ``add``, ``mul``, ``sub`` or ``div``, or
            None where both operands are values.
        numbers: the new shape of ``reshape``; the paddings of ``pad``, before and after for each
            dimension; the height and width of a resize; the permutation of ``transpose``; begin
            and then end of ``strided_slice``; axis and number of parts of ``split``; the axis of
            ``concatenation`` or ``arg_max``; the block of ``depth_to_space``.
        keep_dims: the result of ``mean``, over height and width, keeps them.
        sampling: where a resize takes its samples.
        transposed: the second operand of ``batch_matmul`` is.
        rescaled: the 8-bit result of ``relu``, ``relu6``, ``mean`` or ``concatenation`` has another
            scale than the operands; the constant of ``add``, ``sub`` or ``mul`` has one so small
            that they have far scales, see ``has_far_scales``.
        dtype: that ``quantize`` or ``arg_max`` gives; empty for other kinds, whose operands decide.
    """

    kind: str
    inputs: tuple[int, ...] = (0,)
    channels: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    padding: Padding = "same"
    activation: Activation = "none"
    per_channel: bool = True
    bias: bool = True
    constant: Shape | None = None
    numbers: tuple[int, ...] = ()
    keep_dims: bool = True
    sampling: Sampling = "plain"
    transposed: bool = False
    rescaled: bool = False
    dtype: str = ""


@dataclass(frozen=True)
class Configuration:
    """What determines a model: the inputs of a network and its layers, in the order they run."""

    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Configuration:
        """The configuration of which ``to_json`` made ``text``."""
        fields = json.loads(text, object_hook=_with_tuples)
        return Configuration(
            tuple(Input(**each) for each in fields["inputs"]),
            tuple(Layer(**each) for each in fields["layers"]),
        )


def beside(configurations: Sequence[Configuration]) -> Configuration:
    """One network of several that have nothing to do with each other."""
    inputs = tuple(each for one in configurations for each in one.inputs)
    layers: list[Layer] = []
    first_input, first_result = 0, len(inputs)
    for one in configurations:
        count = len(one.inputs)
        numbers = [
            *range(first_input, first_input + count),
            *range(first_result, first_result + _results(one)),
        ]
        layers += [
            replace(layer, inputs=tuple(numbers[value] for value in layer.inputs))
            for layer in one.layers
        ]
        first_input += count
        first_result += _results(one)
    return Configuration(inputs, tuple(layers))


def _results(configuration: Configuration) -> int:
    return len(value_shapes(configuration)) - len(configuration.inputs)


@dataclass(frozen=True)
class Operand:
    """One operand of a layer, in the order of TFLite.

    Attributes:
        role: a value of the network, which constant, which state that is kept from step to step, or
            an optional operand that is absent. The first ``bias`` is added to the products of the
            first ``weights``, and so on; ``recurrent`` weights multiply the layer's own result of
            the step before.
        shape: outermost dimension first; empty for one that is absent.
        value: number of the value.
        numbers: elements of ``indices``, flattened.
        axis: of ``weights``: the dimension that may have a scale for each index, or None.
    """

    role: Literal[
        "value",
        "weights",
        "recurrent",
        "bias",
        "constant",
        "indices",
        "hidden_state",
        "cell_state",
        "absent",
    ]
    shape: Shape
    value: int = -1
    numbers: tuple[int, ...] = ()
    axis: int | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the model holds its elements."""
        return self.role not in ("value", "hidden_state", "cell_state", "absent")


def value_shapes(configuration: Configuration) -> tuple[Shape, ...]:
    """Shapes of all values: of the inputs, then of the results of the layers."""
    shapes = [each.shape for each in configuration.inputs]
    for layer in configuration.layers:
        shapes.extend(result_shapes(layer, [shapes[i] for i in layer.inputs]))
    return tuple(shapes)


def result_shapes(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    """Shapes of a layer's results, from those of the values it reads."""
    rule = _RESULTS.get(layer.kind)
    return (shapes[0],) if rule is None else rule(layer, shapes)


def operands(layer: Layer, shapes: Sequence[Shape]) -> tuple[Operand, ...]:
    """A layer's operands, constants included, from the shapes of the values it reads."""
    values = tuple(
        Operand("value", shape, value) for value, shape in zip(layer.inputs, shapes, strict=True)
    )
    rule = _OPERANDS.get(layer.kind)
    return values if rule is None else rule(layer, values)


def layer_macs(layer: Layer, shapes: Sequence[Shape]) -> int:
    """Multiply-accumulates of a layer; 0 for kinds that are not made of them."""
    read = operands(layer, shapes)
    inputs = [
        None if operand.role == "absent" else _tensor(operand.shape, place)
        for place, operand in enumerate(read)
    ]
    results = [_tensor(shape) for shape in result_shapes(layer, shapes)]
    parameters = {place for place, operand in enumerate(read) if operand.is_constant}
    return macs(layer.kind, inputs, results, parameters)


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }


def _tensor(shape: Shape, index: int = -1) -> Tensor:
    return Tensor(index, "", shape, "int8", None, False, False, 0, False)


def _window(layer: Layer, shape: Shape) -> tuple[int, int]:
    """Height and width of what a window leaves of a feature map."""
    height, width = (
        math.ceil(
            (size - (0 if layer.padding == "same" else (extent - 1) * layer.dilation))
            / layer.stride
        )
        for size, extent in zip(shape[1:3], layer.kernel, strict=True)
    )
    return height, width


def _convolved(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    return ((shapes[0][0], *_window(layer, shapes[0]), layer.channels),)


def _pooled(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    return ((shapes[0][0], *_window(layer, shapes[0]), shapes[0][3]),)


def _transpose_convolved(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    lost = (0, 0) if layer.padding == "same" else (k - layer.stride for k in layer.kernel)
    height, width = (
        size * layer.stride + max(more, 0) for size, more in zip(shapes[0][1:3], lost, strict=True)
    )
    return ((shapes[0][0], height, width, layer.channels),)


def _broadcast(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    second = shapes[1] if layer.constant is None else layer.constant
    rank = max(len(shapes[0]), len(second))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in (shapes[0], second)]
    return (tuple(max(a, b) for a, b in zip(*padded, strict=True)),)


def _averaged(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    batch, _, _, channels = shapes[0]
    return ((batch, 1, 1, channels) if layer.keep_dims else (batch, channels),)


def _padded(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    pairs = zip(layer.numbers[::2], layer.numbers[1::2], strict=True)
    return (tuple(n + sum(pair) for n, pair in zip(shapes[0], pairs, strict=True)),)


def _resized(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    return ((shapes[0][0], *layer.numbers, shapes[0][3]),)


def _concatenated(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    (axis,) = layer.numbers
    joined = sum(shape[axis] for shape in shapes)
    return ((*shapes[0][:axis], joined, *shapes[0][axis + 1 :]),)


def _split(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    axis, parts = layer.numbers
    part = (*shapes[0][:axis], shapes[0][axis] // parts, *shapes[0][axis + 1 :])
    return (part,) * parts


def _sliced(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    rank = len(shapes[0])
    begin, end = layer.numbers[:rank], layer.numbers[rank:]
    return (tuple(b - a for a, b in zip(begin, end, strict=True)),)


def _reduced(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    (axis,) = layer.numbers
    return ((*shapes[0][:axis], *shapes[0][axis + 1 :]),)


def _unpacked(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    (block,) = layer.numbers
    batch, height, width, channels = shapes[0]
    return ((batch, height * block, width * block, channels // block**2),)


def _multiplied(layer: Layer, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    columns = shapes[1][-2] if layer.transposed else shapes[1][-1]
    return ((*shapes[0][:-1], columns),)


_RESULTS: Mapping[str, Callable[[Layer, Sequence[Shape]], tuple[Shape, ...]]] = {
    "conv2d": _convolved,
    "depthwise_conv2d": _pooled,
    "transpose_conv2d": _transpose_convolved,
    "max_pool2d": _pooled,
    "average_pool2d": _pooled,
    "fully_connected": lambda layer, shapes: ((shapes[0][0], layer.channels),),
    "unidirectional_sequence_lstm": lambda layer, shapes: ((*shapes[0][:-1], layer.channels),),
    "batch_matmul": _multiplied,
    "add": _broadcast,
    "mul": _broadcast,
    "sub": _broadcast,
    "div": _broadcast,
    "mean": _averaged,
    "pad": _padded,
    "reshape": lambda layer, shapes: (layer.numbers,),
    "resize_bilinear": _resized,
    "resize_nearest_neighbor": _resized,
    "concatenation": _concatenated,
    "split": _split,
    "strided_slice": _sliced,
    "depth_to_space": _unpacked,
    "arg_max": _reduced,
    "transpose": lambda layer, shapes: (tuple(shapes[0][i] for i in layer.numbers),),
}


_ABSENT = Operand("absent", ())


def _weighted(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    (data,) = values
    axis = _CHANNEL_AXES[layer.kind]
    depth, units = data.shape[-1], layer.channels
    weights = Operand("weights", (units, *layer.kernel, depth), axis=axis)
    if layer.kind == "depthwise_conv2d":
        units = depth
        weights = Operand("weights", (1, *layer.kernel, depth), axis=axis)
    elif layer.kind == "fully_connected":
        weights = Operand("weights", (units, depth), axis=axis)
    elif layer.kind == "transpose_conv2d":
        (result,) = _transpose_convolved(layer, [data.shape])
        return (_indices(result), weights, data)
    return (data, weights, Operand("bias", (units,)) if layer.bias else _ABSENT)


def _recurrent(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    """Operands of a Keras LSTM: one of each for the input, forget, cell and output gates.

    It has no peepholes, no projection and no normalisation of its gates.
    """
    (data,) = values
    batch, _, features = data.shape
    units = layer.channels
    return (
        data,
        *[Operand("weights", (units, features))] * 4,
        *[Operand("recurrent", (units, units))] * 4,
        *[_ABSENT] * 3,
        *[Operand("bias", (units,))] * 4,
        *[_ABSENT] * 2,
        Operand("hidden_state", (batch, units)),
        Operand("cell_state", (batch, units)),
        *[_ABSENT] * 4,
    )


def _indices(numbers: tuple[int, ...], shape: Shape | None = None) -> Operand:
    return Operand("indices", (len(numbers),) if shape is None else shape, numbers=numbers)


def _with_constant(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    constant = () if layer.constant is None else (Operand("constant", layer.constant),)
    return (*values, *constant)


def _with_slopes(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    # One slope for each channel.
    return (*values, Operand("constant", (1, 1, values[0].shape[-1])))


def _with_numbers(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    return (*values, _indices(layer.numbers))


def _with_bounds(layer: Layer, values: Sequence[Operand]) -> tuple[Operand, ...]:
    rank = len(values[0].shape)
    begin, end = layer.numbers[:rank], layer.numbers[rank:]
    return (*values, _indices(begin), _indices(end), _indices((1,) * rank))


_OPERANDS: Mapping[str, Callable[[Layer, Sequence[Operand]], tuple[Operand, ...]]] = {
    **dict.fromkeys(_CHANNEL_AXES, _weighted),
    "unidirectional_sequence_lstm": _recurrent,
    **dict.fromkeys(("add", "mul", "sub", "div"), _with_constant),
    "prelu": _with_slopes,
    "mean": lambda layer, values: (*values, _indices((1, 2))),
    "pad": lambda layer, values: (*values, _indices(layer.numbers, (len(layer.numbers) // 2, 2))),
    "reshape": _with_numbers,
    "resize_bilinear": _with_numbers,
    "resize_nearest_neighbor": _with_numbers,
    "transpose": _with_numbers,
    "split": lambda layer, values: (_indices(layer.numbers[:1], ()), *values),
    "arg_max": lambda layer, values: (*values, _indices(layer.numbers, ())),
    "strided_slice": _with_bounds,
}
