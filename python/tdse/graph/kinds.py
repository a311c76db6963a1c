"""Names, element types, attributes and arithmetic of TFLite operators in the field's terms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from .model import AttributeValue, Tensor

# Schema enumeration TensorType: numpy's name (ml_dtypes' where numpy has none) and bits of one
# element; 0 bits where the size is not fixed.
DTYPES: Mapping[int, tuple[str, int]] = {
    schema.TensorType.FLOAT32: ("float32", 32),
    schema.TensorType.FLOAT16: ("float16", 16),
    schema.TensorType.INT32: ("int32", 32),
    schema.TensorType.UINT8: ("uint8", 8),
    schema.TensorType.INT64: ("int64", 64),
    schema.TensorType.STRING: ("string", 0),
    schema.TensorType.BOOL: ("bool", 8),
    schema.TensorType.INT16: ("int16", 16),
    schema.TensorType.COMPLEX64: ("complex64", 64),
    schema.TensorType.INT8: ("int8", 8),
    schema.TensorType.FLOAT64: ("float64", 64),
    schema.TensorType.COMPLEX128: ("complex128", 128),
    schema.TensorType.UINT64: ("uint64", 64),
    schema.TensorType.RESOURCE: ("resource", 0),
    schema.TensorType.VARIANT: ("variant", 0),
    schema.TensorType.UINT32: ("uint32", 32),
    schema.TensorType.UINT16: ("uint16", 16),
    schema.TensorType.INT4: ("int4", 4),
    schema.TensorType.BFLOAT16: ("bfloat16", 16),
    schema.TensorType.INT2: ("int2", 2),
    schema.TensorType.UINT4: ("uint4", 4),
    schema.TensorType.FLOAT8_E4M3FN: ("float8_e4m3fn", 8),
    schema.TensorType.FLOAT8_E5M2: ("float8_e5m2", 8),
}

BUILTIN_NAMES: Mapping[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}

# Option fields that hold a value of an enumeration of the schema.
_ENUMERATIONS: Mapping[str, type] = {
    "padding": schema.Padding,
    "fusedActivationFunction": schema.ActivationFunctionType,
    "weightsFormat": schema.FullyConnectedOptionsWeightsFormat,
    "kernelType": schema.LSTMKernelType,
    "combiner": schema.CombinerType,
    "mode": schema.MirrorPadMode,
    "reduceFunction": schema.ReduceWindowFunction,
    "comparisonDirection": schema.StablehloComparisonDirection,
    "compareType": schema.StablehloComparisonType,
    "algorithm": schema.RngAlgorithm,
    "type": schema.LSHProjectionType,
}
_ELEMENT_TYPES = frozenset(
    {
        "quantizedBiasType",
        "inDataType",
        "outDataType",
        "outputType",
        "outType",
        "idxOutType",
        "keyDtype",
        "valueDtype",
    }
)
# The same field name holds explicit paddings in these tables.
_PADDING_VECTOR = ("StablehloConvolutionOptionsT", "StablehloReduceWindowOptionsT")


def kind_of(tflite_name: str) -> str:
    """The field's term for a schema name: ``CONV_2D`` becomes ``conv2d``.

    Custom operators' names become snake case: ``TransformLandmarks`` becomes
    ``transform_landmarks``.
    """
    if tflite_name == "TRANSPOSE_CONV":
        return "transpose_conv2d"
    name = tflite_name
    if name != name.upper():
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name)
        name = re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return re.sub(r"_([23]d)(?=_|$)", r"\1", name)


def size_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor, packed for types under 8 bit; 0 where the type has no fixed size.

    A dimension that is not known counts as 1.
    """
    bits = _BITS[dtype]
    return (math.prod(1 if size < 0 else size for size in shape) * bits + 7) // 8


def attributes_of(options: object) -> dict[str, AttributeValue]:
    """A schema options object as plain values; names in snake case, enumerations by name.

    Args:
        options: an object of the schema's object API, for example ``Conv2DOptionsT``.

    Raises:
        ValueError: an enumeration has a value that the schema does not define.
    """
    explicit_padding = type(options).__name__ in _PADDING_VECTOR
    result: dict[str, AttributeValue] = {}
    for field, value in vars(options).items():
        name = re.sub(r"(?=[A-Z])", "_", field).lower()
        if value is None:
            continue
        if field in _ENUMERATIONS and not (field == "padding" and explicit_padding):
            result[name] = _enumerator(_ENUMERATIONS[field], value, name)
        elif field in _ELEMENT_TYPES:
            if value not in DTYPES:
                raise ValueError(f"{name} has the unknown element type {value}")
            result[name] = DTYPES[value][0]
        elif isinstance(value, bytes):
            result[name] = value.decode("utf-8", errors="replace")
        elif isinstance(value, bool | int | float):
            result[name] = value
        else:
            result[name] = tuple(value.tolist() if hasattr(value, "tolist") else value)
    return result


