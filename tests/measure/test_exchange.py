"""Records are carried whole, stay with their machine, and a broken file brings nothing."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.errors import TdseError, UsageError
from tdse.graph.workload import TensorForm, Workload
from tdse.measure.conditions import Conditions
from tdse.measure.exchange import export_records, import_records
from tdse.measure.records import Record, RecordStore
from tdse.platform.model import Device

BOARD = Conditions(
    "Raspberry Pi 4 Model B Rev 1.4",
    4,
    (0, 1, 2, 3),
    "ondemand",
    0.5,
    (("tdse", "0.1.0"),),
    frequency_mhz=600.0,
    max_frequency_mhz=1500.0,
)
HERE = Conditions("workstation", 8, (0,), "", 0.1, (("tdse", "0.1.0"),))
RPI4 = Device(name="cpu", targets=("litert",), cores=4, model_name="Raspberry Pi 4 Model B")
FORM = TensorForm((1, 8), "int8", scales=1, quantization=0)
WORKLOAD = Workload(
    "conv2d", (FORM, None), (FORM,), {"axes": (1, 2), "b": 1.5, "c": True, "d": "same"}, 9, 1, 8, 8
)
RECORDS = [
    Record("a" * 64, "litert", 2, (WORKLOAD,), 12.5, 0.25, 30, 1.02, 12.75),
    Record("b" * 64, "llvm", 1, (), 7.0, 0.0, 1),
]
Lines = list[Any]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The export of a board."""
    with closing(RecordStore(BOARD, tmp_path / "board.sqlite")) as store:
        store.add(RECORDS)
        store.add_support([("a" * 64, "llvm", False, "no such op")])
        store.add_reference(2, 55.5)
        export_records(store, tmp_path / "board.jsonl")
    return tmp_path / "board.jsonl"


@pytest.fixture
def here(tmp_path: Path) -> RecordStore:
    """The store of a workstation."""
    return RecordStore(HERE, tmp_path / "here.sqlite")


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_what_was_exported_is_there_after_the_import(
    exported: Path, here: RecordStore, tmp_path: Path
) -> None:
    result = import_records(here, exported)
    assert (result.records, result.decisions, result.taken) == (2, 1, 2)
    board = RecordStore(here.conditions_for(RPI4), here.path)
    with closing(RecordStore(BOARD, tmp_path / "board.sqlite")) as original:
        assert board.kept() == original.kept()
    assert board.of_target("litert") == RECORDS[:1]
    assert board.find_support("a" * 64, "llvm") == (False, "no such op")
    assert board.best_reference_us(2) == 55.5
    export_records(board, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


def test_records_of_another_machine_do_not_mix(exported: Path, here: RecordStore) -> None:
    own = dataclasses.replace(RECORDS[0], median_us=1.0)
    here.add([own])
    import_records(here, exported)
    assert here.of_target("litert") == [own]
    assert here.of_target("llvm") == []
    # With the same versions of all libraries, support is still that of one machine.
    assert here.find_support("a" * 64, "llvm") is None
    assert here.best_reference_us(2) == float("inf")
    machines = here.machines()
    assert [(m.conditions.cpu, m.records) for m in machines] == [(HERE.cpu, 1), (BOARD.cpu, 2)]
    assert machines[0].measured_at >= machines[1].measured_at > time.time() - 600


def test_the_newer_record_stays(exported: Path, tmp_path: Path) -> None:
    with closing(RecordStore(BOARD, tmp_path / "board.sqlite")) as store:
        assert import_records(store, exported).taken == 0
        newer = dataclasses.replace(RECORDS[0], median_us=11.0)
        store.add([newer])
        store.add_support([("a" * 64, "llvm", True, "")])
        assert import_records(store, exported).taken == 0
        assert store.of_target("litert") == [newer]
        assert store.find_support("a" * 64, "llvm") == (True, "")
        export_records(store, tmp_path / "newer.jsonl")
    with closing(RecordStore(HERE, tmp_path / "here.sqlite")) as here:
        import_records(here, exported)
        assert import_records(here, tmp_path / "newer.jsonl").taken == 1
        assert RecordStore(BOARD, here.path).of_target("litert") == [newer]


def _set(key: str, value: object, line: int = 1) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[line][key] = value

    return change


def _without(key: str, line: int = 1) -> Callable[[Lines], None]:
    return lambda lines: lines[line].pop(key)


BROKEN: list[tuple[str, Callable[[Lines], Any]]] = [
    ("line 1 .*format", _without("format", 0)),
    ("line 1 .*format", _set("format", "tdse.metadata/2", 0)),
    (
        "newer tdse: it has format 7, this tdse reads format 1; update",
        _set("format", "tdse.records/7", 0),
    ),
    ("line 1 .*cores: must be at least 1, not 0", _set("cores", 0, 0)),
    ("line 1 .*versions", _set("versions", [["tdse"]], 0)),
    ("line 1 .*records", _set("records", 10**30, 0)),
    ("line 1 .*colour: is not a known key", _set("colour", "red", 0)),
    ("not complete: lines are missing: 1 of kind record", _set("records", 3, 0)),
    ("line 3 .*more of record than the header says", _set("records", 1, 0)),
    ("line 2 .*median_us: is missing", _without("median_us")),
    ("line 2 .*median_us: must be a number", _set("median_us", "fast")),
    ("line 2 .*median_us: must be a number", _set("median_us", float("nan"))),
    ("line 2 .*median_us: must be a number", _set("median_us", float("inf"))),
    ("line 2 .*a time of -1.0 us", _set("median_us", -1.0)),
    ("line 2 .*a time of 1e", _set("median_us", 1e300)),
    ("line 2 .*contention of 0.5", _set("contention", 0.5)),
    ("line 2 .*runs", _set("runs", 0)),
    ("line 2 .*runs", _set("runs", 10**400)),
    ("line 2 .*threads", _set("threads", 1.5)),
    ("line 2 .*signature", _set("signature", "abc")),
    ("line 2 .*target", _set("target", "x" * 1000)),
    ("line 2 .*in the future", _set("measured_at", 1e12)),
    ("line 2 .*measured_at", _set("measured_at", -1.0)),
    ("line 2 .*workload", _set("workloads", "relu")),
    (
        "line 2 .*workload",
        _set("workloads", [["relu", [[[1], "int8", 0]], [], {}, [0] * 4]]),
    ),
    ("line 2 .*workload", _set("workloads", [["relu", [], [], {"a": {}}, [0, 0, 0, 0]]])),
    ("line 2 .*workload", _set("workloads", [["relu", [], [], {}, [-1, 0, 0, 0]]])),
    (
        "line 2 .*workload: a tensor of",
        _set("workloads", [["relu", [[[1 << 30, 1 << 30], "int8", 0, 0, 0]], [], {}, [0] * 4]]),
    ),
    ("line 2 .*frequency_mhz", _set("frequency_mhz", -600)),
    ("line 2 .*kind", _set("kind", "virus")),
    ("line 2 of the export is broken", lambda lines: lines.__setitem__(1, 7)),
    ("line 4 .*reason: must be a text", _set("reason", None, 3)),
    ("line 5 .*best_us: must be more than 0", _set("best_us", 0.0, 4)),
    ("lines are missing: 1 of kind reference", lambda lines: lines.pop()),
]


@pytest.mark.parametrize(("pattern", "change"), BROKEN, ids=[pattern for pattern, _ in BROKEN])
def test_a_broken_line_is_named_and_nothing_is_imported(
    pattern: str, change: Callable[[Lines], Any], exported: Path, here: RecordStore
) -> None:
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    change(lines)
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = _dump(here.path)
    with pytest.raises(TdseError, match=rf"board\.jsonl: .*{pattern}") as caught:
        import_records(here, exported)
    assert len(str(caught.value)) < 600
    assert _dump(here.path) == before
    # The store is free for others.
    here.add(RECORDS)


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"", "line 1 of the export is broken"),
        (b"\0" * 100, "line 1 of the export is broken"),
        (b"{" * 100_000, "line 1 of the export is broken"),
        (b"[" * 3_000_000, "line 1 of the export is broken: longer than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_export(
    data: bytes, pattern: str, tmp_path: Path, here: RecordStore
) -> None:
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(TdseError, match=pattern):
        import_records(here, tmp_path / "x.jsonl")


