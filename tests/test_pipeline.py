"""The whole way on small models: from a file to an artefact that runs, and back to a placement."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import tdse
from litert_reference import random_inputs, run_litert
from tdse.contest import Contestant
from tdse.errors import PlacementError, PlatformError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.place import Options, decide
from tdse.search.front import load_front
from tdse.search.placement import load_placement, make_placement

pytestmark = [pytest.mark.tvm, pytest.mark.usefixtures("record_store_of_module")]
ModelPath = Callable[[str], Path]


@pytest.fixture(scope="module")
def artefact(tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artefact") / "out"
    tdse.compile(tiny_conv_int8, out=out, budget_s=20)
    return out


def _same_as_litert(out: Path, model: Path) -> None:
    loaded = tdse.load(out)
    inputs = random_inputs(model.read_bytes(), seed=3)
    for ours, reference in zip(
        loaded.run(inputs), run_litert(model.read_bytes(), inputs), strict=True
    ):
        if reference.dtype.kind == "f":
            assert np.abs(ours - reference).max() <= 1e-4 * np.abs(reference).max()
        else:
            assert np.abs(ours.astype(int) - reference.astype(int)).max() <= 1


def test_the_artefact_is_complete(artefact: Path) -> None:
    assert sorted(p.name for p in artefact.iterdir()) == [
        "metadata.json",
        "model.so",
        "placement.json",
    ]
    metadata = json.loads((artefact / "metadata.json").read_text())
    timed = [row for row in metadata["contest"] if "measured_us" in row]
    assert {"litert x1"} <= {row["name"] for row in timed}
    winner = next(row for row in timed if row["won"])
    assert winner["measured_us"] <= 1.03 * min(row["measured_us"] for row in timed)


@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_float", "two_inputs_two_outputs"])
def test_results_are_litert_s(name: str, model_path: ModelPath, tmp_path: Path) -> None:
    model = model_path(name)
    tdse.compile(model, out=tmp_path / "out", budget_s=20)
    _same_as_litert(tmp_path / "out", model)


@pytest.mark.parametrize("name", ["resource_variable", "conditional", "float16_weights"])
def test_awkward_models_run(name: str, model_path: ModelPath, tmp_path: Path) -> None:
    model = model_path(name)
    result = tdse.compile(model, out=tmp_path / "out", budget_s=10)
    if name != "float16_weights":
        assert [region.target for region in result.placement.regions] == ["litert"]
    _same_as_litert(tmp_path / "out", model)


def test_pins_are_obeyed(tiny_conv_int8: Path, tmp_path: Path) -> None:
    result = tdse.compile(
        tiny_conv_int8, out=tmp_path / "out", pins=["hard_swish=llvm", "conv2d=litert"], budget_s=20
    )
    placed = {op.label.partition(":")[2]: op.target for op in result.placement.ops}
    assert placed["hard_swish"] == "llvm"
    assert placed["conv2d"] == "litert"
    # Tables only on llvm: every bit is LiteRT's.
    _same_as_litert(tmp_path / "out", tiny_conv_int8)


def test_tables_are_bit_exact(tiny_conv_int8: Path, tmp_path: Path) -> None:
    pins = ["hard_swish=llvm", *(f"{kind}=litert" for kind in _kinds(tiny_conv_int8))]
    result = tdse.compile(tiny_conv_int8, out=tmp_path / "out", pins=pins, budget_s=20)
    assert result.difference.is_exact
    data = tiny_conv_int8.read_bytes()
    loaded = tdse.load(tmp_path / "out")
    for seed in range(5):
        inputs = random_inputs(data, seed=seed)
        assert np.array_equal(loaded.run(inputs)[0], run_litert(data, inputs)[0])


def _kinds(model: Path) -> list[str]:
    from tdse.graph.reader import read_tflite

    return sorted({op.kind for op in read_tflite(model).ops} - {"hard_swish"})


def test_a_pin_that_cannot_be_obeyed_says_why(model_path: ModelPath, tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match=r"cannot be pinned to llvm.*placed whole"):
        tdse.compile(
            model_path("resource_variable"), out=tmp_path / "o", pins=["0=llvm"], budget_s=5
        )
    with pytest.raises(UsageError, match="there is no operator"):
        tdse.compile(model_path("tiny_float"), out=tmp_path / "o", pins=["relu9=llvm"], budget_s=5)


def test_a_placement_is_repeated(artefact: Path, tiny_conv_int8: Path, tmp_path: Path) -> None:
    given = artefact / "placement.json"
    result = tdse.compile(tiny_conv_int8, out=tmp_path / "again", placement=given)
    assert result.placement.regions == load_placement(given).regions
    inputs = random_inputs(tiny_conv_int8.read_bytes(), seed=7)
    first, second = tdse.load(artefact).run(inputs), tdse.load(tmp_path / "again").run(inputs)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _platform(directory: Path) -> str:
    """This machine, with made-up power figures."""
    file = directory / "powered.toml"
    file.write_text(
        'name = "powered"\n[[devices]]\nname = "cpu"\ntargets = ["litert", "llvm"]\n'
        f'triple = "{platform.machine()}-linux-gnu"\ncores = 1\n'
        "idle_w = 1.0\nactive_w_per_core = 2.0\n"
    )
    return str(file)


def test_the_winner_is_the_best_by_the_objective(tiny_conv_int8: Path, tmp_path: Path) -> None:
    result = tdse.compile(
        tiny_conv_int8,
        out=tmp_path / "out",
        platform=_platform(tmp_path),
        objective="energy",
        budget_s=5,
    )
    assert result.metadata["objective"] == "energy"
    assert {row["threads"] for row in result.metadata["searches"]} == {1}
    assert all(0 <= row["gap"] < 1 for row in result.metadata["searches"])
    timed = [row for row in result.metadata["contest"] if "measured_us" in row]
    for row in timed:
        # All on one core of a machine of 3 W.
        assert row["power_w"] == pytest.approx(3.0)
        assert row["modelled_mj"] == pytest.approx(3e-3 * row["measured_us"])
    winner = next(row for row in timed if row["won"])
    assert winner["modelled_mj"] <= 1.03 * min(row["modelled_mj"] for row in timed)


def test_throughput_is_that_of_a_stream(tiny_conv_int8: Path, tmp_path: Path) -> None:
    from tdse.bench import bench

    result = tdse.compile(tiny_conv_int8, out=tmp_path / "out", objective="throughput", budget_s=20)
    assert result.decision is not None
    contest = result.decision.contest
    cores = len(os.sched_getaffinity(0))
    several = [one for one in contest.contestants if one.lanes > 1]
    assert {one.lanes for one in several} == ({cores} if cores > 1 else set())
    for one in several:
        assert one.predicted_us is not None and one.predicted_period_us is not None
        assert all(region.lanes == tuple(range(one.lanes)) for region in one.regions)
        assert one.predicted_period_us >= one.predicted_us / one.lanes
    assert result.metadata["lanes"] == contest.winner.lanes == result.placement.lanes
    _same_as_litert(tmp_path / "out", tiny_conv_int8)
    report = bench(tmp_path / "out", against=("litert",), stream=True, launches=2, seconds=0.3)
    assert report.streamed and report.correctness.ours.steps <= 1
    assert {"tdse", "litert x1"} <= {row.name for row in report.rows}
    assert any("copies of litert" in row.name for row in report.rows) == (cores > 1)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_placement_on_two_lanes(branches: Path, tmp_path: Path, side_by_side: bool) -> None:
    graph = read_tflite(branches)
    root, *middle, join = graph.placed_ops
    of_branch = _branches(graph, middle)
    parts = [((root,), 0), (of_branch[0], 0), (of_branch[1], 1), ((join,), 0)]
    regions = [
        Region(index, "litert", ops, (lane,) if side_by_side else (0, 1))
        for index, (ops, lane) in enumerate(parts)
    ]
    placement = make_placement(graph, regions, 1, None, 0)
    out = tmp_path / "out"
    tdse.compile(branches, out=out, placement=placement)
    assert load_placement(out / "placement.json") == placement
    model = tdse.load(out)
    assert len(model.lanes) == 2
    _same_as_litert(out, branches)
    items = [random_inputs(branches.read_bytes(), seed=seed) for seed in range(12)]
    expected = [run_litert(branches.read_bytes(), item) for item in items]
    for result, (wanted,) in zip(model.stream(map(tuple, items)), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def _branches(graph: Graph, ops: Sequence[int]) -> list[tuple[int, ...]]:
    """The connected parts of some operators."""
    parts: list[set[int]] = [{op} for op in ops]
    for u, v, _ in graph.edges:
        joined = [part for part in parts if u in part or v in part]
        if u in ops and v in ops and len(joined) == 2:
            parts = [part for part in parts if part not in joined] + [joined[0] | joined[1]]
    return sorted(tuple(sorted(part)) for part in parts)


def test_a_front_and_a_build_of_each_of_its_placements(
    tiny_conv_int8: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = tdse.compile(
        tiny_conv_int8, out=out, platform=_platform(tmp_path), objective="pareto", budget_s=5
    )
    front = load_front(out / "front.json")
    assert front == first.front
    assert front.entries[0].placement == first.placement == load_placement(out / "placement.json")
    timed = {row["name"]: row for row in first.metadata["contest"] if "measured_us" in row}
    for entry in front.entries:
        row = timed[entry.name]
        assert (entry.measured_us, entry.modelled_mj) == (row["measured_us"], row["modelled_mj"])
        # Nothing that was timed is better in both.
        assert not any(
            other["measured_us"] < entry.measured_us and other["modelled_mj"] < entry.modelled_mj
            for other in timed.values()
        )
    # Into the directory that the front is in: it stays there.
    last = len(front.entries)
    again = tdse.compile(tiny_conv_int8, out=out, placement=f"{out}/front.json#{last}")
    assert again.placement == front.entries[-1].placement
    assert load_front(out / "front.json") == front
    assert again.metadata["files"]["front.json"] == first.metadata["files"]["front.json"]
    assert again.metadata["objective"] is None
    with pytest.raises(PlacementError, match=f"the front has no placement {last + 1}"):
        tdse.compile(tiny_conv_int8, out=out, placement=f"{out}/front.json#{last + 1}")
    _same_as_litert(out, tiny_conv_int8)


def test_energy_of_a_platform_without_power_figures(tiny_float: Path, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no power figures.*set active_w_per_core"):
        tdse.compile(tiny_float, out=tmp_path / "out", objective="energy")
    assert not (tmp_path / "out").exists()


def test_a_given_placement_leaves_no_objective(artefact: Path, tiny_conv_int8: Path) -> None:
    given = artefact / "placement.json"
    with pytest.raises(UsageError, match="leaves nothing to pin or to choose"):
        tdse.compile(tiny_conv_int8, out=artefact, placement=given, objective="throughput")


def test_a_placement_of_another_model_is_refused(
    artefact: Path, tiny_float: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlacementError, match="of another model"):
        tdse.compile(tiny_float, out=tmp_path / "o", placement=artefact / "placement.json")


def test_strict_refuses_a_model_that_is_placed_whole(model_path: ModelPath, tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match="placed whole"):
        tdse.compile(model_path("resource_variable"), out=tmp_path / "o", strict=True, budget_s=5)
    assert not (tmp_path / "o").exists()


def test_the_search_is_repeatable(tiny_conv_int8: Path, artefact: Path) -> None:
    from tdse.graph.reader import read_tflite

    graph = read_tflite(tiny_conv_int8)
    first, second = (decide(graph, Options(budget_s=20, seed=5)) for _ in range(2))
    named = [[(c.name, c.regions) for c in d.contest.contestants] for d in (first, second)]
    assert named[0] == named[1]
    assert first.measured == second.measured == 0


def test_a_failed_run_leaves_the_old_artefact(
    artefact: Path, tiny_conv_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (artefact / "model.so").read_bytes()
    monkeypatch.setattr("tdse.pipeline.write_json", lambda path, value: _no_space())
    with pytest.raises(tdse.TdseError, match="cannot be written"):
        tdse.compile(tiny_conv_int8, out=artefact, placement=artefact / "placement.json")
    assert (artefact / "model.so").read_bytes() == before
    assert [p.name for p in artefact.parent.iterdir()] == ["out"]


def _no_space() -> None:
    raise OSError(28, "No space left on device")


def test_the_artefact_is_an_ordinary_tvm_module(artefact: Path, tiny_conv_int8: Path) -> None:
    data = tiny_conv_int8.read_bytes()
    inputs = random_inputs(data, seed=1)
    np.save(artefact.parent / "x.npy", inputs[0])
    code = (
        "import numpy as np, tvm, sys\n"
        "from tvm import relax\n"
        "import tdse.runtime.native as native; native.register()\n"
        f"lib = tvm.runtime.load_module({str(artefact / 'model.so')!r})\n"
        "vm = relax.VirtualMachine(lib, tvm.cpu())\n"
        f"x = np.load({str(artefact.parent / 'x.npy')!r})\n"
        f"np.save({str(artefact.parent / 'y.npy')!r}, vm['main'](tvm.runtime.tensor(x)).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    result = np.load(artefact.parent / "y.npy")
    (artefact.parent / "x.npy").unlink()
    (artefact.parent / "y.npy").unlink()
    assert np.array_equal(result, tdse.load(artefact).run(inputs)[0])


def test_bench_of_an_artefact(artefact: Path) -> None:
    from tdse.bench import bench

    report = bench(artefact, against=("litert",), launches=2, seconds=0.3)
    assert {row.name for row in report.rows} >= {"tdse", "litert x1"}
    assert report.correctness.ours.steps <= 1
    assert sum(region.ops for region in report.regions) == len(
        load_placement(artefact / "placement.json").ops
    )


def test_bench_of_a_model_with_a_state(model_path: ModelPath, tmp_path: Path) -> None:
    from tdse.bench import bench

    out = tmp_path / "out"
    tdse.compile(model_path("variable_tensor"), out=out, threads=1, budget_s=5)
    report = bench(out, against=("litert",), launches=1, seconds=0.1)
    assert report.correctness.inputs > 1
    assert report.correctness.ours.is_exact


@pytest.mark.parametrize("one_lane", [True, False])
def test_what_runs_regions_one_after_the_other_is_offered_no_lanes(
    branches: Path, monkeypatch: pytest.MonkeyPatch, one_lane: bool
) -> None:
    asked: list[object] = []

    def lanes(graph: Graph, *_: object, **__: object) -> list[Contestant]:
        asked.append(graph)
        return []

    monkeypatch.setattr("tdse.place.lane_contestants", lanes)
    graph = read_tflite(branches)
    found = decide(graph, Options(budget_s=3, threads=1, one_lane=one_lane))
    assert {contestant.lanes for contestant in found.contest.contestants} == {1}
    assert asked == ([] if one_lane else [graph])


def test_equal_operators_are_measured_once(branches: Path, tmp_path: Path) -> None:
    graph = read_tflite(branches)
    decide(graph, Options(budget_s=20, threads=1))
    store = RecordStore(current_conditions())
    signatures = {signature(graph, op) for op in graph.placed_ops}
    records = store.find(signatures)
    assert len([key for key in records if key[1] == "litert"]) == len(signatures)
