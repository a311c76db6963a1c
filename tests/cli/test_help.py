"""Each command's help has an example, which the command understands and the docs show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _commands() -> list[str]:
    parser = tdse_command.parser()
    return list(next(a.choices for a in parser._actions if a.dest == "name" and a.choices))


@pytest.mark.parametrize("command", _commands())
def test_the_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tdse_command.main([command, "--help"])
    example = re.search(r"^example: tdse (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert example is not None
    words = shlex.split(example[1])
    assert tdse_command.parser().parse_args(words).name == words[0] == command
    pages = "".join(page.read_text(encoding="utf-8") for page in _DOCS.glob("*.md"))
    assert f"$ tdse {command}" in pages
