"""Excitation measures operators that no model brought, and loses nothing when it is stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tdse.errors import UsageError
from tdse.files import cache_directory
from tdse.graph.layers import Configuration
from tdse.measure.conditions import current_conditions
from tdse.measure.excitation import draw
from tdse.measure.launch import find_launch
from tdse.measure.records import Record, RecordStore
from tdse.measure.switches import find_switches
from tdse.profile import Profile, profile

BUDGET_S = 5.0
_ENDLESS = """
from tdse.profile import profile
profile(budget_s=600, targets=["litert"], threads=1)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Small batches, whose activations are computed soon.
    monkeypatch.setattr("tdse.profile._OPS", 12)
    monkeypatch.setattr("tdse.profile._CANDIDATES", 12)
    return tmp_path


def _profile(target: str = "litert") -> Profile:
    """Profile until there is a new record: a busy machine may bring none in one budget."""
    known = len(_records(target))
    for _ in range(10):
        found = profile(budget_s=BUDGET_S, targets=[target], threads=1)
        if len(_records(target)) > known:
            return found
    raise AssertionError("nothing is measured")


@contextlib.contextmanager
def _store() -> Iterator[RecordStore]:
    with contextlib.closing(RecordStore(current_conditions())) as store:
        yield store


def _records(target: str = "litert") -> dict[str, Record]:
    with _store() as store:
        return {record.signature: record for record in store.of_target(target)}


def test_a_profile_goes_on_where_the_last_one_ended(cache: Path) -> None:
    found = _profile()
    first = _records()
    assert found.measured == len(first) > 0
    assert 0 <= found.quiet <= found.measured
    assert found.seconds >= BUDGET_S
    for record in first.values():
        assert (record.target, record.threads) == ("litert", 1)
        assert record.median_us > 0
    assert any(len(record.workloads) == 1 for record in first.values())
    # Records keep what a cost model learns from, of several kinds.
    assert len({record.workloads for record in first.values()}) > 1
    _profile()
    second = _records()
    assert len(second) > len(first)
    assert {key: second[key] for key in first}.keys() == first.keys()
    assert all(second[key].median_us == record.median_us for key, record in first.items())


def test_a_kill_loses_nothing_that_was_measured(cache: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], env={**os.environ, "XDG_CACHE_HOME": str(cache)}
    )
    try:
        end = time.monotonic() + 120.0
        while not (cache_directory() / "records.sqlite").exists() or len(_records()) < 3:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "it measures nothing"
            time.sleep(0.1)
        seen = _records()
    finally:
        process.kill()
        process.wait()
    with _store() as store:
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = _records()
    assert {key: kept[key] for key in seen} == seen
    _profile()
    assert {key: record.median_us for key, record in _records().items() if key in kept} == {
        key: record.median_us for key, record in kept.items()
    }


@pytest.mark.tvm
def test_targets_that_do_not_take_every_operator(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of these, TVM has no transposed convolution."""

    def draw_four(generator: np.random.Generator, count: int) -> list[Configuration]:
        kinds = ("relu", "transpose_conv2d", "add", "mul")
        return [draw(generator, kind, "float32") for kind in kinds]

    monkeypatch.setattr("tdse.profile._draw_ops", draw_four)
    found = _profile("llvm")
    kinds = {work.kind for record in _records("llvm").values() for work in record.workloads}
    assert found.measured > 0
    assert kinds <= {"relu", "add", "mul"}


def test_a_target_that_there_is_not(cache: Path) -> None:
    with pytest.raises(UsageError, match="no target 'gpu'"):
        profile(budget_s=1.0, targets=["gpu"])
    assert not list(cache.iterdir())


@pytest.mark.tvm
def test_launches_and_targets_in_turns_are_measured(cache: Path) -> None:
    targets = ["litert", "llvm"]
    choices = [(target, 1) for target in targets]
    for _ in range(10):
        profile(budget_s=BUDGET_S, targets=targets, threads=1)
        with _store() as store:
            found, launches = find_switches(choices, store), find_launch(choices, store)
        if found:
            break
    assert set(found) == {("litert", "llvm", 1)}
    assert set(launches) == set(choices)
