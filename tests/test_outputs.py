"""How far outputs of a whole network may be from LiteRT's, and what a contest makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litert_reference import run_litert
from tdse import contest
from tdse.contest import Builder, Contest, Contestant, run_contest
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.measure.accuracy import Difference
from tdse.measure.deadline import Stop
from tdse.measure.race import Entry, Lap, Result
from tdse.outputs import INPUTS, LitertOutputs, OutputGap

Array = np.ndarray[Any, Any]
EXACT, STEP = Difference(), Difference(steps=1)


@pytest.mark.parametrize(
    ("ours", "itself", "is_allowed"),
    [
        (EXACT, None, True),
        (STEP, None, True),
        (Difference(steps=2), None, False),
        (Difference(steps=2), EXACT, False),
        (Difference(steps=6), Difference(steps=3), True),
        (Difference(steps=7), Difference(steps=3), False),
        (Difference(relative=2e-4), None, False),
        (Difference(relative=2e-4), Difference(relative=1e-4), True),
        (Difference(relative=3e-4), Difference(relative=1e-4), False),
        # Steps of one output do not excuse those of another in floating point.
        (Difference(relative=3e-4), Difference(steps=9), False),
    ],
)
def test_twice_as_far_as_litert_from_itself(
    ours: Difference, itself: Difference | None, is_allowed: bool
) -> None:
    assert OutputGap(INPUTS, ours, itself).is_allowed == is_allowed


def test_gaps_survive_json_and_read_well() -> None:
    gap = OutputGap(6, Difference(steps=52), Difference(steps=9))
    assert OutputGap.from_json(gap.as_json()) == gap
    assert str(gap) == "52 LSB on 6 inputs, where LiteRT's reference kernels differ by 9 LSB"
    assert str(OutputGap(6, EXACT)) == "exact on 6 inputs"


@pytest.fixture(scope="module")
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8)


def test_every_input_is_looked_at(graph: Graph) -> None:
    outputs = LitertOutputs(graph, seed=3)
    seen: list[bytes] = []

    def run(off: int) -> Callable[[Sequence[Array]], list[Array]]:
        def run_one(inputs: Sequence[Array]) -> list[Array]:
            seen.append(inputs[0].tobytes())
            (result,) = run_litert(graph.data, inputs)
            # Only one of the inputs shows it.
            if len(seen) % INPUTS == 0:
                at = result.argmin()
                result.flat[at] += off
            return [result]

        return run_one

    assert outputs.gap(run(0)).ours == EXACT
    assert len(set(seen)) == INPUTS
    one = outputs.gap(run(1))
    assert (one.ours, one.litert_itself, one.is_allowed) == (STEP, None, True)
    far = outputs.gap(run(100))
    assert far.ours == Difference(steps=100)
    assert far.litert_itself is not None
    assert not far.is_allowed


class _Built(Builder):
    """Says of each contestant that its outputs are so far off."""

    def __init__(self, gaps: Mapping[str, OutputGap]) -> None:
        self.stop = Stop()
        self._gaps = gaps

    def build(self, contestant: Contestant) -> Mapping[str, Any]:
        return {
            "plan": "",
            "libraries": [],
            "regions": [astuple(region) for region in contestant.regions],
            "difference": asdict(STEP),
            "outputs": self._gaps[contestant.name].as_json(),
        }


class _Races:
    """In which LiteRT takes 100 us, and all others take 10."""

    def __init__(self, *_: object) -> None:
        pass

    def first(self, entries: Sequence[Entry]) -> tuple[dict[str, Result], dict[str, str]]:
        return {one.name: self._result(one.name) for one in entries}, {}

    def more(
        self, entries: Sequence[Entry], results: Mapping[str, Result], launches: int
    ) -> dict[str, Result]:
        return {one.name: results[one.name] for one in entries}

    def _result(self, name: str) -> Result:
        us = 100.0 if name.startswith("litert") else 10.0
        return Result(name, (Lap((us,) * 3, 0.0, 0.0, 0),) * 3)


def _contest(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, gaps: Mapping[str, OutputGap]
) -> Contest:
    monkeypatch.setattr(contest, "_Races", _Races)
    contestants = [
        Contestant(f"{target} x1", 1, (Region(0, target, graph.placed_ops),), 10.0, 10.0)
        for target in (name.split()[0] for name in gaps)
    ]
    return run_contest(
        graph,
        contestants,
        _Built(gaps),
        seed=0,
        seconds=1.0,
        say=lambda stage, done, total, detail: None,
    )


FAR = OutputGap(6, Difference(steps=52), Difference(steps=9))
NEAR = OutputGap(6, EXACT)


def test_what_is_far_off_is_not_timed(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _contest(graph, monkeypatch, {"litert x1": NEAR, "llvm x1": FAR})
    assert found.winner.name == "litert x1"
    (refused,) = (one for one in found.contestants if one.not_timed)
    assert refused.name == "llvm x1"
    assert refused.not_timed == f"its outputs differ from LiteRT's by {FAR}"


def test_what_is_close_wins_by_its_time(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _contest(graph, monkeypatch, {"litert x1": NEAR, "llvm x1": NEAR})
    assert found.winner.name == "llvm x1"


def test_where_all_are_far_off_one_is_taken_all_the_same(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _contest(graph, monkeypatch, {"llvm x1": FAR})
    assert found.winner.name == "llvm x1"
    assert found.winner.outputs == FAR
    assert not found.winner.is_close
