"""``tdse profile``: measures, exports and imports; wrong usage and wrong files are one line."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tdse.cli.main import main
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.records import Record, RecordStore

BOARD = Conditions("Raspberry Pi 4 Model B Rev 1.4", 4, (0,), "", 0.5, (("tdse", "0.1.0"),))
RECORD = Record("a" * 64, "litert", 2, (), 12.5, 0.25, 30)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _add(conditions: Conditions) -> None:
    with closing(RecordStore(conditions)) as store:
        store.add([RECORD])


def _move_away(cache: Path) -> None:
    """As on another machine."""
    (cache / "tdse").rename(cache / "board")


def test_export_and_import(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(cache / "here.jsonl")
    cpu = current_conditions().cpu
    _add(current_conditions())
    assert main(["profile", "--export", file]) == 0
    assert f"exported 1 records of {cpu} (" in capsys.readouterr().out
    _move_away(cache)
    assert main(["profile", "--import", file]) == 0
    text = capsys.readouterr().out
    assert f"imported 1 records of {cpu} (" in text
    assert "1 of them were not known here" in text


def test_the_records_of_a_board_go_on(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _add(BOARD)
    file = str(cache / "board.jsonl")
    assert main(["profile", "--platform", "rpi4", "--export", file, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["exported"]["conditions"]["cpu"] == BOARD.cpu
    assert report["exported"]["records"] == 1
    _move_away(cache)
    assert main(["profile", "--import", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported"]["taken"] == 1


@pytest.mark.tvm
def test_measure(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--budget", "12", "--targets", "litert", "--threads", "1", "--json"]
    assert main(["profile", *words, "--export", str(cache / "x.jsonl")]) == 0
    report = json.loads(capsys.readouterr().out)
    measured = report["measured"]
    assert measured["conditions"]["cpu"] == current_conditions().cpu
    assert 0 <= measured["quiet"] <= measured["measured"]
    assert report["exported"]["records"] >= measured["measured"] > 0
    with closing(RecordStore(current_conditions())) as store:
        assert len(store.of_target("litert")) == measured["measured"]


@pytest.mark.parametrize(
    ("status", "pattern", "words"),
    [
        (2, "--import only imports", ["--import", "x", "--budget", "3"]),
        (2, "--import only imports", ["--import", "x", "--export", "y"]),
        (2, "--import only imports", ["--import", "x", "--rpc", "h:1", "--key", "k"]),
        (2, "--rpc and --key", ["--rpc", "h:1"]),
        (2, "budget of -1.0 s", ["--budget", "-1"]),
        (2, "budget of nan s", ["--budget", "nan"]),
        (2, "0 threads", ["--threads", "0"]),
        (2, "no target 'tpu'", ["--targets", "tpu"]),
        (2, "no-such-board", ["--platform", "no-such-board"]),
        (1, "rpi4", ["--platform", "rpi4", "--budget", "3"]),
        (1, "no such file", ["--import", "/nowhere.jsonl"]),
        (1, "to export", ["--export", "/tmp/nothing.jsonl"]),
        (1, "no records of Raspberry Pi 5", ["--platform", "rpi5", "--export", "/tmp/n.jsonl"]),
    ],
)
def test_errors(
    status: int, pattern: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *words]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("tdse: error: ")
    assert pattern.lower() in line.lower()
