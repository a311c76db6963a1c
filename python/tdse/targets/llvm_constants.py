"""Sparse constants of an operator, written out: TVM's importer cannot read them.

A converter stores sparse weights compressed, and puts DENSIFY before the operators that read them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.unpack import buffer_view
from tdse.graph.writer import AlignedBuffer, pack_model
from tdse.runtime.litert import run_litert


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
    try:
        # XNNPACK refuses a model that has no inputs.
        values = run_litert(_alone(data, made), [], reference_kernels=True)
    except (RuntimeError, ValueError) as error:
        raise TargetError("LiteRT cannot compute a constant", why=str(error)) from None
    main.operators = [last]
    for tensor, value in zip(made, values, strict=True):
        main.tensors[tensor].buffer = len(model.buffers)
        model.buffers.append(AlignedBuffer(memoryview(value.tobytes())))
    return pack_model(model)


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
