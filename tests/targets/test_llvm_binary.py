"""Sums, differences and products of 8-bit tensors against LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from target_models import byte_tensor, one_op, random_values, run_on

from litert_reference import run_litert
from modelkit import Tensor
from tdse.graph.model import Graph

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.byte_tables import table_of  # noqa: E402 - needs tvm
from tdse.targets.llvm import LlvmTarget  # noqa: E402
from tdse.targets.llvm_binary import binary_iterations, binary_kernel, binary_of  # noqa: E402
from tdse.targets.llvm_isa import host_isa, isa_of  # noqa: E402

OPTIONS: dict[str, Any] = {
    "ADD": schema.AddOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
}
IMAGE = (1, 5, 7, 24)

# Of operands, in all ways in which one is spread over the other.
SHAPES = [
    (IMAGE, IMAGE),
    (IMAGE, (24,)),
    ((1, 1, 1, 24), IMAGE),
    (IMAGE, (1, 5, 7, 1)),
    ((1, 5, 1, 24), (1, 1, 7, 24)),
    (IMAGE, (1,)),
    ((4, 11), (11,)),
    ((5, 3), (5, 3)),
]

# One target, so that kernels of equal shapes are compiled once.
TARGET = LlvmTarget()


def binary(
    code: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    scales: tuple[float, float, float] = (0.05, 0.03, 0.06),
    zeros: tuple[int, int, int] = (-3, 20, 4),
    *,
    dtype: str = "int8",
    activation: str = "NONE",
) -> Graph:
    options = OPTIONS[code]()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    shape = np.broadcast_shapes(*shapes)
    a, b, y = (
        byte_tensor(name, size, dtype, scale, zero)
        for name, size, scale, zero in zip("aby", (*shapes, shape), scales, zeros, strict=True)
    )
    return one_op(code, [a, b], [y], options, 2)


def assert_exact(graph: Graph, target: LlvmTarget = TARGET) -> None:
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    (result,) = run_on(target, graph, values)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("code", OPTIONS)
def test_shapes(code: str, shapes: Any, dtype: str) -> None:
    graph = binary(code, shapes, dtype=dtype)
    assert binary_of(graph, graph.ops[0]) is not None
    assert_exact(graph)


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize("code", OPTIONS)
def test_activations(code: str, activation: str) -> None:
    assert_exact(binary(code, (IMAGE, IMAGE), activation=activation))


@pytest.mark.parametrize("code", ["ADD", "MUL"])
@pytest.mark.parametrize(
    ("shapes", "iterations"),
    [
        (((1, 40, 41, 43), (1, 40, 41, 43)), -(-40 * 41 * 43 // 32)),
        (((1, 40, 41, 43), (43,)), 40 * 41),
        (((1, 40, 1, 43), (1, 1, 41, 43)), 40),
    ],
)
def test_large_ones_are_divided(code: str, shapes: Any, iterations: int) -> None:
    graph = binary(code, shapes)
    shape = binary_of(graph, graph.ops[0])
    assert shape is not None and binary_iterations(shape) == iterations
    values = random_values(graph)
    (expected,) = run_litert(graph.data, values)
    for threads in (1, 2):
        (result,) = run_on(TARGET, graph, values, threads=threads)
        np.testing.assert_array_equal(result, expected)


SCALES = st.floats(0.004, 0.5) | st.sampled_from([2.0**-i for i in range(1, 8)])
ZEROS = st.integers(-128, 127)


@given(
    code=st.sampled_from(list(OPTIONS)),
    scales=st.tuples(SCALES, SCALES, SCALES),
    zeros=st.tuples(ZEROS, ZEROS, ZEROS),
    shapes=st.sampled_from(SHAPES[:3]),
)
@settings(max_examples=150, deadline=None)
def test_any_quantisation(code: str, scales: Any, zeros: Any, shapes: Any) -> None:
    graph = binary(code, shapes, scales, zeros)
    assert binary_of(graph, graph.ops[0]) is not None
    assert_exact(graph)


def test_a_product_is_rounded_twice() -> None:
    scale = np.float32(0.013495522)
    graph = binary("MUL", ((1,), (1,)), (float(scale), 1.0, 1.0), (0, 0, 0))
    # 111.4999996, which is 111.5 in float32: rounded once, as integers would be, it gives 111.
    assert np.rint(np.float64(scale) * 102 * 81) == 111
    values = [np.array([102], np.int8), np.array([81], np.int8)]
    (expected,), (result,) = run_litert(graph.data, values), run_on(TARGET, graph, values)
    assert expected[0] == result[0] == 112


@pytest.mark.parametrize("cpu", ["skylake-avx512", "haswell", "x86-64"])
@pytest.mark.parametrize("code", OPTIONS)
def test_instruction_sets(code: str, cpu: str) -> None:
    host = host_isa()
    if (cpu == "skylake-avx512" and not host.avx512) or not host.avx2:
        pytest.skip(f"this machine cannot run code for {cpu}")
    isa = isa_of(tvm.target.Target({"kind": "llvm", "mcpu": cpu}))
    assert_exact(binary(code, (IMAGE, (24,))), LlvmTarget(isa))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_constant_operand(is_first: bool) -> None:
    values = np.arange(24, dtype=np.int8) * 5 - 60
    constant = Tensor("c", (24,), "int8", values, (0.04,), (7,))
    x, y = byte_tensor("x", IMAGE), byte_tensor("y", IMAGE, scale=0.06)
    graph = one_op("SUB", [constant, x] if is_first else [x, constant], [y], OPTIONS["SUB"](), 2)
    assert binary_of(graph, graph.ops[0]) is not None
    assert_exact(graph)


@pytest.mark.parametrize("code", [*OPTIONS, "MAXIMUM"])
def test_a_single_constant_makes_a_table(code: str) -> None:
    constant = Tensor("c", (), "int8", np.array(40, np.int8), (0.05,), (-3,))
    options = OPTIONS[code]() if code in OPTIONS else schema.MaximumMinimumOptionsT()
    graph = one_op(code, [constant, byte_tensor("x", IMAGE)], [byte_tensor("y", IMAGE)], options, 2)
    table = table_of(graph, (0,))
    assert table is not None and table.given == 1
    assert_exact(graph)


def test_scales_that_litert_computes_in_another_way_are_left_to_tvm() -> None:
    graph = binary("ADD", (IMAGE, IMAGE), (1e-5, 0.5, 0.5))
    assert binary_of(graph, graph.ops[0]) is None


@pytest.mark.parametrize("code", ["ADD", "SUB"])
def test_sums_are_computed_in_integers_alone(code: str) -> None:
    graph = binary(code, (IMAGE, IMAGE))
    shape = binary_of(graph, graph.ops[0])
    assert shape is not None
    assert "float" not in binary_kernel(shape).script()
