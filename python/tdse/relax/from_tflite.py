"""Import a ``.tflite`` into Relax, one function per operator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from tdse.edgetpu.package import is_compiled
from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.slice import Slice, slice_model, whole_model
from tdse.runtime import native
from tdse.targets.litert import demand_known_shapes, demand_runs
from tdse.targets.llvm_inline import tensor_type

from . import attributes
from .bodies import OpBody, op_body
from .calls import Step, function_of
from .names import Names, identifier

# Element types of TFLite tensors that have no counterpart in Relax.
_NOT_IN_RELAX = ("string", "resource", "variant")


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
        ModelError: it is not a model that LiteRT runs, or it has an input or output that Relax
            cannot express.
    """
    native.register()
    graph = _graph(source)
    # An Edge TPU runs what edgetpu_compiler made, LiteRT the rest.
    (demand_known_shapes if is_compiled(graph) else demand_runs)(graph)
    _demand_border(graph)
    names = Names()
    builder = relax.BlockBuilder()
    steps = []
    for piece in _pieces(graph):
        function = _add_body(builder, graph, piece, op_body(graph, piece), names)
        steps.append(Step(function, piece.inputs, piece.outputs))
    parameters = {
        tensor: relax.Var(names.unique(name), tensor_type(graph, tensor))
        for tensor, name in zip(graph.inputs, graph.input_names, strict=True)
    }
    main = function_of(
        "main",
        parameters,
        steps,
        graph.outputs,
        name_of=lambda tensor: names.unique(f"t{tensor}"),
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


def _graph(source: str | os.PathLike[str] | bytes | Graph) -> Graph:
    if isinstance(source, Graph):
        return source
    return read_tflite(source if isinstance(source, bytes) else Path(source))


def _demand_border(graph: Graph) -> None:
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype in _NOT_IN_RELAX:
            raise ModelError(
                f"Relax cannot express the tensor {tensor.name!r}",
                where=graph.name,
                why=f"its elements are of type {tensor.dtype}",
            )
    computed = {t for op in graph.placed_ops for t in graph.ops[op].outputs}
    for index in graph.outputs:
        if index not in computed and index not in graph.inputs:
            raise ModelError(
                f"output {graph.tensors[index].name!r} is computed by no operator",
                where=graph.name,
                why="it is a constant of the model",
                hint="remove this output from the model",
            )


def _pieces(graph: Graph) -> list[Slice]:
    if graph.whole_reason:
        return [whole_model(graph)]
    return [slice_model(graph, [op]) for op in graph.placed_ops]


def _add_body(
    builder: relax.BlockBuilder, graph: Graph, piece: Slice, body: OpBody, names: Names
) -> tvm.ir.GlobalVar:
    if graph.whole_reason:
        name, label = "whole_model", "whole_model"
        given: dict[str, Any] = {
            attributes.OPS: list(piece.ops),
            attributes.KIND: label,
            attributes.LABEL: label,
            attributes.ORIGIN: "tflite",
        }
    else:
        op = graph.ops[piece.ops[0]]
        name = f"op{op.index}_{identifier(op.kind)}"
        given = {
            attributes.OP: op.index,
            attributes.KIND: op.kind,
            attributes.LABEL: op.label,
            attributes.ORIGIN: f"tflite:{op.index}",
        }
    if body.litert_reason:
        given[attributes.LITERT] = body.litert_reason
    return body.add_to(builder, names.unique(name), given)
