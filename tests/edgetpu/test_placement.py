"""Models on an emulated board with an Edge TPU: where operators run, what that takes, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from packages import compiled_model, package

import tdse
from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.cli import tdsec
from tdse.edgetpu.mapping import compiler_mapping
from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import emulate
from tdse.emulation.ways import compiler_genes, way_of
from tdse.errors import ModelError, PlatformError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.platform import Platform, load_platform
from tdse.platform.edgetpu import LINKS
from tdse.runtime.litert import run_litert
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes

BOARD = "rpi4-coral-usb3"
TPU = '[[devices]]\nname = "{name}"\n[devices.edgetpu]\nlink = "{link}"\n{more}\n'
CPU = """name = "board"
[[devices]]
name = "cpu"
[devices.emulated]
conv_macs_per_us = 100
depthwise_macs_per_us = 20
dense_macs_per_us = 20
bytes_per_us = 1000
"""


@pytest.fixture
def board_with(tmp_path: Path) -> Callable[..., Platform]:
    """A slow CPU with Edge TPUs."""

    def make(*tpus: str, link: str = "usb3", more: str = "") -> Platform:
        path = tmp_path / "board.toml"
        path.write_text(CPU + "".join(TPU.format(name=n, link=link, more=more) for n in tpus))
        return load_platform(str(path))

    return make


def test_regions_behind_what_the_compiler_stops_at(cut_in_two: Path, tmp_path: Path) -> None:
    graph = read_tflite(cut_in_two)
    assert compiler_mapping(graph).mapped == {0, 1}
    out = tmp_path / "out"
    result = tdse.compile(cut_in_two, out=out, platform=BOARD, emulate="correctness", budget_s=2)
    assert [(r.device, r.ops) for r in result.placement.regions] == [
        ("tpu", (0, 1)),
        ("cpu", (2,)),
        ("tpu", (3, 4)),
    ]
    emulated = result.metadata["emulated"]
    assert emulated["predicted_us"] < emulated["compiler_us"]
    assert emulated["first_run_us"] > 1000
    x = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 64)).astype(np.int8)
    assert np.array_equal(tdse.load(out)(x), run_litert(graph.data, [x])[0])


def test_the_compilers_placement_is_never_beaten_by_the_searchs(
    cut_in_two: Path, board_with: Callable[..., Platform]
) -> None:
    graph = read_tflite(cut_in_two)
    for link in ("usb3", "usb2", "pcie"):
        board = board_with("tpu", link=link)
        costs = BoardCosts(graph, board)
        genes = compiler_genes(costs)
        assert genes is not None
        way = way_of(costs, genes)
        found = emulate(graph, board, "correctness", budget_s=1).emulated
        assert found.compiler_us == way.outcome.makespan_us
        assert found.predicted_us <= way.outcome.makespan_us


def test_one_region_is_the_compilers(
    cut_in_two: Path,
    board_with: Callable[..., Platform],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graph = read_tflite(cut_in_two)
    free = emulate(graph, board_with("tpu"), "correctness", budget_s=1).placement
    assert sum(region.device == "tpu" for region in free.regions) == 2
    board = board_with("tpu", more="one_region = true")
    made = emulate(graph, board, "correctness", budget_s=1)
    assert [r.ops for r in made.placement.regions if r.device == "tpu"] == [(0, 1)]
    assert made.emulated.predicted_us == made.emulated.compiler_us
    assert (
        tdsec.main([str(cut_in_two), "--platform", str(tmp_path / "board.toml"), "--explain"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "    not tpu: More than one subgraph is not supported: it comes behind 2:abs" in lines


def test_several_edge_tpus_share_a_stream(
    cut_in_two: Path, board_with: Callable[..., Platform]
) -> None:
    graph = read_tflite(cut_in_two)

    def period_us(*names: str) -> float:
        board = board_with(*names, link="pcie")
        given = {"objective": "throughput", "budget_s": 2.0}
        return emulate(graph, board, "timing", **given).emulated.predicted_period_us

    assert period_us("one", "two") < 0.9 * period_us("one")


def test_parameters_are_shared_by_all_regions(
    cut_in_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = BoardCosts(read_tflite(cut_in_two), load_platform(BOARD))
    ops = list(costs.graph.placed_ops)
    assert not costs.streamed_ops({1: ops})
    # Each convolution takes 64 * (9 * 64 + 12) bytes: three of them fit, in whatever regions.
    monkeypatch.setattr("tdse.edgetpu.cost.PARAMETER_CAPACITY_BYTES", 120_000)
    left_out = costs.streamed_ops({1: ops})
    assert left_out == {4}
    kept = costs.problem().cost_us[:, 1]
    dearer = costs.problem(left_out).cost_us[:, 1]
    assert dearer[4] == 64 * (9 * 64 + 12) / 464 > kept[4]
    assert np.array_equal(dearer[:4], kept[:4])


def test_explain_says_where_and_why(cut_in_two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tdsec.main([str(cut_in_two), "--platform", BOARD, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["0:conv2d: tpu", "1:conv2d: tpu"]
    assert "    not tpu: Operation not supported: ABS is not among Coral's" in lines[3]
    assert lines[5] == (
        "    edgetpu_compiler alone: More than one subgraph is not supported: it comes behind 2:abs"
    )
    assert lines[-2] == "what would help:"
    assert lines[-1].startswith("    2:abs keeps 2 ops behind it out of edgetpu_compiler's one")
    assert tdsec.main([str(cut_in_two), "--platform", BOARD, "--explain", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [op["runs_on"] for op in told["ops"]] == ["tpu", "tpu", "cpu", "tpu", "tpu"]


def test_what_two_regions_of_one_edge_tpu_share_goes_through_the_host(tmp_path: Path) -> None:
    def image(name: str) -> Tensor:
        return Tensor(name, (1, 32, 32, 64), "int8", scales=(0.1,), zero_points=(0,))

    tensors = [image(name) for name in ("x", "kept", "changed", "y")]
    operators = [
        Operator("LOGISTIC", (0,), (1,)),
        Operator("ABS", (1,), (2,), schema.AbsOptionsT()),
        Operator("ADD", (1, 2), (3,), schema.AddOptionsT()),
    ]
    path = tmp_path / "skip.tflite"
    path.write_bytes(write_model([Subgraph(tensors, operators, (0,), (3,))]))
    graph = read_tflite(path)
    problem = BoardCosts(graph, load_platform(BOARD)).problem()
    regions = Evaluator(problem).outcome(Genes((1, 0, 1))).schedule.regions
    took_us = {one.ops: one.end_us - one.start_us for one in regions}
    alone_us = problem.launch_us[1] + problem.cost_us[:, 1]
    assert took_us[0,] == pytest.approx(alone_us[0])
    usb = LINKS["usb3"]
    there_and_back_us = 2 * (usb.latency_us + 32 * 32 * 64 / usb.tensor_bytes_per_us)
    assert took_us[2,] == pytest.approx(alone_us[2] + there_and_back_us)


def test_platform_files(board_with: Callable[..., Platform]) -> None:
    two = board_with("one", "two")
    assert [link.between for link in two.all_links] == [
        ("cpu", "one"),
        ("cpu", "two"),
        ("one", "two"),
    ]
    between = two.all_links[2]
    assert between.bandwidth_bytes_per_s == pytest.approx(368e6 / 2) and between.shared
    with pytest.raises(PlatformError, match="link"):
        board_with("tpu", link="wifi")
    with pytest.raises(PlatformError, match="runtime"):
        board_with("tpu", more="runtime = 11")
    with pytest.raises(PlatformError, match="keep one"):
        board_with("tpu", more='[devices.emulated]\nconv_macs_per_us = 1\ndepthwise_macs_per_us = 1'
                   "\ndense_macs_per_us = 1\nbytes_per_us = 1")  # fmt: skip


def test_a_model_with_a_state_keeps_it(graph: Graph, model_path: Callable[[str], Path]) -> None:
    path = model_path("variable_tensor")
    given = read_tflite(path)
    assert given.why_stateful
    result = emulate(given, load_platform(BOARD), "correctness", budget_s=1)
    assert all(len(step.lanes) == 1 for step in result.emulated.steps)


def test_compiled_models_are_read(board_with: Callable[..., Platform], tmp_path: Path) -> None:
    path = tmp_path / "twin_edgetpu.tflite"
    path.write_bytes(compiled_model(package(5000, 0)))
    out = tmp_path / "out"
    board_with("tpu")
    board = str(tmp_path / "board.toml")
    result = tdse.compile(path, out=out, platform=board, edgetpu="compile-only")
    assert [(op.label, op.target) for op in result.placement.ops] == [
        ("0:edgetpu_custom_op", "edgetpu"),
        ("1:abs", "litert"),
    ]
    assert result.difference is None
    with pytest.raises(ModelError, match="cannot be computed on this machine: it holds instr"):
        tdse.compile(path, out=out, platform=BOARD, emulate="correctness")
    with pytest.raises(ModelError, match="how long op 0:edgetpu_custom_op takes is not known"):
        tdse.compile(path, out=out, platform=BOARD, emulate="timing")


def test_parameters_that_the_compiler_streams_take_their_time() -> None:
    def time_us(cached: int, streamed: int) -> float:
        graph = read_tflite(compiled_model(package(cached, streamed)))
        return float(BoardCosts(graph, load_platform(BOARD)).problem().cost_us[0, 1])

    rate = LINKS["usb3"].parameter_bytes_per_us
    assert time_us(5000, 0) == 0.0
    assert time_us(5000, 40_000) == pytest.approx(40_000 / rate)
