"""``tdse completion``: scripts with which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from tdse.cli.common import Parser

_SHELLS = ("bash", "zsh")
# Arguments that are called so in the help are files, or directories.
_FILES = ("MODEL", "FILE", "DATA", "KEY.pem", "NAME=FILE", "A.toml")
_DIRECTORIES = ("OUT", "DIR")


def add_parsers(commands: Any) -> None:
    """Add the command to the parser of ``tdse``."""
    completes = commands.add_parser(
        "completion",
        help="print a script with which a shell completes tdsec and tdse",
        epilog="example: tdse completion bash > tdse.bash",
    )
    completes.add_argument("shell", choices=_SHELLS, help="the shell that reads the script")
    completes.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> None:
    from tdse.cli import main, tdsec

    text = "\n".join(_script(each, arguments.shell) for each in (main.parser(), tdsec.parser()))
    arguments.output.answer("completion", {"script": text}, lambda: print(text))


def _script(parser: Parser, shell: str) -> str:
    import shtab

    for action in _actions(parser):
        name = str(action.metavar or "")
        if name.startswith(_DIRECTORIES):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif name.startswith(_FILES) or "|FILE" in name:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
