"""Bodies of operators' functions: TVM's own import, or a call that LiteRT serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.slice import Slice
from tdse.partitioning import attribute
from tdse.quiet import quiet_stderr
from tdse.targets.llvm_bodies import with_callees
from tdse.targets.llvm_import import import_op
from tdse.targets.llvm_inline import tensor_type, variable
from tdse.targets.tvm_errors import IMPORT_ERRORS, reason_of

from . import attributes

LITERT_CALL = "tdse.litert_call"

# Calls that LegalizeOps leaves and that compile; any other is of an operator that TVM imports but
# has no code for.
_LOWERED = frozenset({"relax.call_tir", "relax.call_dps_packed", "relax.call_pure_packed"})


@dataclass(frozen=True)
class OpBody:
    """What an operator's function computes.

    Attributes:
        module: its function ``main``, and the kernels that this calls.
        parameters: names for the parameters.
        litert_reason: why it is a call that LiteRT serves; empty if it is TVM's import.
    """

    module: tvm.IRModule
    parameters: tuple[str, ...]
    litert_reason: str = ""

    def add_to(
        self, builder: relax.BlockBuilder, name: str, given: Mapping[str, Any]
    ) -> tvm.ir.GlobalVar:
        """Add a private function with this body and the attributes ``given``."""
        main = self.module["main"]
        renamed: dict[Any, Any] = {
            old: relax.Var(text, old.ty)
            for text, old in zip(self.parameters, main.params, strict=True)
        }
        parameters = list(renamed.values())
        for old, function in self.module.functions_items():
            if old.name_hint != "main":
                kernel = function.without_attr("global_symbol")
                renamed[old] = builder.add_func(kernel, f"{name}_{old.name_hint}")
        body = _Renamer(renamed).visit_expr(main.body)
        function = relax.Function(parameters, body, main.ret_ty)
        return builder.add_func(function.with_attrs(dict(given)), name)


def op_body(graph: Graph, piece: Slice) -> OpBody:
    """The body of the operator of ``piece``, or of all operators of a model that is not cut.

    Where TVM cannot import the operator, the body is as in ``op1_svdf`` of ``from_tflite``.
    """
    parameters = tuple(f"t{index}" for index in piece.inputs)
    if graph.whole_reason:
        return OpBody(_litert_call(graph, piece), parameters, graph.whole_reason)
    try:
        module = import_op(graph, piece.ops[0])
        _demand_code(graph, piece, module)
        return OpBody(module, parameters)
    except TargetError as error:
        reason = error.why or error.what
    return OpBody(_litert_call(graph, piece), parameters, reason)


class Bodies(dict[int, tvm.IRModule]):
    """For each operator of a module of tdse that is asked for, a module with its body as ``main``.

    Args:
        module: holds the operators' functions.
        functions: of the operators, by operator index.
        where: what errors call the model.
    """

    def __init__(
        self, module: tvm.IRModule, functions: Mapping[int, tvm.ir.GlobalVar], where: str
    ) -> None:
        super().__init__()
        self._module, self._functions, self._where = module, functions, where

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
                where=self._where,
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


def _demand_code(graph: Graph, piece: Slice, module: tvm.IRModule) -> None:
    """Refuse an import that TVM has no code for.

    Raises:
        TargetError: with the reason.
    """
    with quiet_stderr():
        try:
            left = _operators_left(relax.transform.LegalizeOps()(module))
        except IMPORT_ERRORS as error:
            left, reason = ["?"], reason_of(error)
        else:
            reason = f"it has no code for {', '.join(left)}"
    if left:
        label = graph.ops[piece.ops[0]].label
        raise TargetError(f"TVM cannot lower op {label}", where=graph.name, why=reason)


def _operators_left(module: tvm.IRModule) -> list[str]:
    left: dict[str, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and isinstance(node.op, tvm.ir.Op):
            left[str(node.op.name)] = None

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return sorted(set(left) - _LOWERED)


@mutator
class _Renamer(PyExprMutator):
    """Copies an expression with other parameters and other global functions."""

    def __init__(self, renamed: Mapping[Any, Any]) -> None:
        super().__init__()
        self._renamed = renamed

    def visit_var_(self, op: Any) -> Any:
        return self._renamed.get(op, op)

    def visit_global_var_(self, op: Any) -> Any:
        return self._renamed.get(op, op)
