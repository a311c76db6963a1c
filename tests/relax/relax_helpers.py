"""Runs Relax modules, makes placements, and finds the IR that docstrings show."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from litert_reference import random_inputs, run_litert
from tdse.graph.model import Graph
from tdse.graph.regions import form_regions
from tdse.search.placement import Placement, make_placement

Array = np.ndarray[Any, Any]


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
