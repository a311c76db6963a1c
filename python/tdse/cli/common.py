"""What both commands share: how errors end them, how progress and JSON are shown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from tdse.errors import TdseError, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

    from tdse.child import Progress as Report


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


def run(prog: str, command: Callable[[], None], *, as_json: bool, debug: bool) -> int:
    """Run ``command`` and turn its errors into one line and an exit status."""
    try:
        command()
    except TdseError as error:
        if debug:
            raise
        if as_json:
            print(json.dumps({"error": error.as_dict()}))
        print(f"{prog}: error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{prog}: stopped; nothing was written", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


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


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(value, indent=1))


_STAGES = {
    "wait": "waiting",
    "legality": "asking the targets",
    "measure": "measuring",
    "models": "learning cost models",
    "search": "searching",
    "explore": "exploring",
    "build": "building candidates",
    "race": "timing candidates",
    "write": "writing",
    "check": "checking results",
    "load": "loading",
}


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Report]:
    """A progress bar on a terminal's standard error, and nothing where there is none."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total, detail: None
        return
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
