"""Import a ``.tflite`` into Relax, one function per operator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from tdse.admission import admit
from tdse.assemble import no_op_computes
from tdse.edgetpu.package import is_compiled
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.slice import Slice, slice_model, whole_model
from tdse.runtime import native
from tdse.targets.litert import demand_runs
from tdse.targets.llvm_inline import variable

from . import attributes
from .bodies import add_body, op_body
from .calls import Step, function_of, names_of, variables_of
from .names import identifier


def from_tflite(source: str | os.PathLike[str] | bytes | Graph) -> tvm.IRModule:
    """The model as a Relax module whose ``main`` calls one private function per operator.

    Before, a model of three operators::

        x -> 0:relu -> t1 -> 1:svdf -> t5 -> 2:relu -> t6

    After, without the attributes of the module, and without ``op2_relu``, which is as
    ``op0_relu``::

        @R.function(private=True)
        def op0_relu(
            t0: R.Tensor((1, 3), dtype="float32")
        ) -> R.Tensor((1, 3), dtype="float32"):
            R.func_attr({
                "tdse.kind": "relu", "tdse.label": "0:relu",
                "tdse.op": 0, "tdse.origin": "tflite:0"
            })
            with R.dataflow():
                gv: R.Tensor((1, 3), dtype="float32") = R.nn.relu(t0)
                R.output(gv)
            return gv

        @R.function(private=True)
        def op1_svdf(
            t1: R.Tensor((1, 3), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "tdse.kind": "svdf", "tdse.label": "1:svdf",
                "tdse.litert": "it keeps a state between runs",
                "tdse.op": 1, "tdse.origin": "tflite:1"
            })
            with R.dataflow():
                t5 = R.call_dps_packed(
                    "tdse.litert_call", (metadata["ir.GenericConst"][0], t1),
                    out_ty=R.Tensor((1, 4), dtype="float32")
                )
                R.output(t5)
            return t5

        @R.function
        def main(x: R.Tensor((1, 3), dtype="float32")) -> R.Tensor((1, 4), dtype="float32"):
            cls = Module
            with R.dataflow():
                t1: R.Tensor((1, 3), dtype="float32") = cls.op0_relu(x)
                t5: R.Tensor((1, 4), dtype="float32") = cls.op1_svdf(t1)
                t6: R.Tensor((1, 4), dtype="float32") = cls.op2_relu(t5)
                R.output(t6)
            return t6

    A function takes and returns the tensors that the operator's slice does. Its body is TVM's own
    import of the operator. Where TVM cannot import it, the body calls ``tdse.litert_call`` with
    the slice, and the attribute ``tdse.litert`` says why; LiteRT then serves it. The module is
    complete: it also runs when it is compiled with ``tvm.compile`` as it is. ``attributes.py``
    lists the attributes.

    Operators on constants only have no function; the function of what reads them contains them. A
    model that cannot be cut, for example one with control flow, becomes one function. Of a model
    that edgetpu_compiler made, only the module that is partitioned and built can run.

    Args:
        source: path of a ``.tflite``, its bytes, or a graph that was read from it.

    Raises:
        ModelError: it is not a model that LiteRT runs, one of its inputs or outputs is no array of
            numbers, or an output is a constant.
    """
    native.register()
    graph = source if isinstance(source, Graph) else _read(source)
    admit(graph)
    # An Edge TPU runs what edgetpu_compiler made, LiteRT the rest.
    if not is_compiled(graph):
        demand_runs(graph)
    names = names_of(graph)
    builder = relax.BlockBuilder()
    steps = [_add_op(builder, graph, piece) for piece in _pieces(graph)]
    made = {*graph.inputs, *(t for step in steps for t in step.outputs)}
    for output in graph.outputs:
        if output not in made:
            raise no_op_computes(graph, output)
    main = function_of(
        "main",
        variables_of(graph, graph.inputs, names),
        steps,
        graph.outputs,
        name_of=names.__getitem__,
        is_tuple=len(graph.outputs) > 1,
        given={},
    )
    builder.add_func(main, "main")
    module = builder.get().with_attrs(
        {
            attributes.MODEL: graph.data,
            attributes.MODEL_NAME: graph.name,
            attributes.MODEL_SHA256: graph.sha256,
        }
    )
    relax.analysis.well_formed(module)
    return module


def _read(source: str | os.PathLike[str] | bytes) -> Graph:
    return read_tflite(source if isinstance(source, bytes) else Path(source))


def _pieces(graph: Graph) -> list[Slice]:
    if graph.whole_reason:
        return [whole_model(graph)]
    return [slice_model(graph, [op]) for op in graph.placed_ops]


def _add_op(builder: relax.BlockBuilder, graph: Graph, piece: Slice) -> Step[int]:
    """Add the function of an operator, or of all operators of a model that is not cut."""
    if graph.whole_reason:
        name = kind = label = "whole_model"
        given: dict[str, Any] = {attributes.OPS: list(piece.ops), attributes.ORIGIN: "tflite"}
    else:
        op = graph.ops[piece.ops[0]]
        name, kind, label = f"op{op.index}_{identifier(op.kind)}", op.kind, op.label
        given = {attributes.OP: op.index, attributes.ORIGIN: f"tflite:{op.index}"}
    given |= {attributes.KIND: kind, attributes.LABEL: label}
    body = op_body(graph, piece)
    if body.litert_reason:
        given[attributes.LITERT] = body.litert_reason
    parameters = [variable(graph, t) for t in piece.inputs]
    function = add_body(builder, name, body.module, parameters).with_attrs(given)
    return Step(builder.add_func(function, name), piece.inputs, piece.outputs)
