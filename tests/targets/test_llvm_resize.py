"""Bilinear resizing of ``llvm`` against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import byte_tensor, one_op, random_values, run_on

from litert_reference import run_litert
from modelkit import Tensor
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_resize import resize_iterations, resize_kernel, resize_of  # noqa: E402

SIZES = [
    ((1, 7, 9, 40), (14, 18)),
    ((2, 5, 6, 3), (20, 31)),
    ((1, 16, 16, 1), (7, 5)),
    ((1, 1, 1, 17), (5, 1)),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("sampling", ["plain", "align_corners", "half_pixel_centers"])
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_results_are_litert_s(
    shape: tuple[int, ...], size: tuple[int, int], sampling: str, dtype: str
) -> None:
    options = schema.ResizeBilinearOptionsT()
    options.alignCorners = sampling == "align_corners"
    options.halfPixelCenters = sampling == "half_pixel_centers"
    wanted = Tensor("size", (2,), "int32", np.array(size, np.int32))
    made = (shape[0], *size, shape[3])
    x, y = Tensor("x", shape), Tensor("y", made)
    if dtype != "float32":
        x, y = byte_tensor("x", shape, dtype), byte_tensor("y", made, dtype)
    graph = one_op("RESIZE_BILINEAR", [x, wanted], [y], options, 3)
    geometry = resize_of(graph, graph.ops[0])
    assert geometry is not None
    assert ("float" in resize_kernel(geometry).script()) == (dtype == "float32")
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(LlvmTarget(), graph, values)
    if dtype == "float32":
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-6)
    else:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_rows_that_threads_divide(dtype: str) -> None:
    layer = Layer("resize_bilinear", numbers=(61, 67), sampling="half_pixel_centers")
    graph = build_graph(Configuration((Input((2, 9, 8, 5), dtype),), (layer,)))
    geometry = resize_of(graph, graph.ops[0])
    assert geometry is not None and resize_iterations(geometry) == 2 * 61
    values = random_values(graph)
    (alone,) = run_on(LlvmTarget(), graph, values)
    (together,) = run_on(LlvmTarget(), graph, values, threads=2)
    np.testing.assert_array_equal(together, alone)
