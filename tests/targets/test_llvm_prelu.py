"""PReLU of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import one_op, random_values, run_on

from litert_reference import run_litert
from modelkit import Tensor
from tdse.graph.model import Graph

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_isa import host_isa  # noqa: E402
from tdse.targets.llvm_prelu import prelu_of  # noqa: E402


def prelu(shape: tuple[int, ...], slopes: tuple[int, ...], dtype: str = "float32") -> Graph:
    values = np.random.default_rng(3).uniform(-0.5, 1.5, slopes).astype(dtype)
    return one_op(
        "PRELU", [Tensor("x", shape), Tensor("a", slopes, dtype, values)], [Tensor("y", shape)]
    )


def assert_like_litert(graph: Graph, threads: int = 1) -> None:
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(LlvmTarget(), graph, values, threads=threads)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 64, 200])
def test_a_slope_for_each_channel(channels: int, dtype: str) -> None:
    graph = prelu((1, 23, 9, channels), (1, 1, channels), dtype)
    assert prelu_of(graph, graph.ops[graph.placed_ops[0]], host_isa()) is not None
    assert_like_litert(graph)


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_that_threads_divide(threads: int) -> None:
    graph = prelu((1, 61, 67, 12), (1, 1, 12))
    made = prelu_of(graph, graph.ops[0], host_isa())
    assert made is not None and 61 * 67 * 12 % made.block
    assert_like_litert(graph, threads)


@pytest.mark.parametrize(
    ("shape", "slopes"), [((1, 4, 5, 6), (4, 5, 6)), ((1, 4, 5, 6), (4, 1, 1)), ((1, 3), (3,))]
)
def test_what_is_left_to_tvm(shape: tuple[int, ...], slopes: tuple[int, ...]) -> None:
    graph = prelu(shape, slopes)
    assert prelu_of(graph, graph.ops[0], host_isa()) is None
    assert_like_litert(graph)
