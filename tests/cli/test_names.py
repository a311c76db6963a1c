"""Names in a model are chosen by a stranger: a terminal shows them, and does not obey them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tdse
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.cli import tdsec as tdsec_command
from tdse.errors import UsageError, printable

ModelPath = Callable[[str], Path]

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module")
def out(model_path: ModelPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("names") / "out"
    return compile_on("litert", model_path("hostile_names"), directory)


def _demand_harmless(text: str) -> None:
    assert all(line.isprintable() for line in text.splitlines()), text
    assert "\ntdse: all is well" not in text


def test_printable() -> None:
    assert printable("ordinary name/with:0") == "ordinary name/with:0"
    assert printable("Größe ✓") == "Größe ✓"
    assert printable("\x1b[2J\n\u202e\x9b\ud800") == r"\x1b[2J\n\u202e\x9b\ud800"


def test_run(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "outputs.npz"
    assert tdse_command.main(["run", str(out), "--save", str(saved)]) == 0
    text = capsys.readouterr().out
    _demand_harmless(text)
    assert r"out\u202egnp\x1b[31m: float32" in text
    with np.load(saved) as arrays:
        assert arrays.files == ["file", "out\u202egnp\x1b[31m"]


def test_bench(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--against", "litert", "--launches", "1", "--seconds", "0.1"]
    assert tdse_command.main(["bench", str(out), *words]) == 0
    _demand_harmless(capsys.readouterr().out)


def test_compile_and_explain(
    model_path: ModelPath,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "[bold]\x1b[31m.tflite"
    path.write_bytes(model_path("hostile_names").read_bytes())
    words = ["--targets", "litert", "--budget", "2", "--threads", "1"]
    assert tdsec_command.main([str(path), "-o", str(tmp_path / "out"), *words]) == 0
    text = capsys.readouterr().out
    _demand_harmless(text)
    assert tdsec_command.main([str(path), "--explain", "--targets", "litert"]) == 0
    _demand_harmless(capsys.readouterr().out)


def test_errors(out: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tdse.load(out).run([])
    _demand_harmless(str(caught.value))
    assert r"in\x1b[31m" in str(caught.value)
    json.dumps(caught.value.as_dict())
