"""kill -9 at random moments loses nothing."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from commands import demand_right, one_line_error, record_count, store_of, tdsec

pytestmark = pytest.mark.tvm

# More, for a longer run: TDSE_KILLS=50.
KILLS = int(os.environ.get("TDSE_KILLS", "3"))


@pytest.fixture(scope="module")
def whole_run_s(tiny_float: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that the command takes with an empty cache."""
    begin = time.monotonic()
    _finish(tiny_float, tmp_path_factory.mktemp("whole"))
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def old_out(branches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of another model, which a later one is to replace."""
    directory = tmp_path_factory.mktemp("old")
    _finish(branches, directory, "--targets", "litert")
    return directory / "out"


def _finish(model: Path, directory: Path, *words: str) -> None:
    process = tdsec(model, "-o", directory / "out", "--threads", "1", *words, cache=directory)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors


def _model_name(out: Path) -> str:
    return Path(json.loads((out / "metadata.json").read_text())["model"]["path"]).stem


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_loses_nothing(
    seed: int, whole_run_s: float, old_out: Path, tiny_float: Path, branches: Path, tmp_path: Path
) -> None:
    process = tdsec(tiny_float, "-o", old_out, "--threads", "1", cache=tmp_path)
    time.sleep(random.Random(seed).uniform(0.0, 1.1 * whole_run_s))
    process.kill()
    process.communicate()
    demand_right(old_out, branches if _model_name(old_out) == "branches" else tiny_float)
    finished = record_count(tmp_path) if store_of(tmp_path).exists() else 0
    # The store still takes records, and nothing that the killed process held stands in the way.
    _finish(tiny_float, tmp_path)
    assert record_count(tmp_path) >= max(finished, 1)
    demand_right(tmp_path / "out", tiny_float)


def test_four_at_once_on_one_cache(branches: Path, tiny_float: Path, tmp_path: Path) -> None:
    """Two of them write one directory."""
    models = [tiny_float, branches, tiny_float, branches]
    outs = [tmp_path / name for name in ("a", "b", "shared", "shared")]
    processes = [
        tdsec(model, "-o", out, "--threads", "1", cache=tmp_path / "cache")
        for model, out in zip(models, outs, strict=True)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert record_count(tmp_path / "cache") > 0
    demand_right(tmp_path / "a", tiny_float)
    demand_right(tmp_path / "b", branches)
    shared = tmp_path / "shared"
    demand_right(shared, branches if _model_name(shared) == "branches" else tiny_float)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "cache", "shared"]


def test_a_store_that_is_damaged_is_named(tiny_float: Path, tmp_path: Path) -> None:
    store_of(tmp_path).parent.mkdir()
    store_of(tmp_path).write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    error = one_line_error(tdsec(tiny_float, "-o", tmp_path / "out", cache=tmp_path))
    assert "the record store is damaged" in error
    assert not (tmp_path / "out").exists()
