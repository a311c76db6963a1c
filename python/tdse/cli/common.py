"""What both commands share: how errors end them, how progress and JSON are shown."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tdse.errors import TdseError, printable
from tdse.versions import demand_compiler

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    from tdse.child import Progress as Report


# Of every object that ``--json`` prints; it grows when a key goes away or changes its meaning.
_VERSION = 1
_FILE_WIDTH = 120
_BAR_WIDTH = 20


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        print(f"{self.prog}: error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def names(text: str) -> tuple[str, ...] | None:
    """The ``type`` of an option that takes ``A,B``; given nothing, it is as if left out."""
    return tuple(name.strip() for name in text.split(",")) if text else None


@dataclass(frozen=True)
class Output:
    """How a command speaks.

    Attributes:
        json: one JSON object on standard output, and nothing else there.
        quiet: nothing but errors.
        verbose: each stage as a line on standard error, with the seconds since the start.
        debug: errors with where they come from.
    """

    json: bool
    quiet: bool
    verbose: bool
    debug: bool

    @staticmethod
    def taken_from(arguments: argparse.Namespace) -> Output:
        """As ``add_output_options`` had it parsed; these arguments are taken out."""
        given = vars(arguments)
        return Output(*(given.pop(name) for name in ("json", "quiet", "verbose", "debug")))

    def answer(self, kind: str, value: Mapping[str, Any], show: Callable[[], None]) -> None:
        """Give a command's result.

        Args:
            kind: what it is, the name of its schema; see ``_VERSION``.
            value: as JSON has it.
            show: prints it for people.
        """
        if self.json:
            print(json.dumps(_with_schema(kind, value), indent=1))
        elif not self.quiet:
            show()

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """A bar on a terminal's standard error, lines if verbose, and nothing where there is none.

        With ``--json`` there is none either: what looks at the terminal is a program.
        """
        if self.verbose:
            yield _Lines().report
        elif self.quiet or self.json or not sys.stderr.isatty():
            yield lambda stage, done, total, detail: None
        else:
            with _bar() as report:
                yield report


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands have."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quiet", action="store_true", help="print nothing but errors")
    amount.add_argument(
        "--verbose", action="store_true", help="print a line for each stage on standard error"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def run(prog: str, command: Callable[[], None], output: Output) -> int:
    """Run ``command`` and turn its errors into one line and an exit status."""
    try:
        _run(command)
    except TdseError as error:
        if output.debug:
            raise
        if output.json:
            print(json.dumps(_with_schema("error", {"error": error.as_dict()})))
        print(f"{prog}: error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{prog}: stopped; no result was written, what was measured is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    except ImportError as error:
        if (error.name or "").split(".")[0] == "tdse":
            demand_compiler()
        raise


def say(text: str) -> None:
    """Print one line on standard output, whatever names of a model are in it."""
    print(printable(text))


def console(*, stderr: bool = False) -> Console:
    """Prints texts and tables as wide as the terminal, or wide enough for a table in a file.

    Texts are printed as they are, with control characters escaped: names in a model file are
    chosen by whoever made it.
    """
    from rich.console import Console

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(
        stderr=stderr,
        width=None if stream.isatty() else _FILE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _with_schema(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` and what it is; metadata of an artefact say that themselves."""
    return {"schema": f"tdse.{kind}/{_VERSION}", **value}


_STAGES = {
    "wait": "waiting",
    "legality": "asking the targets",
    "measure": "measuring",
    "tune": "tuning kernels",
    "models": "learning cost models",
    "search": "searching",
    "explore": "exploring",
    "build": "building candidates",
    "race": "timing candidates",
    "write": "writing",
    "check": "checking results",
    "load": "loading",
}


class _Lines:
    """Progress as lines: one for each stage, and for each detail of it."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last = ("", "")

    def report(self, stage: str, done: int, total: int, detail: str) -> None:
        """As ``tdse.child.Progress``."""
        if (stage, detail) == self._last:
            return
        self._last = (stage, detail)
        passed = time.monotonic() - self._begun
        text = f"{passed:7.1f} s  {_STAGES[stage]} {done}/{total}  {printable(detail)}".rstrip()
        print(text, file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    # A detail, such as a path, has what space the others leave.
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False, table_column=rest),
        console=console(stderr=True),
        transient=True,
        expand=True,
    ) as bar:
        yield _reporter(bar)


def _reporter(bar: Progress) -> Report:
    task = bar.add_task("starting", total=None, detail="")

    def report(stage: str, done: int, total: int, detail: str) -> None:
        bar.update(
            task,
            description=_STAGES[stage],
            completed=done,
            total=total,
            detail=printable(detail),
            refresh=True,
        )

    return report
