"""TVM's own import of single operators."""

from __future__ import annotations

import gc
import math
from typing import Any

import flatbuffers
import numpy as np
import tflite
import tvm
import tvm_ffi
from ai_edge_litert import schema_py_generated as schema
from tvm import relax
from tvm.relax.frontend.tflite import from_tflite

from tdse.errors import ModelError, TargetError
from tdse.graph.border import op_border
from tdse.graph.model import Graph, Op, Tensor
from tdse.graph.slice import slice_model
from tdse.graph.unpack import constant_bytes
from tdse.lifted.bodies import ir_body
from tdse.quiet import quiet_stderr

from .llvm_constants import has_sparse_constants, with_plain_constants
from .llvm_inline import Inliner, UnsupportedError, check_types, tensor_type, variable
from .tvm_errors import IMPORT_ERRORS, reason_of

# Kinds that only move, choose or compare elements, so that they do the same to stored integers as
# to the real numbers these stand for, as long as all their tensors are quantised alike. TVM
# refuses most of them for quantised tensors, and computes the others in float32.
_MOVING = frozenset(
    {
        "arg_max",
        "arg_min",
        "depth_to_space",
        "expand_dims",
        "gather",
        "gather_nd",
        "max_pool2d",
        "maximum",
        "minimum",
        "mirror_pad",
        "pack",
        "reduce_max",
        "reduce_min",
        "reshape",
        "resize_nearest_neighbor",
        "reverse_v2",
        "select",
        "select_v2",
        "slice",
        "space_to_depth",
        "split",
        "split_v",
        "squeeze",
        "strided_slice",
        "tile",
        "topk_v2",
        "transpose",
        "unpack",
    }
)

# Calls that LegalizeOps leaves and that compile; any other is of an operator that TVM imports but
# has no code for.
_LOWERED = frozenset({"relax.call_tir", "relax.call_dps_packed", "relax.call_pure_packed"})


def import_op(graph: Graph, op_index: int) -> tvm.IRModule:
    """The Relax module of one operator.

    Returns:
        A module whose function ``main`` takes the inputs of the operator's slice and returns its
        outputs, as a tuple if there are several.

    Raises:
        TargetError: TVM cannot import the operator; ``why`` is the importer's reason.
    """
    if graph.ir:
        return ir_body(graph, op_index)
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
    if _is_plain_pad(graph, op):
        return _pad(graph, op)
    plain = _is_plain_move(graph, op)
    data = with_plain_constants(piece.data) if has_sparse_constants(graph, op_index) else piece.data
    if plain or not _names_are_unique(graph, op_index):
        data = _rewritten(data, drop_quantization=plain)
    # A failed import leaves a block builder behind, which logs a warning when it is destroyed.
    with quiet_stderr():
        try:
            module = from_tflite(tflite.Model.GetRootAsModel(data, 0))
            return _conformed(graph, op_index, module)
        except UnsupportedError as error:
            reason = str(error)
        except IMPORT_ERRORS as error:
            reason = reason_of(error)
        # It is part of a reference cycle, and would otherwise be destroyed later.
        gc.collect()
    raise TargetError(what, where=graph.name, why=reason)


def demand_code(graph: Graph, op_index: int, module: tvm.IRModule) -> None:
    """Refuse an operator that TVM imports, as ``module``, but has no code for.

    Raises:
        TargetError: with the reason.
    """
    left: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and isinstance(node.op, tvm.ir.Op):
            left.add(str(node.op.name))

    reason = ""
    with quiet_stderr():
        try:
            lowered = relax.transform.LegalizeOps()(module)
        except IMPORT_ERRORS as error:
            reason = reason_of(error)
        else:
            relax.analysis.post_order_visit(lowered["main"], visit)
    left -= _LOWERED
    if left or reason:
        what = f"TVM cannot lower op {graph.ops[op_index].label}"
        why = reason or f"it has no code for {', '.join(sorted(left))}"
        raise TargetError(what, where=graph.name, why=why)


def _conformed(graph: Graph, op_index: int, module: tvm.IRModule) -> tvm.IRModule:
    """The module, its results cast and reshaped to the types that the model's tensors have.

    Raises:
        UnsupportedError: a result has another number of elements.
    """
    inputs, outputs = op_border(graph, (op_index,))
    result = module["main"].body.body
    types = result.ty.fields if isinstance(result.ty, relax.TupleType) else [result.ty]
    if len(types) == len(outputs) and all(
        tvm_ffi.structural_equal(given, tensor_type(graph, t))
        for given, t in zip(types, outputs, strict=True)
    ):
        return module
    builder = relax.BlockBuilder()
    parameters = [variable(graph, t) for t in inputs]
    with builder.function("main", parameters):
        with builder.dataflow():
            results = Inliner(builder, module, is_lowering=False).inline(parameters)
            conformed = [
                _cast(builder, value, graph.tensors[t])
                for value, t in zip(results, outputs, strict=False)
            ]
            check_types(graph, conformed, outputs)
            returned = builder.emit_output(
                conformed[0] if len(conformed) == 1 else relax.Tuple(conformed)
            )
        builder.emit_func_output(returned)
    return builder.get()


def _cast(builder: relax.BlockBuilder, value: Any, tensor: Tensor) -> Any:
    if not isinstance(value.ty, relax.TensorType) or not isinstance(
        value.ty.shape, relax.ShapeExpr
    ):
        raise UnsupportedError("its body returns a tensor whose shape is not known")
    sizes = [int(size) for size in value.ty.shape.values]
    if str(value.ty.dtype) != tensor.dtype:
        value = builder.emit(relax.op.astype(value, tensor.dtype))
    if tuple(sizes) != tensor.shape and math.prod(sizes) == math.prod(tensor.shape):
        value = builder.emit(relax.op.reshape(value, tensor.shape))
    return value


def _is_plain_pad(graph: Graph, op: Op) -> bool:
    """A PAD of a quantised tensor with what stands for zero, by known amounts."""
    if op.kind != "pad" or len(op.inputs) != 2 or not graph.tensors[op.inputs[1]].is_constant:
        return False
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return (
        x.quantization is not None
        and x.quantization == y.quantization
        and len(x.quantization.zero_points) == 1
    )


def _pad(graph: Graph, op: Op) -> tvm.IRModule:
    x, amounts = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    assert x.quantization is not None
    widths = np.frombuffer(constant_bytes(graph, amounts.index), amounts.dtype).tolist()
    zero = float(x.quantization.zero_points[0])
    builder = relax.BlockBuilder()
    parameter = variable(graph, x.index)
    with builder.function("main", [parameter]):
        with builder.dataflow():
            padded = builder.emit_output(relax.op.nn.pad(parameter, widths, "constant", zero))
        builder.emit_func_output(padded)
    return builder.get()


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


def _is_plain_move(graph: Graph, op: Op) -> bool:
    """Whether the operator can be imported as if its quantised tensors held plain integers."""
    if op.kind not in _MOVING or op.attributes.get("fused_activation_function", "none") != "none":
        return False
    tensors = [graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0]
    quantized = [t.quantization for t in tensors if t.quantization is not None]
    return bool(quantized) and all(q == quantized[0] for q in quantized)


def _rewritten(data: bytes, *, drop_quantization: bool) -> bytes:
    """A slice with unique tensor names, and perhaps without quantisation."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"t{index}"
        if drop_quantization:
            tensor.quantization = None
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
