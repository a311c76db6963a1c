"""Bodies of operators' functions: TVM's own import, or a call that LiteRT serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.slice import Slice
from tdse.lifted.bodies import with_callees
from tdse.partitioning import attribute
from tdse.targets.llvm_import import demand_code, import_op
from tdse.targets.llvm_inline import tensor_type, variable

from . import attributes
from .calls import bare

LITERT_CALL = "tdse.litert_call"


@dataclass(frozen=True)
class OpBody:
    """What an operator's function computes.

    Attributes:
        module: its function ``main``, and the kernels that this calls.
        litert_reason: why it is a call that LiteRT serves; empty if it is TVM's import.
    """

    module: tvm.IRModule
    litert_reason: str = ""


def op_body(graph: Graph, piece: Slice) -> OpBody:
    """The body of the operator of ``piece``, or of all operators of a model that is not cut.

    Where TVM cannot import the operator, the body is as in ``op1_svdf`` of ``from_tflite``.
    """
    if graph.whole_reason:
        return OpBody(_litert_call(graph, piece), graph.whole_reason)
    try:
        module = import_op(graph, piece.ops[0])
        demand_code(graph, piece.ops[0], module)
        return OpBody(module)
    except TargetError as error:
        return OpBody(_litert_call(graph, piece), error.why or error.what)


def add_body(
    builder: relax.BlockBuilder, name: str, body: tvm.IRModule, parameters: Sequence[relax.Var]
) -> relax.Function:
    """The ``main`` of ``body`` with other parameters, its kernels added to the builder's module."""
    main = bare(body["main"])
    renamed: dict[Any, Any] = dict(zip(main.params, parameters, strict=True))
    for old, function in body.functions_items():
        if old.name_hint != "main":
            kernel = function.without_attr("global_symbol")
            renamed[old] = builder.add_func(kernel, f"{name}_{old.name_hint}")
    return tvm_ffi.structural_map(
        main, ((relax.Var, tvm.ir.GlobalVar), lambda variable: renamed.get(variable, variable))
    )


class Bodies(dict[int, tvm.IRModule]):
    """For each operator of a module of tdse that is asked for, a module with its body as ``main``.

    Args:
        module: holds the operators' functions.
        functions: of the operators, by operator index.
    """

    def __init__(self, module: tvm.IRModule, functions: Mapping[int, tvm.ir.GlobalVar]) -> None:
        super().__init__()
        self._module, self._functions = module, functions

    def __missing__(self, op: int) -> tvm.IRModule:
        """The body of an operator.

        Raises:
            TargetError: it is one that LiteRT serves, so there is nothing to compile.
        """
        function = self._module[self._functions[op]]
        reason = attribute(function, attributes.LITERT)
        if reason is not None:
            raise TargetError(
                f"TVM cannot compile op {attribute(function, attributes.LABEL)}",
                where=str(attribute(self._module, attributes.MODEL_NAME)),
                why=str(reason),
                hint="place it on litert",
            )
        self[op] = with_callees(self._module, function)
        return self[op]


def _litert_call(graph: Graph, piece: Slice) -> tvm.IRModule:
    types = [tensor_type(graph, t) for t in piece.outputs]
    given = [variable(graph, t) for t in piece.inputs]
    constant = relax.const(np.frombuffer(piece.data, np.uint8), "uint8")
    call = relax.call_dps_packed(LITERT_CALL, relax.Tuple([constant, *given]), types)
    builder = relax.BlockBuilder()
    with builder.function("main", given):
        with builder.dataflow():
            result = builder.emit_output(call, f"t{piece.outputs[0]}" if len(types) == 1 else "lv")
        builder.emit_func_output(result)
    return builder.get()
