"""Each command's help has an example, which stands in the docs, whose commands the tests run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command
from tdse.cli import tdsec

_DOCS = Path(__file__).parent.parent.parent / "docs"


def _commands() -> list[str]:
    parser = tdse_command.parser()
    return list(next(a.choices for a in parser._actions if a.dest == "name" and a.choices))


def _example(told: str) -> str:
    """The line of the help, which is in the docs, where ``tests/test_docs.py`` runs it."""
    example = re.search(r"^example: (.+)$", told, re.MULTILINE)
    assert example is not None
    commands = [
        line.removeprefix("$ ")
        for page in _DOCS.glob("*.md")
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("$ ")
    ]
    assert example[1] in commands
    return example[1]


@pytest.mark.parametrize("command", _commands())
def test_the_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tdse_command.main([command, "--help"])
    example = _example(capsys.readouterr().out)
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "tdse"
    assert tdse_command.parser().parse_args(words).name == command


def test_the_compiler_s_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tdsec.main(["--help"])
    program, *words = shlex.split(_example(capsys.readouterr().out))
    assert program == "tdsec"
    assert tdsec.parser().parse_args(words).model == "model.tflite"


_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def test_the_docs_know_no_other_options() -> None:
    """Options of lines that call tdse, and those that stand alone in the text."""
    known = {"--help"}
    for parser in (tdsec.parser(), *_parsers()):
        known |= {option for action in parser._actions for option in action.option_strings}
    for page in _DOCS.glob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if re.match(r"\$ (tdse|tdsec) ", line):
                assert set(_OPTION.findall(line)) <= known, (page.name, line)


def _parsers() -> list[tdse_command.Parser]:
    parser = tdse_command.parser()
    return list(next(a.choices for a in parser._actions if a.dest == "name" and a.choices).values())
