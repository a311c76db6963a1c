"""What it costs when targets take turns: measured once, and charged where tensors cross."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tdse.cost.library import NOTHING
from tdse.errors import TargetError
from tdse.graph.signature import signature
from tdse.graph.workload import workload
from tdse.legality import Legality
from tdse.measure.conditions import current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.records import Record, RecordStore
from tdse.measure.switches import Switches, find_switches, measure_switches, switch_graph
from tdse.measure.timer import Job, Key, Timed
from tdse.measure.timing import Timing
from tdse.place import cost_problem
from tdse.platform import discover_host
from tdse.search import search
from tdse.targets import Support

CHOICES = [("litert", 1), ("llvm", 1), ("llvm", 2)]
PAIR = ("litert", "llvm", 1)
# Microseconds of all operators on either target.
ALONE_US = 100.0
SWITCH_US = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with closing(RecordStore(current_conditions(), tmp_path / "records.sqlite")) as store:
        yield store


class MadeUp:
    """Times every plan by a rule: ``SWITCH_US`` for there and back."""

    processor = None

    def __init__(self, refuses: str = "") -> None:
        self.jobs = 0
        self._refuses = refuses

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: Deadline
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        for key, job in jobs:
            self.jobs += 1
            kinds = [region.kind for region in job.assembly.plan.regions]
            if self._refuses in kinds:
                yield key, TargetError("no", where="here")
            else:
                turns = sum(one != other for one, other in pairwise(kinds))
                time_us = ALONE_US + SWITCH_US * (turns + 1) / 2 * (turns > 0)
                yield key, Timed(Timing(time_us, 0.0, 10, 1.0), ())


def test_a_switch_is_what_turns_take_longer(store: RecordStore) -> None:
    timer = MadeUp()
    assert measure_switches(CHOICES, store, timer=timer) == {PAIR: pytest.approx(SWITCH_US)}
    before = timer.jobs
    assert measure_switches(CHOICES, store, timer=timer) == find_switches(CHOICES, store)
    assert timer.jobs == before > 0


def test_what_cannot_take_turns_has_no_switch(store: RecordStore) -> None:
    assert measure_switches(CHOICES, store, timer=MadeUp(refuses="litert")) == {}


def test_turns_are_timed_here(store: RecordStore) -> None:
    # How long waking takes depends on the machine; it is far from a second everywhere.
    assert 0 < measure_switches(CHOICES, store)[PAIR] < 10_000


@pytest.mark.parametrize(("switch_us", "regions"), [(0.0, 4), (4.0, 4), (40.0, 1)])
def test_targets_take_turns_only_where_that_pays(switch_us: float, regions: int) -> None:
    graph = switch_graph()
    ops = graph.placed_ops
    signatures = {op: f"{signature(graph, op)}-{op}" for op in ops}
    support = dict.fromkeys(("litert", "llvm"), dict.fromkeys(ops, Support(True)))
    records = {}
    # Every other operator is 10 us faster on the other target.
    for place, op in enumerate(ops):
        for number, target in enumerate(support):
            time_us = 60.0 if place % 2 == number else 50.0
            works = (workload(graph, graph.ops[op]),)
            record = Record(signatures[op], target, 1, works, time_us, 0.0, 10)
            records[signatures[op], target, 1] = record
    switches: Switches = {PAIR: switch_us}
    _, problem = cost_problem(
        graph,
        Legality(tuple(support), support, signatures),
        threads=dict.fromkeys(support, 1),
        launch_us=dict.fromkeys(support, 1.0),
        records=records,
        models=dict.fromkeys(support, NOTHING),
        pins={},
        device=discover_host().devices[0],
        switches_us=switches,
    )
    np.testing.assert_allclose(problem.border_us, [[0, switch_us / 2], [switch_us / 2, 0]])
    best = search(problem, seed=0, seconds=1.0).candidates[0]
    assert len(best.outcome.schedule.regions) == regions
