"""What transfers cost: taken out of operators and launches, charged where tensors cross."""

from __future__ import annotations

import numpy as np
import pytest

from tdse.carrying import Carrying
from tdse.cost.table import MEASURED, NOT_LEGAL, CostTable
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.measure.launch import launch_graph
from tdse.measure.transfers import SIZES, TransferTimes
from tdse.search import Problem
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes

# Microseconds: of a tensor, and of a byte.
THERE = (10.0, 0.001)
BACK = (20.0, 0.002)
KERNEL_US = 7.0
LAUNCH_US = 3.0


def way_us(way: tuple[float, float], size: int) -> float:
    return way[0] + size * way[1]


TIMES = TransferTimes(
    tuple(way_us(THERE, size) for size in SIZES), tuple(way_us(BACK, size) for size in SIZES)
)


@pytest.fixture(scope="module")
def chain() -> Graph:
    """Three float32 operators one after the other, each tensor of 4096 bytes."""
    layers = tuple(Layer(kind, (i,)) for i, kind in enumerate(("relu", "tanh", "abs")))
    return build_graph(Configuration((Input((1, 1024), "float32"),), layers), "chain")


def alone_us(graph: Graph, op: int) -> float:
    """What is measured of an operator on a device, alone."""
    (given,) = {t for t in graph.ops[op].inputs if t >= 0}
    (made,) = graph.ops[op].outputs
    there, back = (graph.tensors[t].size_bytes for t in (given, made))
    return LAUNCH_US + KERNEL_US + way_us(THERE, there) + way_us(BACK, back)


def problem(graph: Graph) -> Problem:
    """Columns: litert, where an operator takes 100 us, and opencl."""
    ops = graph.placed_ops
    launch_us = alone_us(launch_graph(), 0) - KERNEL_US
    costs = np.array([[100.0, alone_us(graph, op) - launch_us] for op in ops])
    costs[1, 0] = np.inf
    source = tuple((NOT_LEGAL if row == 1 else MEASURED, MEASURED) for row in range(len(ops)))
    table = CostTable(ops, ("litert", "opencl"), (1, 1), costs, costs, costs, costs, source)
    carrying = Carrying(graph, table.targets, {"opencl": TIMES})
    table = carrying.without(table)
    row = {op: i for i, op in enumerate(ops)}
    free = np.zeros((2, 2))
    plain = Problem(
        n_ops=len(ops),
        variants=table.targets,
        cost_us=table.cost_us,
        edges=np.array([(row[u], row[v], t) for u, v, t in graph.edges]).reshape(-1, 3),
        tensor_bytes=np.array([tensor.size_bytes for tensor in graph.tensors]),
        launch_us=np.array([0.0, launch_us]),
        copy_us_per_byte=free,
        border_us=free,
    )
    return carrying.charged(plain, row)


def test_operators_are_left_with_their_kernels(chain: Graph) -> None:
    found = problem(chain)
    np.testing.assert_allclose(found.cost_us[:, 1], KERNEL_US)
    np.testing.assert_allclose(found.cost_us[:, 0], [100.0, np.inf, 100.0])
    np.testing.assert_allclose(found.launch_us, [0.0, LAUNCH_US])


def makespan_us(graph: Graph, *variants: int) -> float:
    return float(Evaluator(problem(graph)).outcome(Genes(variants)).makespan_us)


def test_only_what_crosses_is_carried(chain: Graph) -> None:
    both = way_us(THERE, 4096) + way_us(BACK, 4096)
    # The model's input and output, in the mean of both directions each.
    assert makespan_us(chain, 1, 1, 1) == pytest.approx(LAUNCH_US + 3 * KERNEL_US + both)
    # There and back between the operators of the host.
    assert makespan_us(chain, 0, 1, 0) == pytest.approx(200 + LAUNCH_US + KERNEL_US + both)
