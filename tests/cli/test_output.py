"""How commands speak: JSON that says what it is, nothing at all, or each stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command
from tdse.cli import tdsec


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (["devices"], "tdse.devices/1"),
        (["doctor"], "tdse.doctor/1"),
        (["cache", "list"], "tdse.cache/1"),
        (["run", "none/"], "tdse.error/1"),
    ],
)
def test_json_says_what_it_is(
    words: list[str], schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tdse_command.main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == schema


@pytest.mark.tvm
def test_the_metadata_keep_their_schema(
    tiny_float: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert tdsec.main([str(tiny_float), "-o", str(out), *_BOARD, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((out / "metadata.json").read_text())
    assert told == {"out": str(out), **written}


@pytest.mark.tvm
def test_quiet_is_silent_and_verbose_tells_the_stages(
    tiny_float: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tiny_float), "-o", str(tmp_path / "out"), *_BOARD]
    assert tdsec.main([*words, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert tdsec.main([*words, "--verbose"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"^ +\d+\.\d s  writing 0/1  .*out$", captured.err, re.MULTILINE)
    assert "operators" in captured.out


def test_errors_are_told_though_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["run", "none/", "--quiet"]) == 1
    assert "no such output directory" in capsys.readouterr().err


_BOARD = ["--platform", "rpi4-coral-usb3", "--emulate", "timing", "--budget", "1"]
