"""Which candidates use several lanes, and on which lane each region is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tdse.candidates import contestant_of
from tdse.contest import Contestant
from tdse.errors import PlacementError, TargetError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, check_regions
from tdse.lanes import copies, lane_contestants
from tdse.measure.race import Entry, Lap, Result
from tdse.search import Problem, search
from tdse.search.given import given_placement
from tdse.search.placement import make_placement
from tdse.search.schedule import Genes


@pytest.fixture(scope="module")
def graph(branches: Path) -> Graph:
    """An operator, two branches of three, and one that joins them."""
    return read_tflite(branches)


def _problem(graph: Graph, cores: int, slowdown: float = 1.0) -> Problem:
    rows = {op: row for row, op in enumerate(graph.placed_ops)}
    free = np.zeros((1, 1))
    return Problem(
        n_ops=len(rows),
        variants=("litert",),
        cost_us=np.full((len(rows), 1), 10.0),
        edges=[(rows[u], rows[v], tensor) for u, v, tensor in graph.edges],
        tensor_bytes=[tensor.size_bytes for tensor in graph.tensors],
        launch_us=[1.0],
        copy_us_per_byte=free,
        border_us=free,
        device_cores=[cores],
        slowdown=[[slowdown]],
    )


def _best(graph: Graph, problem: Problem) -> Contestant:
    genes = search(problem, ["latency"], seconds=1).candidates[0].genes
    return contestant_of(graph, problem, "best", 1, genes)


def test_branches_are_on_two_lanes(graph: Graph) -> None:
    best = _best(graph, _problem(graph, cores=2))
    check_regions(graph, best.regions)
    assert best.lanes == 2
    # Root, three operators of a branch beside those of the other, and the join.
    assert best.predicted_us == pytest.approx(5 * 10.0 + 3 * 1.0, abs=1.5)
    # What is on one lane runs in the order of the regions, and what a lane reads is made before it.
    of_lane = {lane: [r.ops for r in best.regions if r.lanes == (lane,)] for lane in (0, 1)}
    assert sorted(op for ops in of_lane.values() for one in ops for op in one) == list(
        graph.placed_ops
    )
    assert of_lane[0] and of_lane[1]


@pytest.mark.parametrize(("cores", "slowdown"), [(1, 1.0), (2, 3.0)])
def test_one_lane_where_more_are_not_there_or_do_not_pay(
    graph: Graph, cores: int, slowdown: float
) -> None:
    best = _best(graph, _problem(graph, cores, slowdown))
    assert {region.lanes for region in best.regions} == {(0,)}
    assert best.predicted_us == pytest.approx(8 * 10.0 + 1.0)


def test_what_follows_is_on_the_lane_that_made_its_input(graph: Graph) -> None:
    problem = _problem(graph, cores=2)
    every = (True,) * len(problem.links)
    found = contestant_of(graph, problem, "apart", 1, Genes((0,) * problem.n_ops, every))
    check_regions(graph, found.regions)
    lane = {region.ops[0]: region.lanes for region in found.regions}
    assert len(lane) == problem.n_ops and found.lanes == 2
    # Within each branch, nothing changes its lane.
    middle = graph.placed_ops[1:-1]
    for u, v, _ in graph.edges:
        if u in middle and v in middle:
            assert lane[u] == lane[v]


def test_copies_share_the_work() -> None:
    regions = (Region(0, "litert", (0, 1)), Region(1, "llvm", (2,)))
    one = Contestant("placed x1", 1, regions, 100.0, 100.0, power_w=5.0)
    two = copies(one, 2, slowdown=1.2, idle_w=2.0)
    assert two.name == "placed x1 on 2 lanes"
    assert [region.lanes for region in two.regions] == [(0, 1), (0, 1)]
    assert two.lanes == 2 and one.lanes == 1
    assert two.predicted_us == 100.0
    assert two.predicted_period_us == pytest.approx(60.0)
    assert two.worth("throughput", 60.0) < one.worth("throughput", 100.0)
    # Two cores' 3 W, and the idle power once.
    assert two.power_w == pytest.approx(8.0)
    assert copies(one, 2).predicted_period_us is None


def test_what_has_state_has_no_copies(graph: Graph, model_path) -> None:
    assert not graph.why_stateful
    assert read_tflite(model_path("resource_variable")).why_stateful
    state = read_tflite(model_path("variable_tensor"))
    assert state.why_stateful
    regions = [Region(0, "litert", state.placed_ops, (0, 1))]
    with pytest.raises(PlacementError, match="region 0 is on several lanes"):
        given_placement(state, make_placement(state, regions, 1, None, 0))


def test_what_cannot_be_built_does_not_keep_streams_from_being_predicted(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = _problem(graph, cores=1)
    good = _best(graph, problem)
    bad = dataclasses.replace(good, name="bad", predicted_us=1.0, predicted_period_us=1.0)

    class Builds:
        def build(self, contestant: Contestant) -> dict[str, object]:
            if contestant.name.startswith("bad"):
                raise TargetError("its results are off")
            return {"plan": contestant.name, "libraries": []}

    def timed(entries: list[Entry], *_: object, **__: object) -> dict[str, Result]:
        # Each of two lanes takes 30 us while the other is busy, and 20 us alone.
        times = {entry.name: 15.0 if entry.arguments["streamed"] else 20.0 for entry in entries}
        return {name: Result(name, (Lap((us,), 0, 0, 0),)) for name, us in times.items()}

    monkeypatch.setattr("tdse.lanes.race", timed)
    found = lane_contestants(
        graph,
        {1: problem},
        [good, bad],
        ("throughput",),
        2,
        Builds(),  # type: ignore[arg-type]
        seed=0,
        say=lambda stage, done, total, detail: None,
    )
    periods = {one.name: one.predicted_period_us for one in found}
    assert good.predicted_us is not None
    assert periods == {
        "best on 2 lanes": pytest.approx(good.predicted_us * 1.5 / 2),
        "bad on 2 lanes": pytest.approx(1.0 * 1.5 / 2),
    }