@settings(deadline=None)
@given(cut=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_harmless(
    cut: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("changed")
    with closing(RecordStore(BOARD, directory / "board.sqlite")) as store:
        store.add(RECORDS)
        export_records(store, directory / "x.jsonl")
        data = bytearray((directory / "x.jsonl").read_bytes())
    data[cut % len(data)] = byte
    (directory / "x.jsonl").write_bytes(data)
    with closing(RecordStore(HERE, directory / "here.sqlite")) as here:
        try:
            import_records(here, directory / "x.jsonl")
        except TdseError:
            assert here.machines() == []
        else:
            assert sum(machine.records for machine in here.machines()) == len(RECORDS)


def test_files_that_cannot_be_read(tmp_path: Path, here: RecordStore) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(TdseError, match="the export cannot be read"):
            import_records(here, path)


def test_a_store_without_records_exports_nothing(tmp_path: Path, here: RecordStore) -> None:
    with pytest.raises(TdseError, match=r"no records of workstation.*tdse profile --budget"):
        export_records(here, tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()


def test_an_export_that_fails_leaves_the_earlier_one(
    tmp_path: Path, here: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    here.add(RECORDS)
    path.write_text("earlier")

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(TdseError, match=r"x\.jsonl: the export cannot be written: No space"):
            export_records(here, path)
    assert path.read_text() == "earlier"
    assert not list(tmp_path.glob(".x.jsonl*"))
    with pytest.raises(UsageError, match="goes to a file"):
        export_records(here, tmp_path)
    with pytest.raises(TdseError, match="cannot be written"):
        export_records(here, tmp_path / "nowhere" / "x.jsonl")


def test_the_newest_versions_are_chosen(here: RecordStore) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        conditions = dataclasses.replace(BOARD, versions=(("tdse", version),))
        with closing(RecordStore(conditions, here.path)) as store:
            store.add(RECORDS)
    assert here.conditions_for(RPI4).versions == (("tdse", "0.10.0"),)


@pytest.mark.parametrize(
    "device",
    [
        RPI4.model_copy(update={"cores": 2}),
        RPI4.model_copy(update={"model_name": "Raspberry Pi 4"}),
        RPI4.model_copy(update={"model_name": ""}),
    ],
)
def test_a_machine_without_records(exported: Path, here: RecordStore, device: Device) -> None:
    with pytest.raises(TdseError, match=r"no records of .*; run `tdse profile .*--export") as no:
        here.conditions_for(device)
    assert "there are those" not in str(no.value)
    import_records(here, exported)
    with pytest.raises(TdseError, match=r"there are those of Raspberry Pi 4 Model B Rev 1.4 \(4"):
        here.conditions_for(device)
