"""The softmax of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import one_op, run_on

from litert_reference import run_litert
from modelkit import Tensor
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_isa import host_isa  # noqa: E402
from tdse.targets.llvm_softmax import softmax_shape  # noqa: E402

RANDOM = np.random.default_rng(3)


def softmax(shape: tuple[int, ...], beta: float = 1.0) -> Graph:
    options = schema.SoftmaxOptionsT()
    options.beta = beta
    return one_op(
        "SOFTMAX", [Tensor("x", shape, "float32")], [Tensor("y", shape, "float32")], options
    )


@pytest.mark.parametrize("shape", [(1, 16), (3, 37), (2, 5, 100), (1, 1000), (4, 3)])
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_softmax(shape: tuple[int, ...], spread: float) -> None:
    graph = softmax(shape)
    values = (RANDOM.normal(size=shape) * spread).astype(np.float32)
    (expected,) = run_litert(graph.data, [values])
    (result,) = run_on(LlvmTarget(), graph, [values])
    np.testing.assert_allclose(result, expected, rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(result.sum(-1), 1.0, rtol=1e-5)


def test_a_nan_stays_one() -> None:
    graph = softmax((1, 40))
    values = np.zeros((1, 40), np.float32)
    values[0, 33] = np.nan
    (result,) = run_on(LlvmTarget(), graph, [values])
    assert np.isnan(result).all()


def test_another_factor_is_left_to_tvm() -> None:
    graph = softmax((1, 40), beta=0.5)
    assert softmax_shape(graph, graph.ops[0], host_isa()) is None
