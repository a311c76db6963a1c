"""Constants of an operator as it reads them.

A converter may store weights as float16 or compressed, and puts DEQUANTIZE or DENSIFY before the
operators that read them. Kernels of our own are given what LiteRT makes of these; TVM's importer
reads the first kind by itself, and is given the second written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tdse.errors import TargetError
from tdse.graph.model import Graph, Op
from tdse.graph.slice import slice_model
from tdse.graph.unpack import buffer_view, constant_bytes
from tdse.graph.writer import AlignedBuffer, pack_model
from tdse.runtime.litert import run_litert


def has_constant_parameters(graph: Graph, op: Op) -> bool:
    """Whether the first operand is computed, and all others that are given are constant."""
    first, *others = (t for t in op.inputs if t >= 0)
    return not graph.is_constant(first) and all(map(graph.is_constant, others))


def constant_operand(graph: Graph, op: Op, position: int) -> npt.NDArray[Any]:
    """The value of an operand that ``Graph.is_constant``, in the tensor's shape and type.

    Args:
        graph: the model.
        op: reads it.
        position: in ``op.inputs``.

    Raises:
        TargetError: LiteRT cannot run the constant operators that make it.
    """
    known = graph.tensors[op.inputs[position]]
    if known.is_constant:
        value = np.frombuffer(constant_bytes(graph, known.index), known.dtype)
        return value.reshape(known.shape)
    data = slice_model(graph, (op.index,)).data
    reader = _unpacked(data).subgraphs[0].operators[-1]
    return _computed(data, [int(reader.inputs[position])])[0]


def has_sparse_constants(graph: Graph, op_index: int) -> bool:
    """Whether a constant of the operator passes through DENSIFY."""
    waiting = [op_index]
    while waiting:
        for tensor in graph.ops[waiting.pop()].inputs:
            source = graph.producer.get(tensor, -1)
            if source not in graph.constant_ops:
                continue
            if graph.ops[source].kind == "densify":
                return True
            waiting.append(source)
    return False


def with_plain_constants(data: bytes) -> bytes:
    """The slice of one operator, its constant operators replaced by what LiteRT makes of them.

    Before and after, ``w`` and ``v`` constants::

        w -> DENSIFY -> v -> CONV_2D, x -> CONV_2D -> y        v -> CONV_2D, x -> CONV_2D -> y

    Raises:
        TargetError: LiteRT cannot run the constant operators.
    """
    model = _unpacked(data)
    main = model.subgraphs[0]
    *constant, last = main.operators
    read = {int(t) for t in last.inputs}
    made = [int(t) for operator in constant for t in operator.outputs if int(t) in read]
    main.operators = [last]
    for tensor, value in zip(made, _computed(data, made), strict=True):
        main.tensors[tensor].buffer = len(model.buffers)
        model.buffers.append(AlignedBuffer(memoryview(value.tobytes())))
    return pack_model(model)


def _computed(data: bytes, tensors: list[int]) -> list[npt.NDArray[Any]]:
    """What the constant operators of the slice of one operator make.

    Raises:
        TargetError: LiteRT cannot run them.
    """
    try:
        # XNNPACK refuses a model that has no inputs.
        return run_litert(_alone(data, tensors), [], reference_kernels=True)
    except (RuntimeError, ValueError) as error:
        raise TargetError("LiteRT cannot compute a constant", why=str(error)) from None


def _alone(data: bytes, outputs: list[int]) -> bytes:
    """The model without its last operator; it has no inputs."""
    model = _unpacked(data)
    main = model.subgraphs[0]
    main.operators = main.operators[:-1]
    main.inputs, main.outputs = np.array([], np.int32), np.array(outputs, np.int32)
    model.signatureDefs = []
    return pack_model(model)


def _unpacked(data: bytes) -> Any:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    model.buffers = [AlignedBuffer(buffer_view(data, buffer)) for buffer in model.buffers]
    return model
