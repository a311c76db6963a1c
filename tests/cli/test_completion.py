"""The script for bash completes commands, options, choices and files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command

_ASK = """
source ./script
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_{program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tdse be", "bench"),
        ("tdse run --tra", "--trace"),
        ("tdse bench ou", "out"),
        ("tdsec mod", "model.tflite"),
        ("tdsec --dry", "--dry-run"),
    ],
)
def test_bash(
    words: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tdse_command.main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "model.tflite").touch()
    (tmp_path / "out").mkdir()
    program, *rest = words.split()
    script = _ASK.format(words=words, last=len(rest), program=program)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert expected in done.stdout.split()
