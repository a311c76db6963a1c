"""The record store keeps what it is given, for this machine and these versions only."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from tdse.errors import TdseError
from tdse.files import cache_directory
from tdse.graph.workload import TensorForm, Workload
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.records import Record, RecordStore

CONDITIONS = Conditions("cpu", 2, (0, 1), "", 0.5, (("tdse", "1"),))
FORM = TensorForm((1, 8), "int8", scales=1, quantization=0)
WORKLOAD = Workload("relu", (FORM, None), (FORM,), {"axes": (1, 2), "beta": 1.5}, 0, 0, 8, 8)
RECORD = Record("abc", "litert", 2, (WORKLOAD,), 12.5, 0.25, 30, 1.02, 12.75)


def test_a_record_survives_closing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.sqlite"
    store = RecordStore(CONDITIONS, path)
    store.add([RECORD])
    store.close()
    again = RecordStore(CONDITIONS, path)
    assert again.find(["abc", "other"]) == {("abc", "litert", 2): RECORD}
    assert again.of_target("litert") == [RECORD]
    assert again.of_target("llvm") == []


def test_a_newer_record_takes_the_place_of_the_older(tmp_path: Path) -> None:
    store = RecordStore(CONDITIONS, tmp_path / "r.sqlite")
    newer = dataclasses.replace(RECORD, median_us=11.0)
    store.add([RECORD])
    store.add([newer])
    assert store.of_target("litert") == [newer]


@pytest.mark.parametrize(
    "change", [{"cpu": "another"}, {"cores": 4}, {"versions": (("tdse", "2"),)}]
)
def test_records_of_other_conditions_are_not_found(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "r.sqlite"
    RecordStore(CONDITIONS, path).add([RECORD])
    other = RecordStore(dataclasses.replace(CONDITIONS, **change), path)  # type: ignore[arg-type]
    assert other.find(["abc"]) == {}


def test_the_load_does_not_part_records(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    RecordStore(CONDITIONS, path).add([RECORD])
    busy = RecordStore(dataclasses.replace(CONDITIONS, load_average=9.0), path)
    assert busy.of_target("litert") == [RECORD]


def test_two_stores_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    first, second = RecordStore(CONDITIONS, path), RecordStore(CONDITIONS, path)
    first.add([RECORD])
    second.add([dataclasses.replace(RECORD, signature="def")])
    assert len(first.of_target("litert")) == 2


def test_support_is_remembered(tmp_path: Path) -> None:
    store = RecordStore(CONDITIONS, tmp_path / "r.sqlite")
    assert store.find_support("abc", "llvm") is None
    store.add_support([("abc", "llvm", False, "no such op")])
    assert store.find_support("abc", "llvm") == (False, "no such op")


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.write_text("this is not a database, and long enough to be taken for one" * 50)
    with pytest.raises(TdseError, match=r"r.sqlite: the record store is damaged.*move it away"):
        RecordStore(CONDITIONS, path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("median_us", 0.0),
        ("median_us", -3.0),
        ("median_us", float("inf")),
        ("median_us", 1e12),
        ("median_us", "fast"),
        ("spread_us", -1.0),
        ("runs", 0),
        ("threads", 0),
        ("contention", 0.5),
        ("repeat_us", -1.0),
        ("workloads", "[1.0"),
        ("workloads", "7"),
        ("workloads", '[["relu", [], [], 7, [0, 0, 0, 0]]]'),
    ],
)
def test_what_cannot_have_been_measured_is_refused(
    column: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "r.sqlite"
    RecordStore(CONDITIONS, path).add([RECORD])
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE records SET {column} = ?", (value,))
    store = RecordStore(CONDITIONS, path)
    for read in (lambda: store.find(["abc"]), lambda: store.of_target("litert")):
        with pytest.raises(TdseError, match=r"r\.sqlite: .*cannot have been measured.*abc on"):
            read()


def test_the_cache_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tdse").mkdir(mode=0o755)
    RecordStore(CONDITIONS).add([RECORD])
    assert (tmp_path / "tdse").stat().st_mode & 0o777 == 0o700


def test_a_relative_cache_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory() == Path.home() / ".cache" / "tdse"


def test_current_conditions_tell_the_versions() -> None:
    conditions = current_conditions()
    versions = dict(conditions.versions)
    assert versions["ai-edge-litert"].startswith("2.")
    assert conditions.cores >= 1
    assert conditions.cpu
