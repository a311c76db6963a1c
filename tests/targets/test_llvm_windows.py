"""Depthwise convolution and pooling kernels against LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from target_models import depthwise, pool, random_values, run_on

from litert_reference import run_litert
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget  # noqa: E402 - needs tvm
from tdse.targets.llvm_depthwise import depthwise_of  # noqa: E402
from tdse.targets.llvm_isa import host_isa, isa_of  # noqa: E402
from tdse.targets.llvm_pool import pool_of  # noqa: E402

# Instruction sets, from the one that this machine has to none.
CPUS = ["host", "skylake-avx512", "haswell", "x86-64"]


def target_for(cpu: str) -> LlvmTarget:
    host = host_isa()
    if cpu == "host":
        return LlvmTarget(host)
    if (cpu == "skylake-avx512" and not host.avx512) or not host.avx2:
        pytest.skip(f"this machine cannot run code for {cpu}")
    return LlvmTarget(isa_of(tvm.target.Target({"kind": "llvm", "mcpu": cpu})))


def assert_like_litert(graph: Graph, cpu: str, *, steps: int) -> None:
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(target_for(cpu), graph, values)
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert difference.max() <= steps
    # A wrong tap or border would show in many places, another rounding in few.
    assert (difference > 0).mean() <= 0.03


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((5, 5), 2), ((2, 4), 1), ((1, 7), 2)])
def test_depthwise_instruction_sets(
    cpu: str, dtype: str, kernel: tuple[int, int], stride: int
) -> None:
    graph = depthwise(13, 10, 11, kernel, stride=stride, dtype=dtype)
    assert depthwise_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph, cpu, steps=1)


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 48])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_shapes(channels: int, padding: str, stride: int) -> None:
    assert_like_litert(depthwise(21, 34, channels, stride=stride, padding=padding), "host", steps=1)


@pytest.mark.parametrize("activation", ["relu", "relu6", "relu_n1_to_1"])
def test_depthwise_activations(activation: str) -> None:
    assert_like_litert(depthwise(8, 8, 24, activation=activation), "host", steps=1)


def test_depthwise_dilation() -> None:
    graph = depthwise(19, 19, 8, dilation=3)
    assert depthwise_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph, "host", steps=1)


def test_depthwise_in_several_bands_of_rows() -> None:
    assert_like_litert(depthwise(90, 90, 32, (7, 7)), "host", steps=1)


def test_depthwise_of_another_stride_is_left_to_tvm() -> None:
    graph = depthwise(12, 12, 8, stride=3)
    assert depthwise_of(graph, graph.ops[0]) is None
    assert_like_litert(graph, "host", steps=1)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize(("window", "stride"), [((3, 3), 1), ((2, 2), 2), ((3, 5), 2), ((4, 1), 3)])
def test_pooling(code: str, padding: str, window: tuple[int, int], stride: int, dtype: str) -> None:
    graph = pool(code, (14, 17, 5), window, stride, padding, dtype)
    assert pool_of(graph, graph.ops[0]) is not None
    assert_like_litert(graph, "host", steps=0)


def test_large_windows_are_left_to_tvm() -> None:
    graph = pool("MAX_POOL_2D", (12, 12, 3), (9, 9), 1, "valid")
    assert pool_of(graph, graph.ops[0]) is None
    assert_like_litert(graph, "host", steps=0)
