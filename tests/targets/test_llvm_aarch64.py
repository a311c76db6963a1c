"""A random operator of each kind that ``llvm`` has, compiled for AArch64 and run by QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from test_llvm_exactness import NOT_ON_LLVM, small_operator

from cross import aarch64, needs_emulator, run_under_qemu
from litert_reference import random_inputs, run_litert
from tdse.assemble import compile_regions
from tdse.graph.build import build_graph
from tdse.graph.layers import beside
from tdse.graph.regions import Region
from tdse.measure.accuracy import difference
from tdse.measure.excitation import KINDS

pytest.importorskip("tvm")
pytestmark = [pytest.mark.tvm, needs_emulator]


_ALL = [(kind, dtype) for kind, dtype in KINDS if kind not in NOT_ON_LLVM]
_DOT_PRODUCTS = [each for each in _ALL if each[0] in ("conv2d", "fully_connected")]


# The second has instructions for dot products of bytes.
@pytest.mark.parametrize(("mcpu", "kinds"), [("cortex-a72", _ALL), ("cortex-a76", _DOT_PRODUCTS)])
def test_operators_are_litert_s(
    mcpu: str, kinds: Sequence[tuple[str, str]], tmp_path: Path
) -> None:
    graph = build_graph(beside([small_operator(*each) for each in kinds]))
    regions = [Region(i, "llvm", (op,)) for i, op in enumerate(graph.placed_ops)]
    processor = aarch64(mcpu)
    assembly = compile_regions(graph, regions, threads=1, processor=processor).whole()
    inputs = random_inputs(graph.data)
    results = run_under_qemu(assembly, processor, inputs, tmp_path)
    expected = run_litert(graph.data, inputs)
    assert len({graph.producer[tensor] for tensor in graph.outputs}) == len(kinds)
    for tensor, ours, theirs in zip(graph.outputs, results, expected, strict=True):
        gap, op = difference([ours], [theirs]), graph.ops[graph.producer[tensor]].label
        assert gap.is_exact if theirs.dtype.itemsize == 1 else gap.is_allowed, (op, str(gap))
