"""Runs Relax modules, makes placements, and finds the IR that docstrings show."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from ai_edge_litert import schema_py_generated as schema
from tvm import relax

from litert_reference import random_inputs, run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.graph.model import Graph
from tdse.graph.regions import form_regions
from tdse.search.placement import Placement, make_placement

Array = np.ndarray[Any, Any]
# Of `call`, which calls a function of the module by name, and the parameters.
Body = Callable[..., Any]


def run(compiled: Any, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of ``main`` of a compiled or loaded module."""
    main = relax.VirtualMachine(compiled, tvm.cpu())["main"]
    result = main(*[tvm.runtime.tensor(x) for x in inputs])
    return [y.numpy() for y in ([result] if hasattr(result, "numpy") else result)]


def compile_plainly(module: tvm.IRModule) -> Any:
    """What a user of TVM does who knows nothing of tdse."""
    return tvm.compile(module, target="llvm")


def placed(graph: Graph, targets: Mapping[int, str], *, others: str = "litert") -> Placement:
    """A placement of operators on ``targets``, by index, and of all others on ``others``."""
    assignment = {op: targets.get(op, others) for op in graph.placed_ops}
    return make_placement(graph, form_regions(graph, assignment), 1, None, 0)


def with_body(module: tvm.IRModule, name: str, body: Body) -> tvm.IRModule:
    """The module after an edit by hand: one function computes ``body(call, *parameters)``."""
    old = module[name]
    parameters = [relax.Var(parameter.name, parameter.ty) for parameter in old.params]

    def call(callee: str, *arguments: Any) -> Any:
        return relax.Call(module.get_global_var(callee), arguments)

    builder = relax.BlockBuilder()
    with builder.function(name, parameters, attrs=dict(old.attrs) if old.attrs else {}):
        with builder.dataflow():
            result = builder.emit_output(body(call, *parameters))
        builder.emit_func_output(result)
    edited = module.clone()
    edited.update_func(edited.get_global_var(name), builder.get()[name])
    return edited


def split_model() -> bytes:
    """Float32 SPLIT into two, of which one is returned as it is, and one through ABS."""
    tensors = [
        Tensor("axis", (), "int32", np.array(1, np.int32)),
        Tensor("x", (1, 4)),
        Tensor("left", (1, 2)),
        Tensor("right", (1, 2)),
        Tensor("y", (1, 2)),
    ]
    options = schema.SplitOptionsT()
    options.numSplits = 2
    operators = [
        Operator("SPLIT", (0, 1), (2, 3), options),
        Operator("ABS", (3,), (4,), schema.AbsOptionsT()),
    ]
    return write_model([Subgraph(tensors, operators, (1,), (4, 2))])


def demand_near(model: bytes, compiled: Any, *, steps: int, seed: int = 3) -> None:
    """Compare with LiteRT: ``steps`` of integers, 1e-4 of the peak of floats."""
    inputs = random_inputs(model, seed=seed)
    for ours, reference in zip(run(compiled, inputs), run_litert(model, inputs), strict=True):
        assert ours.dtype == reference.dtype
        assert ours.shape == reference.shape
        if reference.dtype.kind == "f":
            assert np.abs(ours - reference).max() <= 1e-4 * np.abs(reference).max()
        else:
            assert np.abs(ours.astype(int) - reference.astype(int)).max() <= steps


def demand_equal(model: bytes, compiled: Any, *, seed: int = 3) -> None:
    """Compare with LiteRT, bit by bit."""
    inputs = random_inputs(model, seed=seed)
    for ours, reference in zip(run(compiled, inputs), run_litert(model, inputs), strict=True):
        np.testing.assert_array_equal(ours, reference)


def shown_functions(documented: Any) -> list[list[str]]:
    """The functions in each block of IR of a docstring, without white space."""
    text = inspect.getdoc(documented) or ""
    blocks = re.findall(r"::\n\n((?:(?: {4}.*)?\n)+)", text)
    return [found for block in blocks if (found := functions_in(textwrap.dedent(block)))]


def functions_in(script: str) -> list[str]:
    """The functions in printed IR, without white space."""
    parts = re.split(r"^\s*(?=@R\.function)", script, flags=re.MULTILINE)
    return [
        re.sub(r"\s+", "", part.partition("# Metadata")[0])
        for part in parts
        if part.startswith("@R.function")
    ]
