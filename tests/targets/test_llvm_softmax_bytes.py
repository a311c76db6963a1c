"""The softmax of 8-bit tensors against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import RANDOM, Value, byte_tensor, one_op, run_on

from litert_reference import run_litert
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_softmax_bytes import byte_softmax_shape  # noqa: E402

# One target, so that kernels of equal shapes are compiled once.
TARGET = LlvmTarget()


def softmax(shape: tuple[int, ...], dtype: str, scale: float = 0.1, beta: float = 1.0) -> Graph:
    options = schema.SoftmaxOptionsT()
    options.beta = beta
    # LiteRT demands this quantisation of the result.
    x, y = byte_tensor("x", shape, dtype, scale), byte_tensor("y", shape, dtype, 1 / 256, -128)
    return one_op("SOFTMAX", [x], [y], options, 2)


def assert_exact(graph: Graph, values: Value) -> None:
    assert byte_softmax_shape(graph, graph.ops[0]) == values.shape
    (expected,) = run_litert(graph.data, [values])
    (result,) = run_on(TARGET, graph, [values])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("shape", [(1, 1000), (7, 10), (2, 5, 21), (4, 1)])
def test_random_values(shape: tuple[int, ...], dtype: str) -> None:
    for spread in (1, 5, 20, 60):
        scale, beta = float(RANDOM.uniform(0.005, 0.4)), float(RANDOM.choice([1.0, 0.5]))
        drawn = np.clip(np.rint(RANDOM.normal(0, spread, shape)), -128, 127)
        values = (drawn + (128 if dtype == "uint8" else 0)).astype(dtype)
        assert_exact(softmax(shape, dtype, scale, beta), values)


def test_halves_are_rounded_up() -> None:
    # Each of 512 equal elements is half a step.
    assert_exact(softmax((1, 512), "int8"), np.zeros((1, 512), np.int8))
