"""Tensors and operators as plain data, packed into the bytes of a ``.tflite`` file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
# The schema asks for this (`force_align`), so that weights can be used where they lie.
BUFFER_ALIGNMENT = 16
# `deprecated_builtin_code` is a byte: larger codes are marked by this value.
LARGEST_BYTE_CODE = 127


@dataclass(frozen=True)
class Tensor:
    """One tensor: a constant where ``data`` is given.

    Attributes:
        name: as it is written into the model.
        shape: dimensions, outermost first.
        dtype: lower-case name of the schema's ``TensorType``, for example ``int8``, ``resource``.
        data: the value of a constant, of the same shape and type.
        scales: quantisation scales: none, one, or one for each index of ``axis``.
        zero_points: as many as ``scales``.
        axis: dimension that ``scales`` run along.
        is_variable: the tensor keeps its value from one run to the next.
        shape_signature: the shape with -1 where a dimension is not known, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: np.ndarray[Any, Any] | None = None
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    is_variable: bool = False
    shape_signature: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        code: the schema's name, for example ``CONV_2D``, or a number that need not be in it.
        inputs: indices of tensors; -1 for an optional input that is not given.
        outputs: indices of tensors.
        options: one of the schema's ``...OptionsT`` objects, or None.
        version: operator version.
        custom_name: name of a ``CUSTOM`` operator.
        custom_options: bytes that a ``CUSTOM`` operator carries.
    """

    code: str | int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: object | None = None
    version: int = 1
    custom_name: str = ""
    custom_options: bytes = b""


@dataclass(frozen=True)
class Subgraph:
    """Tensors, operators in the order they run, and the indices of what goes in and out."""

    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str = "main"


@dataclass(frozen=True)
class Signature:
    """Names that a caller may use for the first subgraph's inputs and outputs, in their order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    key: str = "serving_default"


def write_model(
    subgraphs: Sequence[Subgraph], *, signature: Signature | None = None, description: str = ""
) -> bytes:
    """Packs subgraphs into the bytes of a ``.tflite`` file; equal arguments give equal bytes."""
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.description = description
    model.buffers = [_AlignedBuffer(b"")]
    codes: dict[tuple[int, int, str], int] = {}
    model.subgraphs = [_subgraph(spec, codes, model.buffers) for spec in subgraphs]
    model.operatorCodes = [_operator_code(*code) for code in codes]
    if signature is not None:
        model.signatureDefs = [_signature(signature, subgraphs[0])]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer aligned as the schema asks, which the generated Python code does not do."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: flatbuffers.Builder) -> int:
        vector = None
        if self.content:
            builder.StartVector(1, len(self.content), BUFFER_ALIGNMENT)
            builder.head = builder.Head() - len(self.content)
            builder.Bytes[builder.Head() : builder.Head() + len(self.content)] = self.content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _subgraph(
    spec: Subgraph, codes: dict[tuple[int, int, str], int], buffers: list[Any]
) -> schema.SubGraphT:
    subgraph = schema.SubGraphT()
    subgraph.name = spec.name
    subgraph.tensors = [_tensor(tensor, buffers) for tensor in spec.tensors]
    subgraph.operators = [_operator(operator, codes) for operator in spec.operators]
    subgraph.inputs = _indices(spec.inputs)
    subgraph.outputs = _indices(spec.outputs)
    return subgraph


def _tensor(spec: Tensor, buffers: list[Any]) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name = spec.name
    tensor.shape = _indices(spec.shape)
    tensor.hasRank = True
    tensor.type = getattr(schema.TensorType, spec.dtype.upper())
    tensor.isVariable = spec.is_variable
    if spec.shape_signature is not None:
        tensor.shapeSignature = _indices(spec.shape_signature)
    if spec.data is not None:
        if spec.data.shape != spec.shape or spec.data.dtype != np.dtype(spec.dtype):
            raise ValueError(
                f"{spec.name}: data is {spec.data.dtype}{spec.data.shape}, "
                f"the tensor is {spec.dtype}{spec.shape}"
            )
        tensor.buffer = len(buffers)
        buffers.append(_AlignedBuffer(np.ascontiguousarray(spec.data).tobytes()))
    if spec.scales:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array(spec.scales, np.float32)
        tensor.quantization.zeroPoint = np.array(spec.zero_points, np.int64)
        tensor.quantization.quantizedDimension = spec.axis
    return tensor


def _operator(spec: Operator, codes: dict[tuple[int, int, str], int]) -> schema.OperatorT:
    code = spec.code if isinstance(spec.code, int) else getattr(schema.BuiltinOperator, spec.code)
    operator = schema.OperatorT()
    operator.opcodeIndex = codes.setdefault((code, spec.version, spec.custom_name), len(codes))
    operator.inputs = _indices(spec.inputs)
    operator.outputs = _indices(spec.outputs)
    if spec.options is not None:
        operator.builtinOptions = spec.options
        table = type(spec.options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
    if spec.custom_options:
        operator.customOptions = np.frombuffer(spec.custom_options, np.uint8)
    return operator


def _operator_code(code: int, version: int, custom_name: str) -> schema.OperatorCodeT:
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = code
    operator_code.deprecatedBuiltinCode = min(code, LARGEST_BYTE_CODE)
    operator_code.version = version
    operator_code.customCode = custom_name or None
    return operator_code


def _signature(names: Signature, subgraph: Subgraph) -> schema.SignatureDefT:
    signature = schema.SignatureDefT()
    signature.signatureKey = names.key
    signature.subgraphIndex = 0
    signature.inputs = _tensor_maps(names.inputs, subgraph.inputs)
    signature.outputs = _tensor_maps(names.outputs, subgraph.outputs)
    return signature


def _tensor_maps(names: Sequence[str], tensors: Sequence[int]) -> list[schema.TensorMapT]:
    maps = []
    for name, tensor in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name = name
        entry.tensorIndex = tensor
        maps.append(entry)
    return maps


def _indices(values: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, np.int32)
