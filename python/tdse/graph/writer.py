"""Write a ``.tflite`` file from tensors and operators as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from .kinds import BUILTIN_NAMES, DTYPES, kind_of
from .model import Quantization
from .verify import IDENTIFIER

# Schema: Buffer.data is declared force_align: 16, which the Python object API does not obey.
_BUFFER_ALIGNMENT = 16

# Schema: the field `deprecated_builtin_code` is a byte; larger codes are marked by this value.
_LARGEST_BYTE_CODE = 127

_CODES: Mapping[str, int] = {kind_of(name): code for code, name in BUILTIN_NAMES.items()}
_TYPES: Mapping[str, int] = {name: code for code, (name, _) in DTYPES.items()}


@dataclass(frozen=True, eq=False)
class NewTensor:
    """One tensor to write: a constant where ``data``, of the same shape and type, is given.

    A variable one keeps its value from one run to the next.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: npt.NDArray[Any] | None = None
    is_variable: bool = False


@dataclass(frozen=True, eq=False)
class NewOp:
    """One operator to write.

    Attributes:
        kind: the field's term of a builtin operator, see ``kind_of``.
        version: of the operator.
        inputs: positions in the list of tensors; -1 for an optional input that is not given.
        outputs: positions in the list of tensors.
        options: one of the schema's ``...OptionsT`` objects, or None.
        intermediates: positions in the list of tensors, of those that only say how values inside
            the operator are quantised.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: object | None = None
    intermediates: tuple[int, ...] = ()


def write_model(
    tensors: Sequence[NewTensor],
    ops: Sequence[NewOp],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> bytes:
    """The flatbuffer of a model; equal arguments give equal bytes.

    Args:
        tensors: all tensors.
        ops: in the order in which they run.
        inputs: of the model, positions in ``tensors``.
        outputs: likewise.
    """
    # Buffer 0 is the shared empty one by convention.
    buffers = [AlignedBuffer(memoryview(b""))]
    codes: dict[tuple[str, int], int] = {}
    subgraph = schema.SubGraphT(
        name="main",
        tensors=[_tensor(tensor, buffers) for tensor in tensors],
        operators=[_operator(op, codes) for op in ops],
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
    )
    model = schema.ModelT(
        version=3,
        operatorCodes=[_operator_code(*code) for code in codes],
        subgraphs=[subgraph],
        buffers=buffers,
    )
    return pack_model(model)


class AlignedBuffer:
    """A schema buffer that packs a view of bytes with the alignment of the schema."""

    def __init__(self, value: memoryview) -> None:
        self._value = value

    @property
    def size_bytes(self) -> int:
        """Bytes of its content."""
        return self._value.nbytes

    def Pack(self, builder: Any) -> int:
        """Write the buffer, by the name that the object API calls."""
        size = len(self._value)
        if not size:
            schema.BufferStart(builder)
            return int(schema.BufferEnd(builder))
        builder.StartVector(1, size, _BUFFER_ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = self._value
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def pack_model(model: schema.ModelT) -> bytes:
    """The flatbuffer of a schema model whose buffers are all ``AlignedBuffer``."""
    subgraph = model.subgraphs[0]
    # About the size of what is not constant, so that the builder need not grow.
    tables = 1024 + 256 * len(subgraph.tensors) + 256 * len(subgraph.operators)
    constants = sum(buffer.size_bytes + 2 * _BUFFER_ALIGNMENT for buffer in model.buffers)
    builder = flatbuffers.Builder(tables + constants)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def _tensor(new: NewTensor, buffers: list[AlignedBuffer]) -> schema.TensorT:
    tensor = schema.TensorT(
        name=new.name.encode(),
        shape=np.array(new.shape, np.int32),
        type=_TYPES[new.dtype],
        hasRank=True,
        isVariable=new.is_variable,
    )
    if new.data is not None:
        tensor.buffer = len(buffers)
        buffers.append(AlignedBuffer(memoryview(np.ascontiguousarray(new.data).tobytes())))
    if new.quantization is not None:
        tensor.quantization = schema.QuantizationParametersT(
            scale=np.array(new.quantization.scales, np.float32),
            zeroPoint=np.array(new.quantization.zero_points, np.int64),
            quantizedDimension=new.quantization.axis,
        )
    return tensor


def _operator(new: NewOp, codes: dict[tuple[str, int], int]) -> schema.OperatorT:
    operator = schema.OperatorT(
        opcodeIndex=codes.setdefault((new.kind, new.version), len(codes)),
        inputs=np.array(new.inputs, np.int32),
        outputs=np.array(new.outputs, np.int32),
    )
    if new.intermediates:
        operator.intermediates = np.array(new.intermediates, np.int32)
    if new.options is not None:
        operator.builtinOptions = new.options
        table = type(new.options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
    return operator


def _operator_code(kind: str, version: int) -> schema.OperatorCodeT:
    code = _CODES[kind]
    return schema.OperatorCodeT(
        builtinCode=code,
        deprecatedBuiltinCode=min(code, _LARGEST_BYTE_CODE),
        version=version,
    )
