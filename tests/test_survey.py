"""In what order operators are measured, and how long for, where a budget is short."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tdse import child_measure
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.legality import find_legality
from tdse.measure.activations import activations, random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.ops import PATIENCE_S, Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.timer import Job, Key, Timed
from tdse.measure.timing import Timing

pytestmark = pytest.mark.tvm


class _Patience:
    """Times nothing, and remembers how long it was to wait."""

    processor = None

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: Deadline
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        for key, job in jobs:
            self.seconds.append(job.patience_s)
            outputs = tuple(job.assembly.model().run(job.inputs))
            yield key, Timed(Timing(10.0, 1.0, runs=30, contention=1.0), outputs)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    made = RecordStore(current_conditions(), tmp_path / "records.sqlite")
    yield made
    made.close()


@pytest.fixture
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8)


def test_all_targets_are_measured_for_some_operators_before_others(
    graph: Graph, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Work] = []

    def note(graph: Graph, work: Sequence[Work], *rest: Any, **options: Any) -> int:
        asked.extend(work)
        return len(work)

    monkeypatch.setattr(child_measure, "measure_ops", note)
    monkeypatch.setattr(child_measure, "OPS_TOGETHER", 2)
    legality = find_legality(graph, ["litert", "llvm"], store)
    child_measure._measure(
        cast(Any, SimpleNamespace(graph=graph)),
        legality,
        {},
        store,
        _Patience(),
        counts=(1, 2),
        pins=[(graph.placed_ops[-1], "llvm")],
        deadline=Deadline(math.inf),
        patience_s=1.0,
        one_by_one=False,
    )
    kinds = len({legality.signatures[op] for op in graph.placed_ops})
    assert {(w.op, w.target) for w in asked[:2]} == {(graph.placed_ops[-1], "llvm")}
    plain, rest = asked[2 : 2 + kinds], asked[2 + kinds :]
    assert {(w.target, w.threads) for w in plain} == {("litert", 1)}
    others = [("litert", 2), ("llvm", 1), ("llvm", 2)]
    assert [(w.target, w.threads) for w in rest[:6]] == [v for v in others for _ in range(2)]
    assert len({w.op for w in rest[:6]}) == 2
    assert len(rest) == kinds * len(others)


@pytest.mark.parametrize(("left_s", "most_s"), [(1000.0, PATIENCE_S), (0.4, 0.2)])
def test_a_short_budget_leaves_less_time_for_quiet_moments(
    graph: Graph, store: RecordStore, left_s: float, most_s: float
) -> None:
    timer = _Patience()
    op = graph.placed_ops[0]
    work = [Work(op, "litert", 1)]
    values = activations(graph, random_inputs(graph, 0))
    end = Deadline(time.monotonic() + left_s)
    assert measure_ops(graph, work, values, store, timer, deadline=end) == 1
    (found_s,) = timer.seconds
    assert 0.0 < found_s <= most_s
    assert np.isclose(found_s, PATIENCE_S) == (left_s > 1.0)


def test_what_threads_do_not_divide_is_timed_once(graph: Graph, store: RecordStore) -> None:
    timer = _Patience()
    values = activations(graph, random_inputs(graph, 0))
    variants = [(target, n) for target in ("litert", "llvm") for n in (1, 2)]
    work = [Work(op, *variant) for variant in variants for op in _ops(graph)]
    assert measure_ops(graph, work, values, store, timer, deadline=_long()) == len(work)
    # Of a network so small, no kernel is worth dividing; LiteRT divides what it likes.
    assert len(timer.seconds) == 3 * len(_ops(graph))
    records = store.find(signature(graph, op) for op in _ops(graph))
    assert len(records) == len(work)
    # To see how well times repeat, it is timed, of course.
    again = [item for item in work if item.target == "llvm"]
    measure_ops(graph, again, values, store, timer, deadline=_long(), again=True)
    assert len(timer.seconds) == 5 * len(_ops(graph))


def _ops(graph: Graph) -> list[int]:
    """One operator of each signature."""
    return list({signature(graph, op): op for op in graph.placed_ops}.values())


def _long() -> Deadline:
    return Deadline(time.monotonic() + 600.0)
