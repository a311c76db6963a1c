"""Bilinear resizing of 8-bit tensors against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import byte_tensor, one_op, random_values, run_on

from litert_reference import run_litert
from modelkit import Tensor

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_resize import resize_kernel, resize_of  # noqa: E402

SIZES = [
    ((1, 7, 9, 40), (14, 18)),
    ((2, 5, 6, 3), (20, 31)),
    ((1, 16, 16, 1), (7, 5)),
    ((1, 1, 1, 17), (5, 1)),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("sampling", ["plain", "align_corners", "half_pixel_centers"])
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_results_are_litert_s(
    shape: tuple[int, ...], size: tuple[int, int], sampling: str, dtype: str
) -> None:
    options = schema.ResizeBilinearOptionsT()
    options.alignCorners = sampling == "align_corners"
    options.halfPixelCenters = sampling == "half_pixel_centers"
    wanted = Tensor("size", (2,), "int32", np.array(size, np.int32))
    x = byte_tensor("x", shape, dtype)
    y = byte_tensor("y", (shape[0], *size, shape[3]), dtype)
    graph = one_op("RESIZE_BILINEAR", [x, wanted], [y], options, 3)
    geometry = resize_of(graph, graph.ops[0])
    assert geometry is not None
    assert "float" not in resize_kernel(geometry).script()
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(LlvmTarget(), graph, values)
    np.testing.assert_array_equal(result, expected)
