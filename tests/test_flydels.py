"""The formulas behind the predictions, and how far they are off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tdse.cli.main import main
from tdse.flydels import show_flydel
from tdse.graph.workload import TensorForm, Workload
from tdse.measure.conditions import current_conditions
from tdse.measure.records import Record, RecordStore

pytestmark = pytest.mark.tvm


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _add_records() -> None:
    """RELU in float32 takes 3 us and 2 ns a byte of input; in int8, each fifth takes the double."""
    store = RecordStore(current_conditions())
    for dtype, width in (("float32", 4), ("int8", 1)):
        for i, size in enumerate(np.random.default_rng(0).integers(10, 2000, 30).tolist()):
            form = TensorForm((1, size), dtype)
            size_bytes = width * size
            work = Workload("relu", (form,), (form,), {}, 0, 0, size_bytes, size_bytes)
            time_us = 3.0 + 0.002 * size_bytes
            if dtype == "int8" and i % 5 == 0:
                time_us *= 2
            store.add([Record(f"{dtype}{i}", "llvm", 1, (work,), time_us, 0.0, 10)])
    store.close()


def test_formulas_and_their_errors() -> None:
    _add_records()
    reports = {report.dtype: report for report in show_flydel("relu")}
    assert reports.keys() == {"", "float32", "int8"}
    exact = reports["float32"]
    assert (exact.variant, exact.samples) == ("llvm x1", 30)
    assert exact.formula.startswith("time_us = 3")
    assert exact.parameters == exact.formula.count("+") + 1
    assert exact.p90_error < 1e-3
    # The formula says 3 us and more, the outliers 6: half of what they took.
    assert reports["int8"].median_error < 0.05
    assert reports["int8"].p90_error == pytest.approx(0.5, abs=0.1)
    assert reports[""].samples == 60


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--show-flydel", "relu"]) == 1
    assert "no cost models; run `tdse profile --budget 600` first" in capsys.readouterr().err
    _add_records()
    assert main(["profile", "--show-flydel", "rely"]) == 2
    assert "did you mean relu?" in capsys.readouterr().err
    assert main(["profile", "--show-flydel", "relu"]) == 0
    text = capsys.readouterr().out
    assert "relu, every type, on llvm x1:" in text
    assert "from 30 samples" in text
    assert main(["profile", "--show-flydel", "relu", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["kind"] == "relu"
    assert {each["dtype"] for each in fields["flydels"]} == {"", "float32", "int8"}
