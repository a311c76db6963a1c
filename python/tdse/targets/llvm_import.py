"""TVM's own import of single operators."""

from __future__ import annotations

import flatbuffers
import tflite
import tvm
from ai_edge_litert import schema_py_generated as schema
from tvm.relax.frontend.tflite import from_tflite

from tdse.errors import ModelError, TargetError
from tdse.graph.model import Graph
from tdse.graph.slice import Slice, slice_model

from .quiet import quiet_stderr

# What the importer raises where it meets something that it was not written for. It has no error
# of its own, so this is every kind of error that stems from a value.
IMPORT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def import_op(graph: Graph, op_index: int) -> tvm.IRModule:
    """The Relax module of one operator.

    Returns:
        A module whose function ``main`` takes the inputs of the operator's slice and returns its
        outputs, as a tuple if there are several.

    Raises:
        TargetError: TVM cannot import the operator; ``why`` is the importer's reason.
    """
    op = graph.ops[op_index]
    what = f"TVM cannot import op {op.label}"
    for tensor in (graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0):
        if tensor.is_dynamic:
            raise TargetError(
                what, where=graph.name, why=f"the shape of {tensor.name!r} is not known"
            )
        if tensor.is_variable:
            raise TargetError(what, where=graph.name, why="it keeps a state between runs")
    try:
        piece = slice_model(graph, [op_index])
    except ModelError as error:
        raise TargetError(what, where=graph.name, why=error.why) from error
    data = piece.data if _names_are_unique(graph, op_index) else _with_unique_names(piece)
    # A failed import leaves a block builder behind, which logs a warning when it is destroyed.
    with quiet_stderr():
        try:
            return from_tflite(tflite.Model.GetRootAsModel(data, 0))
        except IMPORT_ERRORS as error:
            reason = reason_of(error)
    raise TargetError(what, where=graph.name, why=reason)


def reason_of(error: BaseException) -> str:
    """What an exception of TVM says, in one line without traces and check expressions."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("File ", "Traceback"))]
    text = lines[-1] if lines else type(error).__name__
    for prefix in ("Check failed: ", "InternalError: "):
        text = text.removeprefix(prefix)
    return text if isinstance(error, RuntimeError) or " " in text else f"TVM fails on {text}"


def op_border(graph: Graph, ops: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tensors that enter and leave a set of operators, in the order of their slice.

    Args:
        graph: the model; it need not stem from a flatbuffer.
        ops: operator indices, ascending.
    """
    inside = set(ops)
    produced = [t for op in ops for t in graph.ops[op].outputs if t >= 0]
    inputs = {
        t: None
        for op in ops
        for t in graph.ops[op].inputs
        if t >= 0
        and graph.producer.get(t, -1) not in inside | graph.constant_ops
        and not graph.tensors[t].is_constant
        and not graph.tensors[t].is_variable
    }
    outputs = {t: None for t in graph.outputs if t in produced}
    for t in produced:
        if any(reader not in inside for reader in graph.consumers.get(t, ())):
            outputs[t] = None
    if not outputs:
        outputs = {t: None for t in produced if not graph.consumers.get(t)}
    return tuple(inputs), tuple(outputs)


def _names_are_unique(graph: Graph, op_index: int) -> bool:
    """The importer tells tensors apart by name."""
    op = graph.ops[op_index]
    tensors = {t for t in (*op.inputs, *op.outputs) if t >= 0}
    for tensor in op.inputs:
        source = graph.producer.get(tensor, -1)
        if source in graph.constant_ops:
            tensors.update(t for t in graph.ops[source].inputs if t >= 0)
    names = {graph.tensors[t].name for t in tensors}
    return len(names) == len(tensors) and "" not in names


def _with_unique_names(piece: Slice) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(piece.data, 0))
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"t{index}"
    builder = flatbuffers.Builder(len(piece.data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
