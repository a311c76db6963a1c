"""How good the search is, and what each part of it is good for; all within the cost model.

    python benchmarks/search.py TABLE... [--json FILE] [--problems PATTERN...] [--seeds N]

Tables:
    optima     listed problems: time to within 1 % of the proven optimum and to equality
    large      thousands of operators: what is found when, and how that grows
    deadlines  listed problems of several models: whether all deadlines are kept
    ablation   other ways to search, at equal evaluations and equal time
    parts      the search without one of its parts at a time, at equal time
    tensordse  models that TensorDSE measured (--data DIR)
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from listed import LATENCY
from rich.console import Console
from rich.table import Table
from search_ablation import LARGER, ablation, parts
from search_quality import deadlines, large, optima, tensordse

from tdse.search.problem import Problem

Rows = list[dict[str, Any]]
_TABLES = ("optima", "large", "deadlines", "ablation", "parts", "tensordse")


def main() -> None:
    """Entry point."""
    arguments = _arguments()
    console = Console(width=None if Console().is_terminal else 200)
    problems = _chosen({**LATENCY, **LARGER}, arguments.problems)
    makers: Mapping[str, Callable[[], Mapping[str, Rows]]] = {
        "optima": lambda: optima(problems, arguments.seeds, arguments.seconds or 10.0),
        "large": lambda: large(
            arguments.ops, arguments.shapes, arguments.large_seconds, cp=arguments.cp
        ),
        "deadlines": lambda: deadlines(
            arguments.problems, arguments.seeds, arguments.seconds or 10.0
        ),
        "ablation": lambda: ablation(
            problems, arguments.seeds, arguments.evaluations, arguments.seconds or 1.0
        ),
        "parts": lambda: parts(
            problems, arguments.seeds, arguments.seconds or 0.5, arguments.parts
        ),
        "tensordse": lambda: tensordse(arguments.data, arguments.seeds),
    }
    written: dict[str, Rows] = {}
    for name in arguments.tables:
        for title, rows in makers[name]().items():
            _show(console, title, rows)
            written[title] = rows
            if arguments.json:
                arguments.json.write_text(json.dumps(_plain(written), indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+", choices=_TABLES)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--problems", nargs="+", default=["*"], help="patterns of listed names")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, 3")
    parser.add_argument("--seconds", type=float, help="of each run: 10, ablation 1, parts 0.5")
    parser.add_argument(
        "--evaluations", type=int, nargs="+", default=[20_000, 200_000], help="ablation"
    )
    parser.add_argument("--parts", nargs="+", default=["*"], help="patterns of parts")
    parser.add_argument("--ops", type=int, nargs="+", default=[500, 2000, 5000], help="large")
    parser.add_argument(
        "--shapes", nargs="+", default=["branches", "layered"], help="large, of make_instance"
    )
    parser.add_argument(
        "--large-seconds", type=float, nargs="+", default=[30.0, 60.0, 120.0], help="for --ops"
    )
    parser.add_argument("--cp", action="store_true", help="large: CP-SAT gets ten times as long")
    parser.add_argument("--data", type=Path, help="tensordse: the folder with its results")
    arguments = parser.parse_args()
    if "tensordse" in arguments.tables and arguments.data is None:
        parser.error("tensordse needs --data")
    if len(arguments.large_seconds) != len(arguments.ops):
        parser.error("--large-seconds needs as many values as --ops")
    return arguments


def _chosen(
    listed: Mapping[str, Callable[[], Problem]], patterns: list[str]
) -> dict[str, Callable[[], Problem]]:
    return {
        name: make
        for name, make in listed.items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    }


def _show(console: Console, title: str, rows: Rows) -> None:
    columns = list(rows[0]) if rows else []
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*[_text(row[column]) for column in columns])
    console.print(table)


def _plain(value: Any) -> Any:
    """What JSON has a notation for: null for what is not finite."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
