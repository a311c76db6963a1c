"""Bodies of the operators of a lifted module."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tvm
from tvm import relax

from tdse.graph.model import Graph

# Attributes of the function of an operator: its index in the model, and its kind.
OP = "tdse.op"
KIND = "tdse.kind"


def ir_body(graph: Graph, op_index: int) -> tvm.IRModule:
    """The body of an operator as ``main`` of a module, with the kernels that it calls.

    Args:
        graph: one whose ``ir`` holds its module.
        op_index: the operator.
    """
    module, functions = _loaded(graph.ir)
    return with_callees(module, functions[op_index])


def with_callees(module: tvm.IRModule, function: Any) -> tvm.IRModule:
    """A function of ``module`` as ``main`` of another, with all that it calls."""
    functions: dict[Any, Any] = {}
    waiting = [function]
    while waiting:
        for callee in _callees(waiting.pop()):
            if callee not in functions:
                functions[callee] = module[callee]
                waiting.append(functions[callee])
    functions[tvm.ir.GlobalVar("main")] = function.with_attr("global_symbol", "main")
    return tvm.IRModule(functions)


# Candidates of one model are compiled one after the other.
@lru_cache(maxsize=1)
def _loaded(ir: bytes) -> tuple[tvm.IRModule, dict[int, Any]]:
    module = tvm.ir.load_json(ir.decode())
    functions = {
        int(function.attrs[OP]): function
        for function in module.functions.values()
        if function.attrs is not None and OP in function.attrs
    }
    return module, functions


def _callees(function: Any) -> list[tvm.ir.GlobalVar]:
    found: dict[Any, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.GlobalVar):
            found[node] = None

    if isinstance(function, relax.Function):
        relax.analysis.post_order_visit(function, visit)
    return list(found)
