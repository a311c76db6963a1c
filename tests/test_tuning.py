"""Tuning: what is worth it, what is kept, and that no way to build a kernel changes results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litert_reference import random_inputs
from tdse.cli import tdsec as tdsec_command
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.measure.accuracy import difference
from tdse.measure.activations import Array, activations
from tdse.measure.deadline import Deadline, Stop
from tdse.measure.records import Record

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse import tuning  # noqa: E402 - needs tvm
from tdse.assemble import Compiled  # noqa: E402
from tdse.graph.regions import Region  # noqa: E402
from tdse.targets.llvm_conv import Tiles  # noqa: E402
from tdse.tuning import Promise, llvm_target, promises, trials_left, tune  # noqa: E402

ModelPath = Callable[[str], Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # What another test has tuned is in another cache.
    llvm_target()._forget_calls()
    return tmp_path / "tdse"


def convolutions(graph: Graph) -> list[int]:
    return [op for op in graph.placed_ops if graph.ops[op].kind == "conv2d"]


def timed(graph: Graph, times_us: dict[str, Sequence[float]]) -> dict[Any, Record]:
    """Records of the convolutions, by target."""
    return {
        (signature(graph, op), target, 1): Record(
            signature(graph, op), target, 1, (), each[i], 0.0, 10
        )
        for target, each in times_us.items()
        for i, op in enumerate(convolutions(graph))
    }


def promised(graph: Graph, litert: float = 100.0, llvm: float = 100.0) -> list[Promise]:
    ops, n = convolutions(graph), len(convolutions(graph))
    records = timed(graph, {"litert": [litert] * n, "llvm": [llvm] * n})
    return promises(graph, ops, {op: signature(graph, op) for op in ops}, records)


def values_of(path: Path) -> tuple[Graph, dict[int, Array]]:
    graph = read_tflite(path)
    return graph, activations(graph, random_inputs(path))


def later() -> Deadline:
    return Deadline(time.monotonic() + 600.0)


def count(tried: int) -> None:
    pass


def test_what_may_save_most_comes_first(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    ops = convolutions(graph)
    assert len(ops) >= 2
    signatures = {op: signature(graph, op) for op in ops}
    here = [100.0, 1000.0] + [100.0] * (len(ops) - 2)
    # The first is 4 times as fast elsewhere: tuning would not bring it here.
    there = [25.0, 1100.0] + [90.0] * (len(ops) - 2)
    found = promises(graph, ops, signatures, timed(graph, {"litert": there, "llvm": here}))
    assert found[0].ops[0] == ops[1]
    assert found[0].saved_us == pytest.approx(1000.0 - 1000.0 / 1.25)
    assert all(ops[0] not in promise.ops for promise in found)
    saved = [promise.saved_us for promise in found]
    assert saved == sorted(saved, reverse=True)
    # What has no time on the target is left out.
    assert promises(graph, ops, signatures, timed(graph, {"litert": there})) == []


@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_float"])
def test_results_are_the_same_with_all_tiles(name: str, model_path: ModelPath) -> None:
    graph, values = values_of(model_path(name))
    target = llvm_target()
    for promise in promised(graph):
        op, tiles = promise.ops[0], promise.conv.tiles
        # The whole space would be compiled for minutes; these are from all over it.
        some = tiles[:: max(1, len(tiles) // 12)]
        assert {each.by_tile for each in tiles} == {False, True}
        made = target.compile_trials(graph, op, promise.conv, some)
        regions = tuple(Region(i, "llvm", (op,)) for i in range(len(some)))
        compiled = Compiled(graph, regions, made.regions, made.libraries, 1)
        results = [
            compiled.alone(i).model().run([values[index] for index in made.regions[i].inputs])
            for i in range(len(some))
        ]
        for result in results:
            np.testing.assert_array_equal(result[0], results[0][0])
        assert difference(results[0], [values[graph.ops[op].outputs[0]]]).is_allowed


def test_what_was_tried_is_not_tried_again(
    tiny_conv_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, values = values_of(tiny_conv_int8)
    promise = promised(graph)[0]
    assert trials_left(promise, 3) == 3
    tuned = tune(graph, promise, values, 3, later(), count)
    assert tuned is not None
    assert (tuned.trials, tuned.gain >= 1.0) == (3, True)
    assert trials_left(promise, 3) == 0
    assert trials_left(promise, 5) == 2
    tried: list[Tiles] = []

    class Watched(tuning._Candidates):
        def __init__(self, *arguments: Any) -> None:
            tried.extend(arguments[3])
            super().__init__(*arguments)

    monkeypatch.setattr(tuning, "_Candidates", Watched)
    assert tune(graph, promise, values, 3, later(), count) == tuned
    assert tried == []
    again = tune(graph, promise, values, 5, later(), count)
    assert again is not None
    assert again.trials == 5
    assert set(tried) >= set(promise.conv.tiles[3:5])
    assert not set(tried) - set(promise.conv.tiles[:5])


@pytest.mark.parametrize(("speed", "is_taken"), [(1.5, True), (1.01, False)])
def test_the_fastest_is_built_from_then_on(
    tiny_conv_int8: Path, monkeypatch: pytest.MonkeyPatch, speed: float, is_taken: bool
) -> None:
    graph, values = values_of(tiny_conv_int8)
    promise = promised(graph)[0]
    faster = promise.conv.tiles[2]

    class Invented:
        def __init__(self, *arguments: Any) -> None:
            self.tiles = arguments[3]

        def turns(self, rounds: int, turn_us: float) -> Any:
            times_us = [100.0 / speed if tiles == faster else 100.0 for tiles in self.tiles]
            return np.array([times_us] * rounds)

    monkeypatch.setattr(tuning, "_Candidates", Invented)
    op, target = promise.ops[0], llvm_target()
    before = target.compile(graph, [Region(0, "llvm", (op,))], 1)
    tuned = tune(graph, promise, values, 4, later(), count)
    assert tuned is not None
    assert tuned.gain == pytest.approx(speed if is_taken else 1.0)
    after = target.compile(graph, [Region(0, "llvm", (op,))], 1)
    is_other = after.regions[0].steps[-1].symbol != before.regions[0].steps[-1].symbol
    assert is_other == is_taken
    known = target.tuned(promise.conv)
    assert known is not None
    assert known.tiles == (faster if is_taken else promise.conv.tiles[0])


def test_an_early_end_keeps_nothing_of_what_was_begun(tiny_conv_int8: Path) -> None:
    graph, values = values_of(tiny_conv_int8)
    promise = promised(graph)[0]
    stop = Stop()
    stop.ask()
    assert tune(graph, promise, values, 2, replace(later(), stop=stop.file), count) is None
    assert llvm_target().tuned(promise.conv) is None


def test_tdsec_tunes(
    tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [str(tiny_conv_int8), "--targets", "llvm", "--threads", "1", "--json"]
    common = [*model, "--budget", "90", "--tune", "2"]
    assert tdsec_command.main([*common, "-o", str(tmp_path / "out")]) == 0
    tuned = json.loads(capsys.readouterr().out)["tuned"]
    graph = read_tflite(tiny_conv_int8)
    labels = {graph.ops[op].label for op in graph.placed_ops}
    assert tuned
    assert all(set(one["ops"]) <= labels and 1 <= one["trials"] <= 2 for one in tuned)
    # What is tuned is not to be tuned again, as far as asked for.
    assert tdsec_command.main([*common, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 0
    assert tdsec_command.main([*model, "--tune", "5", "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 0 < told["kernels"] <= told["trials"] <= 3 * told["kernels"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tune", "-1"], "-1 trials cannot be made"),
        (
            ["--tune", "2", "--targets", "litert"],
            "nothing to tune without the target llvm",
        ),
        (
            ["--tune", "2", "--placement", "p.json"],
            "tuned where operators are measured",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    arguments: list[str],
    text: str,
    tiny_conv_int8: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(tmp_path / "out")
    assert tdsec_command.main([str(tiny_conv_int8), "-o", out, *arguments]) == 2
    assert text in capsys.readouterr().err
