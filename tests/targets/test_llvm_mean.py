"""Means of 8-bit tensors against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import (
    RANDOM,
    Value,
    byte_tensor,
    innermost_loops,
    one_op,
    pool,
    random_values,
    run_on,
)

from litert_reference import run_litert
from modelkit import Tensor
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_isa import host_isa, isa_of  # noqa: E402
from tdse.targets.llvm_mean import mean_kernel, mean_of  # noqa: E402

# Shapes and the axes that are averaged over.
CASES = [
    ((1, 7, 7, 64), (1, 2)),
    ((2, 20, 20, 37), (2, 1)),
    ((1, 7, 9, 200), (3,)),
    ((1, 1, 33, 1), (2,)),
    ((3, 1, 4, 5), (0,)),
    ((1, 9, 7, 3), (1, 2)),
]

# One target, so that kernels of equal shapes are compiled once.
TARGET = LlvmTarget()


def mean(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    scales: tuple[float, float] = (0.05, 0.02),
    zeros: tuple[int, int] = (-3, 5),
    *,
    dtype: str = "int8",
    keep_dims: bool = True,
) -> Graph:
    options = schema.ReducerOptionsT()
    options.keepDims = keep_dims
    rest = [1 if axis in axes else size for axis, size in enumerate(shape)]
    made = [size for axis, size in enumerate(rest) if keep_dims or axis not in axes]
    over = Tensor("axes", (len(axes),), "int32", np.array(axes, np.int32))
    x = byte_tensor("x", shape, dtype, scales[0], zeros[0])
    y = byte_tensor("y", tuple(made), dtype, scales[1], zeros[1])
    return one_op("MEAN", [x, over], [y], options, 2)


def assert_exact(graph: Graph, values: list[Value], target: LlvmTarget = TARGET) -> None:
    assert mean_of(graph, graph.ops[0]) is not None
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(target, graph, values)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_shapes(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> None:
    graph = mean(shape, axes, dtype=dtype, keep_dims=dtype == "int8")
    assert_exact(graph, random_values(graph))


@pytest.mark.parametrize("count", [4, 25, 64])
def test_every_sum_where_many_results_lie_halfway(count: int) -> None:
    # One column for each sum that bytes can have.
    sums = np.arange(-128 * count, 127 * count + 1)
    least = sums // count
    more = np.arange(count)[:, None] < sums - least * count
    values = (least + more).astype(np.int8)
    for _ in range(12):
        scale = RANDOM.uniform(0.01, 0.1)
        # So many sums to a step of the result, halves of which are sums then.
        step = 2 * int(RANDOM.integers(3, 150)) / RANDOM.choice([1, 3, 5])
        zeros = tuple(map(int, RANDOM.integers(-40, 40, 2)))
        graph = mean(values.shape, (0,), (scale, scale * step / count), (zeros[0], zeros[1]))
        assert_exact(graph, [values])


@pytest.mark.parametrize("value", [-128, 127, 0, 255])
def test_sums_leave_sixteen_bits(value: int) -> None:
    dtype = "int8" if value in (-128, 127) else "uint8"
    graph = mean((1, 40, 40, 16), (1, 2), dtype=dtype)
    assert_exact(graph, [np.full((1, 40, 40, 16), value, dtype)])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("size", [(7, 7, 40), (64, 63, 5), (3, 2, 1)])
def test_pooling_over_the_image(size: tuple[int, int, int], dtype: str) -> None:
    graph = pool("AVERAGE_POOL_2D", size, size[:2], 1, "valid", dtype)
    for _ in range(3):
        assert_exact(graph, random_values(graph))


@pytest.mark.parametrize("cpu", ["haswell", "x86-64"])
def test_instruction_sets(cpu: str) -> None:
    if not host_isa().avx2:
        pytest.skip(f"this machine cannot run code for {cpu}")
    target = LlvmTarget(isa_of(tvm.target.Target({"kind": "llvm", "mcpu": cpu})))
    graph = mean((1, 9, 9, 70), (1, 2))
    assert_exact(graph, random_values(graph), target)


def test_axes_apart_are_left_to_tvm() -> None:
    graph = mean((3, 4, 5, 6), (1, 3))
    assert mean_of(graph, graph.ops[0]) is None


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_sums_are_integers(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    graph = mean(shape, axes)
    geometry = mean_of(graph, graph.ops[0])
    assert geometry is not None
    loops = innermost_loops(mean_kernel(geometry).script())
    assert loops
    assert not any("float" in body for body in loops)
