"""``tdse cache``: what it lists is there, and what it clears is gone, and nothing else."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.targets.kernel_cache import COMPILED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tdse"


def test_nothing_is_made_where_there_is_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tdse_command.main(["cache", "list"]) == 0
    assert "0 files" in capsys.readouterr().out
    assert tdse_command.main(["cache", "clear"]) == 0
    assert not home.exists()


def test_list_and_clear(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(RecordStore(current_conditions())) as store:
        store.add_support([("signature", "llvm", True, "")])
    (home / "models-0123.json").write_text("{}")
    (home / "measuring.lock").touch()
    (home / "mine.txt").write_text("not tdse's")
    COMPILED.keep([("01", b"code"), ("23", b"more code")])
    assert tdse_command.main(["cache", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"records.sqlite", "models-0123.json", "kernels"} <= set(told["files"])
    assert told["kernels"] == 2
    assert told["size_bytes"] == sum(told["files"].values())
    assert tdse_command.main(["cache", "clear", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["removed"]) == set(told["files"])
    left = ["kernels", "measuring.lock", "mine.txt"]
    assert sorted(path.name for path in home.iterdir()) == left
    assert not any((home / "kernels").iterdir())
