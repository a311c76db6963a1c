"""Logistic in float32 of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import run_on

from litert_reference import run_litert
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, Shape

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_logistic import logistic_iterations, logistic_shape  # noqa: E402


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3), (1, 16, 37, 5), (1, 64, 65, 7)])
def test_results_are_litert_s(shape: Shape, threads: int) -> None:
    graph = build_graph(Configuration((Input(shape, "float32"),), (Layer("logistic"),)))
    assert logistic_shape(graph, graph.ops[0]) == shape
    assert (logistic_iterations(shape) > 0) == (shape[1] == 64)
    generator = np.random.default_rng(2)
    values = generator.normal(0, 30, shape).astype(np.float32)
    values.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    (expected,) = run_litert(graph.data, [values])
    (result,) = run_on(LlvmTarget(), graph, [values], threads=threads)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
