"""Maximum over windows in float32 of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import random_values, run_on

from litert_reference import run_litert
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, Padding, Shape
from tdse.graph.model import Graph

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_isa import host_isa  # noqa: E402
from tdse.targets.llvm_pool import pool_of  # noqa: E402
from tdse.targets.llvm_pool_float import float_pool_iterations  # noqa: E402


def max_pool(shape: Shape, extent: int, stride: int, padding: Padding) -> Graph:
    layer = Layer("max_pool2d", kernel=(extent, extent), stride=stride, padding=padding)
    return build_graph(Configuration((Input(shape, "float32"),), (layer,)))


def assert_like_litert(graph: Graph, threads: int = 1) -> None:
    values = [value - np.float32(5) for value in random_values(graph)]
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(LlvmTarget(), graph, values, threads=threads)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("extent", "stride"), [(2, 2), (3, 2), (3, 1), (5, 3)])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 64])
def test_windows(channels: int, extent: int, stride: int, padding: Padding) -> None:
    graph = max_pool((1, 13, 10, channels), extent, stride, padding)
    assert pool_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_threads_divide(threads: int) -> None:
    graph = max_pool((1, 99, 101, 32), 3, 1, "same")
    geometry = pool_of(graph, graph.ops[0])
    assert geometry is not None and float_pool_iterations(geometry, host_isa()) == 99
    assert_like_litert(graph, threads)
