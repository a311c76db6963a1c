"""The whole way to artefacts of emulated boards: results, lanes that overlap, labels, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from litert_reference import random_inputs, run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.cli import main, tdsec
from tdse.emulation.bench import bench_emulated
from tdse.errors import PlacementError, UsageError
from tdse.runtime.model import Model
from tdse.search.placement import load_placement

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(branches: Path, board_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Compiles for the board, each mode and objective once."""
    made: dict[tuple[str, str], Path] = {}

    def make(mode: str, objective: str = "latency") -> Path:
        if (mode, objective) not in made:
            out = tmp_path_factory.mktemp("emulated") / "out"
            # The arms of the diamond on different devices, whatever the search would do.
            pins = ["1=npu", "2=cpu", "3=npu", "4=cpu", "5=cpu", "6=cpu"]
            tdse.compile(
                branches,
                out=out,
                platform=str(board_file),
                objective=objective,
                emulate=mode,
                pins=pins,
                budget_s=1,
            )
            made[mode, objective] = out
        return made[mode, objective]

    return make


def _is_traced(model: Model, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    model.run(inputs)
    model.start_trace()
    model.run(inputs)
    emulated = model.metadata["emulated"]
    return [
        {**emulated["steps"][run.region], "lane": run.lane, "from": run.start_us, "to": run.end_us}
        for run in model.take_trace()
    ]


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_computed_results_are_litert_s(make: Make, branches: Path, objective: str) -> None:
    model = tdse.load(make("correctness", objective))
    data = branches.read_bytes()
    cases = [random_inputs(data, seed=seed) for seed in range(4)]
    expected = [run_litert(data, case)[0] for case in cases]
    for case, reference in zip(cases, expected, strict=True):
        assert np.array_equal(model.run(case)[0], reference)
    for result, reference in zip(model.stream(tuple(c) for c in cases), expected, strict=True):
        assert np.array_equal(result, reference)


def test_recorded_results_are_replayed(make: Make, branches: Path) -> None:
    model = tdse.load(make("timing"))
    recorded = [info for info in model.random_inputs(0)]
    expected = run_litert(branches.read_bytes(), recorded)[0]
    for seed in (0, 1, 2):
        assert np.array_equal(model.run(model.random_inputs(seed))[0], expected)


@pytest.mark.parametrize("mode", ["correctness", "timing"])
def test_steps_keep_their_lanes_for_their_times(make: Make, branches: Path, mode: str) -> None:
    model = tdse.load(make(mode))
    steps = _is_traced(model, random_inputs(branches.read_bytes(), seed=0))
    assert {step["place"] for step in steps} == {"cpu", "npu", "cpu-npu"}
    for lane in range(len(model.lanes)):
        on = sorted((step["from"], step["to"]) for step in steps if step["lane"] == lane)
        # Never ahead of the model; how much behind depends on the machine.
        modelled_us = [step["modelled_us"] for step in steps if step["lane"] == lane]
        assert all(
            end >= so_far for (_, end), so_far in zip(on, accumulate(modelled_us), strict=True)
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(on))
    # One thread that is held up can keep the arms of one run apart, not those of every run.
    inputs = random_inputs(branches.read_bytes(), seed=0)
    assert any(_overlap(_is_traced(model, inputs)) for _ in range(20))


def _overlap(steps: list[dict[str, Any]]) -> bool:
    """Steps of two arms are computed at the same time."""
    arms = [step for step in steps if set(step["ops"]) & {1, 2, 3, 4, 5, 6}]
    return any(
        one["from"] < other["to"] and other["from"] < one["to"]
        for one in arms
        for other in arms
        if one["lane"] != other["lane"]
    )


def test_an_artefact_says_that_it_is_emulated(make: Make, board_file: Path) -> None:
    metadata = json.loads((make("timing") / "metadata.json").read_text())
    emulated = metadata["emulated"]
    assert (emulated["board"], emulated["mode"]) == ("slow-board", "timing")
    assert set(metadata["region_kinds"]) == {"emulated"}
    assert metadata["contest"] == []
    assert metadata["predicted_us"] == emulated["predicted_us"]
    assert emulated["predicted_mj"] > 0
    assert metadata["difference_from_litert"] == {"steps": 0, "relative": 0.0}
    placement = json.loads((make("timing") / "placement.json").read_text())
    assert {op["target"] for op in placement["ops"]} == {"emulated"}
    model = tdse.load(make("timing"))
    assert all("(emulated)" in lane["name"] for lane in model.lanes)


@pytest.mark.parametrize("stream", [False, True])
def test_bench_holds_prediction_and_measurement_side_by_side(
    make: Make, capsys: pytest.CaptureFixture[str], stream: bool
) -> None:
    out = str(make("timing", "throughput" if stream else "latency"))
    arguments = [out, "--launches", "1", "--seconds", "0.2", *["--stream"] * stream]
    assert main.main(["bench", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["emulated"] == "emulated: slow-board, timing"
    ours, sequential = report["contenders"]
    assert (ours["name"], sequential["name"]) == ("tdse", "one step after another")
    assert {ours["source"], sequential["source"]} == {"emulated"}
    # Never ahead of the model; how much behind depends on the machine, and a stream whose lanes
    # were held up catches up.
    assert sequential["median_us"] >= sequential["predicted_us"]
    assert ours["median_us"] >= (0 if stream else 0.97 * ours["predicted_us"])
    assert report["speedup"][0] == pytest.approx(sequential["median_us"] / ours["median_us"])
    assert (report["share_of_capacity"] is not None) == stream
    assert report["jitter"]["median_us"] > 0
    assert report["correctness"]["ours"] == {"steps": 0, "relative": 0.0}


def test_everything_that_is_printed_is_labelled(
    make: Make,
    branches: Path,
    board_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform = ["--platform", str(board_file)]
    arguments = [str(branches), "-o", str(tmp_path / "o"), *platform, "--emulate", "timing"]
    assert tdsec.main([*arguments, "--budget", "1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("emulated: slow-board, timing; results were recorded")
    assert "predicted (emulated): run" in text
    assert main.main(["run", str(tmp_path / "o"), "--trace", str(tmp_path / "trace.json")]) == 0
    assert capsys.readouterr().out.startswith("emulated: slow-board, timing\n")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert all("(emulated)" in e["args"]["name"] for e in trace if e["ph"] == "M")
    metadata = json.loads((tmp_path / "o" / "metadata.json").read_text())
    assert [(e["tid"], e["ts"], e["dur"]) for e in trace if e["ph"] == "X" and e["pid"] == 1] == [
        (step["lanes"][0], step["start_us"], pytest.approx(step["modelled_us"]))
        for step in metadata["emulated"]["steps"]
    ]
    assert main.main(["run", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["emulated"] == "emulated: slow-board, timing"
    assert (
        main.main(["bench", str(make("correctness")), "--launches", "1", "--seconds", "0.1"]) == 0
    )
    text = capsys.readouterr().out
    assert text.startswith("emulated: slow-board, correctness; results are computed on this")
    assert "(emulated)" in text
    assert "jitter of this machine" in text
    assert "against LiteRT on 6 inputs: exact" in text
    assert main.main(["devices", *platform]) == 0
    assert "emulated: not here" in capsys.readouterr().out
    assert tdsec.main([str(branches), "--explain", *platform]) == 0
    assert "not npu: hard_swish is not among its kinds" in capsys.readouterr().out


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_a_given_placement_is_taken_as_it_is(
    make: Make, branches: Path, board_file: Path, tmp_path: Path, objective: str
) -> None:
    first = make("timing", objective)
    made = [
        tdse.compile(
            branches,
            out=tmp_path / str(attempt),
            platform=str(board_file),
            emulate="timing",
            placement=first / "placement.json",
        )
        for attempt in range(2)
    ]
    assert made[0].placement == made[1].placement
    assert made[0].metadata["emulated"] == made[1].metadata["emulated"]
    assert made[0].metadata["searches"] == []
    given = load_placement(first / "placement.json")
    assert made[0].placement.ops == given.ops
    assert {(r.ops, len(r.lanes)) for r in made[0].placement.regions} == {
        (r.ops, len(r.lanes)) for r in given.regions
    }
    assert made[0].placement.predicted_us == pytest.approx(given.predicted_us, rel=0.1)
    assert tdse.load(made[0].out).run(tdse.load(first).random_inputs(0))


def test_given_placements_that_a_board_cannot_have(
    make: Make, branches: Path, board_file: Path, tmp_path: Path
) -> None:
    placement = (make("timing") / "placement.json").read_text()
    copied = (make("timing", "throughput") / "placement.json").read_text()
    swish = next(op["label"] for op in json.loads(placement)["ops"] if "hard_swish" in op["label"])

    def elsewhere(text: str) -> str:
        value = json.loads(text)
        op = next(op for op in value["ops"] if op["label"] == swish)
        region = next(one for one in value["regions"] if op["index"] in one["ops"])
        for one in value["ops"]:
            if one["index"] in region["ops"]:
                one["device"] = "npu"
        region["device"] = "npu"
        return json.dumps(value)

    def one_copy_less(text: str) -> str:
        value = json.loads(text)
        region = next(one for one in value["regions"] if len(one["lanes"]) > 1)
        region["lanes"] = region["lanes"][:1]
        return json.dumps(value)

    compiling: dict[str, Any] = {"platform": str(board_file), "emulate": "timing"}
    for number, (text, why) in enumerate(
        (
            (placement.replace('"emulated"', '"litert"'), "is not for an emulated board"),
            (placement.replace('"npu"', '"tpu"'), "there is no device tpu"),
            (elsewhere(placement), f"{swish} does not run on npu"),
            *([(one_copy_less(copied), "has 1 lanes")] * _has_copies(copied)),
        )
    ):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        with pytest.raises(PlacementError, match=why):
            tdse.compile(branches, out=tmp_path / "out", placement=file, **compiling)
    with pytest.raises(UsageError, match="leaves nothing to pin"):
        tdse.compile(branches, out=tmp_path / "out", placement=file, pins=["0=cpu"], **compiling)


def _has_copies(text: str) -> bool:
    return any(len(region["lanes"]) > 1 for region in json.loads(text)["regions"])


def test_lanes_have_time_limits(make: Make) -> None:
    model = tdse.load(make("timing"))
    assert len(model.lanes) > 1
    assert {lane["timeout_ms"] for lane in model.lanes} == {60_000}


def _refused(command: Callable[[list[str]], int], *arguments: object) -> int:
    return command([str(argument) for argument in arguments])


def test_what_is_refused(
    make: Make,
    branches: Path,
    board_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compiling = [branches, "-o", tmp_path / "o"]
    board = [*compiling, "--platform", board_file]
    predicting = ["predict", branches, "--platform", board_file]
    timed = make("timing")
    for command, arguments, why in (
        (tdsec.main, board, "its times are modelled, not measured; say --emulate"),
        (tdsec.main, [*compiling, "--emulate", "timing"], "platform host is not emulated"),
        (tdsec.main, [*board, "--emulate", "timing", "--threads", "2"], "--threads: an emulated"),
        (tdsec.main, [*board, "--emulate", "timing", "--targets", "llvm"], "--targets: an emul"),
        (main.main, predicting, "platform slow-board is emulated, so that it has no targets"),
        (main.main, ["bench", timed, "--against", "litert"], "leave out --against and --check"),
        (main.main, ["bench", timed, "--check"], "leave out --against and --check"),
        (main.main, ["bench", timed, "--inputs", "x.npz"], "results are recorded, whatever"),
    ):
        assert _refused(command, *arguments) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_other_benchmark_refuses_the_artefact(make: Make) -> None:
    from tdse.bench import bench

    with pytest.raises(UsageError, match="is of an emulated board"):
        bench(make("timing"))


def test_strict_allows_what_is_computed_by_litert(
    branches: Path, board_file: Path, tmp_path: Path
) -> None:
    result = tdse.compile(
        branches,
        out=tmp_path / "out",
        platform=str(board_file),
        emulate="correctness",
        strict=True,
        budget_s=0.5,
    )
    assert result.emulation is not None
    assert result.difference.is_exact
    report = bench_emulated(tmp_path / "out", rounds=1, seconds=0.1)
    assert report.correctness.ours.is_exact


def test_the_interpreter_computes_what_the_c_interface_refuses(
    board_file: Path, tmp_path: Path
) -> None:
    # LiteRT's C interface takes eight dimensions at most.
    shape = (1,) * 8 + (4,)
    tensors = [Tensor("x", shape), Tensor("y", shape)]
    data = write_model([Subgraph(tensors, [Operator("NEG", (0,), (1,))], (0,), (1,))])
    model = tmp_path / "nine.tflite"
    model.write_bytes(data)
    compiling: dict[str, Any] = {"platform": str(board_file), "emulate": "correctness"}
    tdse.compile(model, out=tmp_path / "out", **compiling)
    x = np.arange(4, dtype=np.float32).reshape(shape)
    assert np.array_equal(tdse.load(tmp_path / "out")(x), -x)
    with pytest.raises(PlacementError, match="runs in LiteRT's Python interpreter"):
        tdse.compile(model, out=tmp_path / "strict", strict=True, **compiling)
