"""Several Edge TPUs share a chain: segments balanced by time, held against all ways to cut it."""

from __future__ import annotations

import edgetpu_segments
import numpy as np
import pytest

from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import emulate
from tdse.graph.model import Graph
from tdse.search.bounds import lower_bound

# The later half has most of the parameters, the earlier half most of the work.
LAYERS = ((32, 2), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))


@pytest.fixture(scope="module")
def chain() -> Graph:
    return edgetpu_segments.chain(LAYERS, 112)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_segments_are_balanced_by_time(
    chain: Graph, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The parameters do not fit into one.
    monkeypatch.setattr("tdse.edgetpu.cost.PARAMETER_CAPACITY_BYTES", 900_000)
    board = edgetpu_segments.board(count, "pcie")
    costs = BoardCosts(chain, board)
    every_cut = edgetpu_segments.cuts(len(LAYERS), count)
    best_us = min(edgetpu_segments.segments_period_us(costs, cut) for cut in every_cut)
    made = emulate(chain, board, "timing", objective="throughput", budget_s=3.0).emulated
    # A stream is predicted with some jitter, of 3 % at most.
    assert made.predicted_period_us <= 1.04 * best_us
    assert made.capacity_us >= 0.999 * lower_bound(costs.problem(), "throughput")
    equal_us = edgetpu_segments.segments_period_us(
        costs, edgetpu_segments.by_parameters(chain, count)
    )
    assert made.predicted_period_us < 0.95 * equal_us


def test_equal_parameters(chain: Graph) -> None:
    sizes = np.array([edgetpu_segments.parameter_bytes(chain, op) for op in chain.placed_ops])
    segments = np.array(edgetpu_segments.by_parameters(chain, 2))
    assert (np.diff(segments) >= 0).all()
    shares = [sizes[segments == i].sum() / sizes.sum() for i in (0, 1)]
    # No operator is moved to make them more equal.
    assert max(shares) - 0.5 <= sizes.max() / sizes.sum()
