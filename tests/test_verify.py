"""Regions that are off, cut until they are not."""

from __future__ import annotations

import numpy as np
import pytest

from modelkit import NetworkBuilder
from tdse.assemble import Compiled
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, check_regions
from tdse.measure.accuracy import Difference
from tdse.measure.activations import activations, random_inputs
from tdse.verify import verified_regions


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Two branches of three operators, in turns; what joins them comes last."""
    builder = NetworkBuilder(seed=1)
    first = second = builder.input("x", np.random.default_rng(1).uniform(-1, 1, (4, 5, 5, 4)))
    for _ in range(3):
        first, second = builder.conv2d(first, 4, 3), builder.conv2d(second, 4, 1)
    return read_tflite(builder.float32({"y": builder.add(first, second)}))


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_what_is_cut_is_connected(most: int, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    within, off = Difference(), Difference(steps=100)
    assert within.is_allowed and not off.is_allowed

    def found(compiled: Compiled, position: int, values: object) -> Difference:
        return within if len(compiled.regions[position].ops) <= most else off

    monkeypatch.setattr("tdse.verify._region_difference", found)
    whole = [Region(0, "litert", graph.placed_ops)]
    values = activations(graph, random_inputs(graph, 0))
    regions = verified_regions(graph, whole, threads=1, values=values).regions
    check_regions(graph, regions)
    assert max(len(region.ops) for region in regions) <= most
