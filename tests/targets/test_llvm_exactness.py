"""One random operator of each 8-bit kind against LiteRT; ``benchmarks/exactness.py`` draws more."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import random_values, run_on

from litert_reference import run_litert
from tdse.errors import TargetError
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration
from tdse.measure.excitation import KINDS, draw

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm

TARGET = LlvmTarget()
BYTE_KINDS = [(kind, dtype) for kind, dtype in KINDS if dtype in ("int8", "uint8")]

# TVM does not import these where they are quantised, and LSTMs not at all.
NOT_ON_LLVM = ("transpose_conv2d", "batch_matmul", "unidirectional_sequence_lstm")


def small_operator(kind: str, dtype: str) -> Configuration:
    """The smallest of some random operators that has more than a few elements."""
    generator = np.random.default_rng(11)
    drawn = [draw(generator, kind, dtype) for _ in range(6)]
    sizes = {build_graph(one).ops[0].output_bytes: one for one in drawn}
    return sizes[min((size for size in sizes if size >= 64), default=max(sizes))]


@pytest.mark.parametrize(("kind", "dtype"), BYTE_KINDS)
def test_results_are_litert_s_to_the_bit(kind: str, dtype: str) -> None:
    graph = build_graph(small_operator(kind, dtype))
    values = random_values(graph)
    if kind in NOT_ON_LLVM:
        with pytest.raises(TargetError):
            run_on(TARGET, graph, values)
        return
    for result, expected in zip(
        run_on(TARGET, graph, values), run_litert(graph.data, values), strict=True
    ):
        np.testing.assert_array_equal(result, expected)
