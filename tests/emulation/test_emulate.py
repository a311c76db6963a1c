"""Costs, placements and layouts of emulated boards, held against what the search says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tdse.emulation.costs import BoardCosts, memories
from tdse.emulation.emulate import demand_mode, emulate
from tdse.emulation.executor import emulated_executor
from tdse.emulation.layout import Layout, lay_out
from tdse.emulation.stream import stream_period_us
from tdse.errors import ModelError, PlacementError, PlatformError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.platform import Platform, load_platform
from tdse.runtime.emulated import Step
from tdse.runtime.model import model_by_position
from tdse.search import Problem, search
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes

ModelPath = Callable[[str], Path]
Changed = Callable[[str, str], Platform]


@pytest.fixture(scope="module")
def graph(branches: Path) -> Graph:
    return read_tflite(branches)


def test_operators_take_what_the_file_says(graph: Graph, board: Platform) -> None:
    by_kind = {op.kind: op for op in graph.ops}
    root = next(op for op in graph.ops if op.label == "0:conv2d")
    row = {op: i for i, op in enumerate(graph.placed_ops)}
    cpu_us, npu_us = BoardCosts(graph, board).problem().cost_us.T
    # 16x16x8 results of 3x3x8 products each.
    assert cpu_us[row[root.index]] == 16 * 16 * 8 * 3 * 3 * 8 / 50
    assert npu_us[row[root.index]] == 16 * 16 * 8 * 3 * 3 * 8 / 80
    assert cpu_us[row[by_kind["depthwise_conv2d"].index]] == 16 * 16 * 8 * 3 * 3 / 10
    # Two operands and a result of 2048 bytes.
    assert cpu_us[row[by_kind["add"].index]] == 3 * 2048 / 4


def test_what_devices_refuse(graph: Graph, board: Platform, tiny_float: Path) -> None:
    swish = next(op.index for op in graph.ops if op.kind == "hard_swish")
    refusals = BoardCosts(graph, board).refusals
    assert ("npu", 0) not in refusals
    assert refusals["npu", swish] == "hard_swish is not among its kinds"
    in_float = BoardCosts(read_tflite(tiny_float), board).refusals
    assert in_float["npu", 0] == "tensor 'image' is of type float32"
    assert ("cpu", 0) not in in_float


def test_memories_follow_the_links(board: Platform) -> None:
    assert memories(board) == [0, 1]
    assert memories(load_platform("jetson-orin-nano")) == [0, 0]


def test_a_run_is_laid_out_as_it_is_scheduled(graph: Graph, board: Platform) -> None:
    problem = BoardCosts(graph, board).problem()
    generator = np.random.default_rng(0)
    evaluator = Evaluator(problem)
    for _ in range(50):
        variants = [int(generator.choice(choices)) for choices in problem.choices]
        cuts = generator.integers(0, 2, len(problem.links))
        outcome = evaluator.outcome(Genes(variants, cuts))
        layout = lay_out(graph, board, problem, outcome, copies=False)
        assert layout.predicted_us == pytest.approx(outcome.makespan_us)
        starts = sorted(
            [region.start_us for region in outcome.schedule.regions]
            + [transfer.start_us for transfer in outcome.schedule.transfers]
        )
        assert sorted(step.start_us for step in layout.steps) == pytest.approx(starts)
        _demand_one_at_a_time(layout)
        copied = lay_out(graph, board, problem, outcome, copies=True)
        assert _load_us(copied) == pytest.approx(outcome.period_us)


def _demand_one_at_a_time(layout: Layout) -> None:
    for lane in range(len(layout.lanes)):
        on = sorted((s.start_us, s.modelled_us) for s in layout.steps if lane in s.lanes)
        assert on
        for (start_us, time_us), (next_us, _) in pairwise(on):
            assert start_us + time_us <= next_us + 1e-6


def _load_us(layout: Layout) -> float:
    return max(
        sum(step.modelled_us / len(step.lanes) for step in layout.steps if lane in step.lanes)
        for lane in range(len(layout.lanes))
    )


def test_a_stream_is_as_fast_as_the_busiest_lane_allows(graph: Graph, board: Platform) -> None:
    problem = BoardCosts(graph, board).problem()
    outcome = search(problem, ["latency"], seed=0, evaluations=2000).candidates[0].outcome
    layout = lay_out(graph, board, problem, outcome, copies=False)
    sequential_us = sum(step.modelled_us for step in layout.steps)
    lanes = len(layout.lanes)
    # One run at a time takes what a run takes, many of them what the busiest lane takes; each step
    # takes up to 3 % longer than modelled, so that nothing depends on exact times.
    one_us = stream_period_us(graph, layout.steps, lanes, 1)
    many_us = stream_period_us(graph, layout.steps, lanes, 50)
    assert layout.predicted_us < one_us < 1.03 * layout.predicted_us
    assert 0.99 * _load_us(layout) < many_us < 1.04 * _load_us(layout)
    assert many_us < one_us < sequential_us


def test_copies_take_turns(graph: Graph) -> None:
    step = Step(
        name="all",
        place="cpu",
        lanes=(0, 1, 2),
        start_us=0,
        modelled_us=300,
        memory=0,
        ops=graph.placed_ops,
    )
    assert stream_period_us(graph, [step], 3, 4) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(
    ("factors", "items"), [((1.0, 1.0, 1.0), 2), ((1.1, 1.02, 1.0), 3), ((1.1, 1.05, 1.0), 4)]
)
def test_as_many_runs_are_on_their_way_as_pay(
    graph: Graph,
    board: Platform,
    factors: tuple[float, ...],
    items: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def period_us(graph: Graph, steps: Sequence[Step], lanes: int, in_flight: int) -> float:
        return 1e6 * (factors[in_flight // lanes - 2] if lanes > 1 else 2.0)

    monkeypatch.setattr("tdse.emulation.emulate.stream_period_us", period_us)
    emulated = emulate(graph, board, "correctness", objective="throughput", budget_s=1).emulated
    assert len(emulated.lanes) > 1 and emulated.items_per_lane == items
    model = model_by_position(emulated_executor(graph, emulated, {}).module())
    assert model.max_items == items * len(emulated.lanes)


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy"])
def test_a_placement_obeys_its_pins(graph: Graph, board: Platform, objective: str) -> None:
    made = emulate(
        graph, board, "timing", objective=objective, pins=["add=cpu", "0=npu"], budget_s=0.5
    )
    device = {op.label: op.device for op in made.placement.ops}
    assert (device["0:conv2d"], device["7:add"]) == ("npu", "cpu")
    assert {device[name] for name in device if "hard_swish" in name} == {"cpu"}
    emulated = made.emulated
    assert all(name.endswith(" (emulated)") for name in emulated.lanes)
    assert (emulated.board, emulated.mode) == ("slow-board", "timing")
    assert emulated.label == "emulated: slow-board, timing"
    assert emulated.capacity_us <= emulated.predicted_period_us
    assert emulated.predicted_us <= emulated.sequential_us
    placed = sorted(op for step in emulated.steps for op in step.ops)
    assert placed == list(graph.placed_ops)


def test_constants_that_do_not_fit_go_elsewhere(graph: Graph, changed_board: Changed) -> None:
    small = changed_board('dtypes = ["int8"]', 'dtypes = ["int8"]\nparameter_bytes = 100')
    made = emulate(graph, small, "timing", budget_s=0.5)
    held = {op.index for op in made.placement.ops if op.device == "npu"}
    assert sum(graph.ops[op].parameter_bytes for op in held) <= 100


def test_devices_that_share_a_memory_need_no_transfers(graph: Graph) -> None:
    board = load_platform("jetson-orin-nano")
    problem = BoardCosts(graph, board).problem()
    assert isinstance(problem, Problem)
    outcome = Evaluator(problem).outcome(Genes([i % 2 for i in range(problem.n_ops)]))
    assert not outcome.schedule.transfers


def test_what_cannot_be_placed(
    graph: Graph, board: Platform, changed_board: Changed, model_path: ModelPath
) -> None:
    with pytest.raises(PlacementError, match="cannot be placed on a board"):
        emulate(read_tflite(model_path("resource_variable")), board, "timing")
    text = "[devices.emulated]\nconv_macs_per_us = 50"
    nowhere = changed_board(text, f'{text}\nkinds = ["conv2d"]')
    with pytest.raises(ModelError) as caught:
        emulate(graph, nowhere, "timing")
    assert caught.value.what == "op 2:hard_swish runs on no device"
    assert "cpu: hard_swish is not among its kinds; npu: " in caught.value.why


def test_what_is_refused(graph: Graph, board: Platform, changed_board: Changed) -> None:
    with pytest.raises(UsageError, match="has no front"):
        emulate(graph, board, "timing", objective="pareto")
    with pytest.raises(UsageError, match="there is no device tpu"):
        emulate(graph, board, "timing", pins=["0=tpu"])
    powerless = changed_board("active_w_per_core = 2.0\n", "")
    with pytest.raises(PlatformError, match="device npu has no power figures"):
        emulate(graph, powerless, "timing", objective="energy")
    link = '[[links]]\nbetween = ["cpu", "npu"]\nbandwidth_bytes_per_s = 5e6\n'
    doubled = changed_board(link, link + link)
    with pytest.raises(PlatformError, match="two ways lead from cpu to npu"):
        emulate(graph, doubled, "timing")


def test_the_mode_is_asked_for_where_it_means_something(board: Platform) -> None:
    assert demand_mode(board, "timing") == "timing"
    assert demand_mode(load_platform("rpi4"), None) is None
    for platform, mode, why in (
        (board, None, "is emulated: its times are modelled, not measured; say --emulate correct"),
        (board, "both", "there is no mode 'both'; choose --emulate correctness or --emulate tim"),
        (load_platform("rpi4"), "timing", "platform rpi4 is not emulated; leave it out"),
    ):
        with pytest.raises(UsageError) as caught:
            demand_mode(platform, mode)
        assert why in str(caught.value)
