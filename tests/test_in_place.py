"""Regions timed in place, and what is learnt of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdse.child import Child
from tdse.contest import Builder, Contestant
from tdse.cost.library import NOTHING
from tdse.cost.table import CostTable
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.workload import workload
from tdse.in_place import InPlace, learn_in_place, switches_left, time_in_place

LAUNCH_US = 1.0
ALONE_US = 11.0


@pytest.fixture(scope="module")
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8)


def _halves(graph: Graph) -> tuple[Region, ...]:
    ops = graph.placed_ops
    middle = len(ops) // 2
    return Region(0, "litert", ops[:middle]), Region(1, "llvm", ops[middle:])


def _table(graph: Graph) -> CostTable:
    """Each operator takes 10 us on each target, and 11 with its launch."""
    ops, targets = graph.placed_ops, ("litert", "llvm")
    cost = np.full((len(ops), 2), ALONE_US - LAUNCH_US)
    source = tuple(("measured", "measured") for _ in ops)
    return CostTable(ops, targets, (1, 1), cost, cost, cost, cost + LAUNCH_US, source)


@pytest.mark.parametrize("pace", [1.0, 3.0])
def test_dear_launches_are_learnt_whatever_the_machine_s_pace(graph: Graph, pace: float) -> None:
    n = len(graph.placed_ops)
    ops = graph.placed_ops
    extra_us = 40.0
    # Each operator is a region: all that is not its own time is the launch.
    regions = tuple(Region(i, "llvm" if i % 2 else "litert", (op,)) for i, op in enumerate(ops))
    times_us = tuple(pace * (ALONE_US + extra_us) for _ in ops)
    timed = {1: InPlace(regions, times_us, pace * (10.0 * n + LAUNCH_US))}
    variants = [("litert", 1), ("llvm", 1)]
    launches = dict.fromkeys(variants, LAUNCH_US)
    models = dict.fromkeys(variants, NOTHING)
    learnt = learn_in_place(graph, {1: _table(graph)}, timed, models, launches, frozenset())
    for variant in variants:
        model = learnt[variant].regions
        # Whether a launch or an operator costs it cannot be told from regions of one.
        together = model.launch_extra_us + model.weights["operators"]
        assert together == pytest.approx(extra_us, rel=0.2)
    assert learnt["litert", 1].regions.launch_extra_us == pytest.approx(extra_us, rel=0.25)
    untouched = learn_in_place(
        graph, {1: _table(graph)}, timed, models, launches, frozenset({"llvm"})
    )
    assert untouched["llvm", 1] is NOTHING and untouched["litert", 1] is not NOTHING


def test_a_whole_model_that_is_faster_than_its_operators_is_learnt(graph: Graph) -> None:
    ops = graph.placed_ops
    sum_us = 10.0 * len(ops) + LAUNCH_US
    timed = {1: InPlace((Region(0, "llvm", ops),), (0.7 * sum_us,), sum_us)}
    variants = [("litert", 1), ("llvm", 1)]
    launches = dict.fromkeys(variants, LAUNCH_US)
    models = dict.fromkeys(variants, NOTHING)
    learnt = learn_in_place(graph, {1: _table(graph)}, timed, models, launches, frozenset())
    works, alone_us = [workload(graph, graph.ops[op]) for op in ops], np.full(len(ops), ALONE_US)
    whole_us = {
        target: learnt[target, threads].regions.predict_us(works, alone_us, LAUNCH_US)
        for target, threads in variants
    }
    assert whole_us["llvm"] == pytest.approx(0.7 * sum_us, rel=0.05)
    assert whole_us["litert"] == pytest.approx(sum_us, rel=0.05)


@pytest.mark.tvm
@pytest.mark.usefixtures("record_store_of_module")
def test_regions_are_timed_while_the_whole_runs(graph: Graph) -> None:
    placed = Contestant("placed x1", 1, _halves(graph), 1.0, 1.0)
    alone = Contestant("llvm x1", 1, (Region(0, "llvm", graph.placed_ops),), 1.0, 1.0)
    whole = Contestant("litert x1", 1, (Region(0, "litert", graph.placed_ops),), 1.0, 1.0)
    silent = lambda *_: None  # noqa: E731
    with Child(graph, silent) as child:
        builder = Builder(child, 0)
        timed = time_in_place(graph, [placed], [whole], builder, seed=0, say=silent)
        assert builder.build(placed) is builder.build(placed)
        timed_alone = time_in_place(graph, [alone], [whole], builder, seed=0, say=silent)
        assert time_in_place(graph, [whole], [whole], builder, seed=0, say=silent) == {}
        assert time_in_place(graph, [placed], [], builder, seed=0, say=silent) == {}
    one = timed[1]
    assert one.regions == placed.regions
    assert len(one.regions_us) == 2 and min(one.regions_us) > 0 and one.whole_us > 0
    assert timed_alone[1].regions == alone.regions and len(timed_alone[1].regions_us) == 1


def test_switches_are_charged_once(graph: Graph) -> None:
    switches = {("litert", "llvm", 1): 2.0, ("litert", "llvm", 2): 40.0, ("llvm", "npu", 2): 9.0}
    whole = (Region(0, "llvm", graph.placed_ops),)
    # With one thread they took turns, so launches have it; with two nothing was seen of that.
    timed = {1: InPlace(_halves(graph), (1.0, 1.0), 2.0), 2: InPlace(whole, (1.0,), 1.0)}
    left = switches_left(switches, timed)
    assert left == {("litert", "llvm", 2): 40.0, ("llvm", "npu", 2): 9.0}