def macs(
    kind: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    parameters: Collection[int],
) -> int:
    """Multiply-accumulates of one run; 0 for kinds that are not made of them.

    Operators whose shapes are not known, or do not fit their kind, count 0 as well: a cost model
    takes the number as a hint, and the kernel is the judge of the shapes.

    Args:
        kind: the field's term, see ``kind_of``.
        inputs: operands; None for an optional one that is not given.
        outputs: results.
        parameters: indices of the tensors that the model holds.
    """
    counter = _MACS.get(kind)
    if counter is None or any(t is not None and t.is_dynamic for t in (*inputs, *outputs)):
        return 0
    try:
        return counter(_Operands(inputs, outputs, parameters))
    except _MisfitError:
        return 0


_BITS: Mapping[str, int] = dict(DTYPES.values())


class _MisfitError(Exception):
    """An operand is missing or has the wrong rank."""


@dataclass(frozen=True)
class _Operands:
    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]
    parameters: Collection[int]

    def input(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        return _shape(self.inputs, index, rank)

    def output(self, rank: int | None = None) -> tuple[int, ...]:
        return _shape(self.outputs, 0, rank)


def _shape(tensors: Sequence[Tensor | None], index: int, rank: int | None) -> tuple[int, ...]:
    tensor = tensors[index] if index < len(tensors) else None
    if tensor is None or rank not in (None, len(tensor.shape)):
        raise _MisfitError
    return tensor.shape


def _enumerator(enumeration: type, value: int, name: str) -> str:
    for key, number in vars(enumeration).items():
        if isinstance(number, int) and number == value:
            return key.lower()
    raise ValueError(f"{name} has the unknown value {value}")


def _conv2d(op: _Operands) -> int:
    # Filter [out, height, width, in of one group].
    return math.prod(op.output(4)) * math.prod(op.input(1, 4)[1:])


def _depthwise_conv2d(op: _Operands) -> int:
    # Filter [1, height, width, out].
    _, height, width, _ = op.input(1, 4)
    return math.prod(op.output(4)) * height * width


def _transpose_conv2d(op: _Operands) -> int:
    # Operands: output shape, filter [out, height, width, in], input.
    return math.prod(op.input(2, 4)) * math.prod(op.input(1, 4)[:3])


def _transpose_conv2d_bias(op: _Operands) -> int:
    # MediaPipe's custom operator. Operands: input, filter [out, height, width, in], bias.
    return math.prod(op.input(0, 4)) * math.prod(op.input(1, 4)[:3])


def _conv3d(op: _Operands) -> int:
    # Filter [depth, height, width, in, out].
    return math.prod(op.output(5)) * math.prod(op.input(1, 5)[:4])


def _conv3d_transpose(op: _Operands) -> int:
    # Operands: output shape, filter [depth, height, width, out, in], input.
    return math.prod(op.input(2, 5)) * math.prod(op.input(1, 5)[:4])


def _fully_connected(op: _Operands) -> int:
    # Filter [units, depth]; the input is read as [batch, depth], whatever its rank.
    return math.prod(op.input(0)) * op.input(1, 2)[0]


def _batch_matmul(op: _Operands) -> int:
    left, product = op.input(0), op.output()
    if min(len(left), len(product)) < 2 or not product[-2]:
        raise _MisfitError
    # Whether the left operand is transposed depends on adj_x; the elements of one of its matrices
    # over the rows of the product are the common dimension either way.
    return math.prod(product) * (left[-1] * left[-2] // product[-2])


def _recurrent(op: _Operands) -> int:
    # Every matrix among the parameters is multiplied once for each time step of each sequence;
    # biases and peepholes are vectors. The input's last dimension is its features.
    steps = math.prod(op.input(0)[:-1])
    return steps * sum(
        math.prod(tensor.shape)
        for tensor in op.inputs[1:]
        if tensor is not None and len(tensor.shape) == 2 and tensor.index in op.parameters
    )


_MACS: Mapping[str, Callable[[_Operands], int]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "transpose_conv2d": _transpose_conv2d,
    "convolution2d_transpose_bias": _transpose_conv2d_bias,
    "conv3d": _conv3d,
    "conv3d_transpose": _conv3d_transpose,
    "fully_connected": _fully_connected,
    "batch_matmul": _batch_matmul,
    "lstm": _recurrent,
    "rnn": _recurrent,
    "svdf": _recurrent,
    "unidirectional_sequence_lstm": _recurrent,
    "unidirectional_sequence_rnn": _recurrent,
    "bidirectional_sequence_lstm": _recurrent,
    "bidirectional_sequence_rnn": _recurrent,
}
