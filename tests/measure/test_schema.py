"""Older, newer, damaged and unwritable files of records, and several processes at one file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tdse.errors import TdseError
from tdse.graph.workload import TensorForm, Workload
from tdse.measure import schema
from tdse.measure.conditions import Conditions
from tdse.measure.records import Record, RecordStore

CONDITIONS = Conditions("cpu", 2, (0, 1), "", 0.5, (("tdse", "1"),))
FORM = TensorForm((1, 8), "int8", scales=1, quantization=0)
WORKLOAD = Workload("relu", (FORM,), (FORM,), {}, 0, 0, 8, 8)
# What tdse wrote before schemas were numbered, statement by statement.
VERSION_1 = """
CREATE TABLE conditions (id INTEGER PRIMARY KEY, key TEXT NOT NULL, json TEXT NOT NULL);
CREATE TABLE records (
    signature TEXT NOT NULL, target TEXT NOT NULL, threads INTEGER NOT NULL, key TEXT NOT NULL,
    kind TEXT NOT NULL, features TEXT NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL,
    runs INTEGER NOT NULL, conditions INTEGER NOT NULL REFERENCES conditions(id),
    measured_at REAL NOT NULL, PRIMARY KEY (signature, target, threads, key));
CREATE TABLE support (
    signature TEXT NOT NULL, target TEXT NOT NULL, versions TEXT NOT NULL,
    ok INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (signature, target, versions));
INSERT INTO conditions VALUES (1, '4f152f93cf40a873', '{"cpu": "cpu", "cores": 2,
    "affinity": [0, 1], "governor": "", "load_average": 0.5, "versions": [["tdse", "1"]]}');
INSERT INTO records VALUES
    ('abc', 'litert', 2, '4f152f93cf40a873', 'relu', '[1.0, 2.0]', 12.5, 0.25, 30, 1, 1.7e9);
INSERT INTO support VALUES ('abc', 'llvm', '[["tdse", "1"]]', 0, 'no such op');
INSERT INTO support VALUES ('abc', 'llvm', '[["tdse", "0"]]', 1, '');
"""


def _version_1(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(VERSION_1)
    return path


def _filled(path: Path, records: int) -> Path:
    with closing(RecordStore(CONDITIONS, path)) as store:
        store.add([_record(f"{i:064x}") for i in range(records)])
    return path


def _record(signature: str) -> Record:
    return Record(signature, "litert", 1, (WORKLOAD,), 12.5, 0.25, 30)


def _python(code: str, *words: object) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent)
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys\nsys.path.insert(0, {tests!r})\n{code}",
            *map(str, words),
        ],
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_file_of_version_1_keeps_its_times(tmp_path: Path) -> None:
    path = _version_1(tmp_path / "r.sqlite")
    for _ in range(2):
        with closing(RecordStore(CONDITIONS, path)) as store:
            old = Record("abc", "litert", 2, (), 12.5, 0.25, 30)
            assert store.find(["abc"]) == {("abc", "litert", 2): old}
            assert store.find_support("abc", "llvm") == (False, "no such op")
            assert [machine.conditions for machine in store.machines()] == [CONDITIONS]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)


def test_a_migrated_file_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    columns = []
    for path in (_version_1(tmp_path / "old.sqlite"), tmp_path / "new.sqlite"):
        RecordStore(CONDITIONS, path).close()
        with closing(sqlite3.connect(path)) as database:
            tables = ("conditions", "records", "support", "reference_times")
            columns.append([database.execute(f"PRAGMA table_info({t})").fetchall() for t in tables])
    assert columns[0] == columns[1]
    assert all(columns[0])


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _version_1(tmp_path / "r.sqlite")
    broken = ("CREATE TABLE more (key TEXT)", "ALTER TABLE records DROP COLUMN nowhere")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    with closing(sqlite3.connect(path)) as database:
        before = list(database.iterdump())
    with pytest.raises(TdseError, match=r"r\.sqlite: .*nowhere"):
        RecordStore(CONDITIONS, path)
    with closing(sqlite3.connect(path)) as database:
        assert list(database.iterdump()) == before
        assert database.execute("PRAGMA user_version").fetchone() == (0,)


OPENS = """
from test_schema import CONDITIONS, RecordStore, Path
print(flush=True)
sys.stdin.readline()
print(len(RecordStore(CONDITIONS, Path(sys.argv[1])).of_target("litert")))
"""


@pytest.mark.parametrize("old", [True, False])
def test_processes_that_open_a_file_at_the_same_moment(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "r.sqlite"
    if old:
        _version_1(path)
    processes = [_python(OPENS, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert out.strip() == str(int(old))


ADDS = """
from test_schema import CONDITIONS, RecordStore, Path, _record
store = RecordStore(CONDITIONS, Path(sys.argv[1]))
for i in range(100):
    signature = f"{int(sys.argv[2]) * 1000 + i:064x}"
    store.add([_record(signature)])
    assert len(store.find([signature])) == 1
    assert len(store.of_target("litert")) > i
"""


def test_processes_that_add_and_read_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    for process in [_python(ADDS, path, number) for number in range(4)]:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with closing(RecordStore(CONDITIONS, path)) as store:
        assert len(store.of_target("litert")) == 400
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = _filled(tmp_path / "r.sqlite", 3)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(TdseError, match=r"written by a newer tdse.*version 99.*update tdse"):
        RecordStore(CONDITIONS, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "middle", "header", "short"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = _filled(tmp_path / "r.sqlite", 400)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    elif damage == "middle":
        data[8192:-8192] = os.urandom(len(data) - 16384)
    elif damage == "header":
        data[:16] = bytes(16)
    else:
        del data[50:]
    path.write_bytes(data)
    with pytest.raises(TdseError, match=r"r\.sqlite: the record store is damaged.*move it away"):
        RecordStore(CONDITIONS, path).of_target("litert")
    assert path.read_bytes() == data


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory with a store in it, on a file system that cannot be written."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a file system")
    _filled(directory / "r.sqlite", 3)
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("name", ["r.sqlite", "new.sqlite", "deep/new.sqlite"])
def test_a_directory_that_cannot_be_written(read_only: Path, name: str) -> None:
    with pytest.raises(TdseError, match=rf"{name}: the record store cannot be used.*writable"):
        RecordStore(CONDITIONS, read_only / name)
