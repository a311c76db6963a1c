"""Padding of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import random_values, run_on

from litert_reference import run_litert
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, Shape
from tdse.graph.model import Graph

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_pad import pad_iterations, pad_of  # noqa: E402


def pad(shape: Shape, paddings: Shape, dtype: str) -> Graph:
    layer = Layer("pad", numbers=paddings)
    return build_graph(Configuration((Input(shape, dtype),), (layer,)))


def assert_like_litert(graph: Graph, threads: int = 1) -> None:
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(LlvmTarget(), graph, values, threads=threads)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@pytest.mark.parametrize(
    ("shape", "paddings"),
    [
        ((1, 9, 11, 3), (0, 0, 1, 2, 3, 0, 0, 0)),
        ((1, 9, 11, 3), (0, 0, 0, 0, 0, 0, 0, 5)),
        ((2, 4, 5, 6), (1, 0, 2, 1, 0, 3, 1, 1)),
        ((1, 9, 11, 3), (0, 0, 2, 0, 0, 0, 0, 0)),
        ((7,), (2, 3)),
    ],
)
def test_any_dimension(shape: Shape, paddings: Shape, dtype: str) -> None:
    graph = pad(shape, paddings, dtype)
    assert pad_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_threads_divide(threads: int) -> None:
    graph = pad((1, 61, 67, 12), (0, 0, 1, 1, 2, 1, 0, 0), "float32")
    geometry = pad_of(graph, graph.ops[0])
    assert geometry is not None and pad_iterations(geometry) == 63
    assert_like_litert(graph, threads)


def test_nothing_to_pad_is_left_to_tvm() -> None:
    graph = pad((1, 4, 5, 6), (0,) * 8, "float32")
    assert pad_of(graph, graph.ops[0]) is None
    assert_like_litert(graph)
