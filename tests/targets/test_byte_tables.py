"""Which operators one table stands for, and that it is what LiteRT makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import RANDOM, byte_tensor, run_on

from litert_reference import run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.byte_tables import table_groups, table_of  # noqa: E402 - needs tvm
from tdse.targets.llvm import LlvmTarget  # noqa: E402

SHAPE = (1, 3, 7, 16)


def graph_of(*ops: tuple[str, tuple[int, ...], int], outputs: tuple[int, ...]) -> Graph:
    """A model of operators (code, tensors, result); tensors 0 and 1 are inputs, 2 is a number."""
    options = {
        "MUL": schema.MulOptionsT,
        "ADD": schema.AddOptionsT,
        "HARD_SWISH": schema.HardSwishOptionsT,
    }
    number = Tensor("c", (), "int8", np.array(40, np.int8), (0.05,), (-3,))
    tensors = [byte_tensor("x", SHAPE), byte_tensor("z", SHAPE), number]
    operators = []
    for code, given, result in ops:
        assert result == len(tensors)
        scale, zero = (1 / 256, -128) if code == "LOGISTIC" else (0.04, -10)
        tensors.append(byte_tensor(f"t{result}", SHAPE, scale=scale, zero=zero))
        made = options[code]() if code in options else None
        operators.append(Operator(code, given, (result,), made, 2 if code != "HARD_SWISH" else 1))
    return read_tflite(write_model([Subgraph(tensors, operators, (0, 1), outputs)]))


SWISH = [("LOGISTIC", (0,), 3), ("MUL", (0, 3), 4)]


@pytest.mark.parametrize(
    ("ops", "outputs", "groups"),
    [
        (SWISH, (4,), [(0, 1)]),
        # A chain of numbers, and the same tensor twice.
        ([("MUL", (0, 2), 3), ("ADD", (2, 3), 4), ("MUL", (4, 4), 5)], (5,), [(0, 1, 2)]),
        # A result in between that is also wanted.
        (SWISH, (3, 4), [(0,), (1,)]),
        ([*SWISH, ("TANH", (3,), 5)], (4, 5), [(0,), (1,), (2,)]),
        # Two tensors, of which one alone is a byte's function.
        ([("LOGISTIC", (0,), 3), ("MUL", (1, 3), 4)], (4,), [(0,), (1,)]),
        ([("ADD", (0, 1), 3), ("LOGISTIC", (3,), 4), ("MUL", (3, 4), 5)], (5,), [(0,), (1, 2)]),
        # Operators between those of a group come before it.
        ([("LOGISTIC", (0,), 3), ("TANH", (1,), 4), ("MUL", (3, 0), 5)], (4, 5), [(1,), (0, 2)]),
    ],
)
def test_groups(
    ops: list[tuple[str, tuple[int, ...], int]],
    outputs: tuple[int, ...],
    groups: list[tuple[int, ...]],
) -> None:
    graph = graph_of(*ops, outputs=outputs)
    assert table_groups(graph, graph.placed_ops) == groups
    values = [RANDOM.integers(-128, 128, SHAPE).astype(np.int8) for _ in graph.inputs]
    results = run_on(LlvmTarget(), graph, values)
    for result, expected in zip(results, run_litert(graph.data, values), strict=True):
        assert np.abs(result.astype(int) - expected.astype(int)).max() <= 1


def test_a_swish_is_one_kernel_and_exact() -> None:
    graph = graph_of(*SWISH, outputs=(4,))
    table = table_of(graph, (0, 1))
    assert table is not None and (table.given, table.result) == (0, 4)
    every = np.arange(336).astype(np.uint8).view(np.int8).reshape(SHAPE)
    other = np.zeros(SHAPE, np.int8)
    (expected,) = run_litert(graph.data, [every, other])
    np.testing.assert_array_equal(table.values[every.view(np.uint8)], expected)
    (result,) = run_on(LlvmTarget(), graph, [every, other])
    np.testing.assert_array_equal(result, expected)
    assert len(LlvmTarget().own_calls(graph, (0, 1))) == 1
    # With its first operator in another region, the second has two operands.
    assert table_groups(graph, (1,)) == [(1,)] and table_of(graph, (1,)) is None


def test_no_table_for_two_tensors() -> None:
    graph = graph_of(("ADD", (0, 1), 3), outputs=(3,))
    assert table_of(graph, (0,)) is None
