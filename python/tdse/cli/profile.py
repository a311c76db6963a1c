"""``tdse profile``: measure operators that no model brought; carry records between machines."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tdse.cli.common import names
from tdse.errors import UsageError

if TYPE_CHECKING:
    from tdse.measure.conditions import Conditions
    from tdse.measure.exchange import Exchange
    from tdse.profile import Profile

# Enough for some hundred operators.
_PROFILE_S = 60.0


def add_parsers(commands: Any) -> None:
    """Add the commands to the parser of ``tdse``."""
    profiles = commands.add_parser(
        "profile",
        help="measure operators that no model brought; carry records between machines",
        epilog="example: tdse profile --export board.jsonl",
    )
    profiles.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help=f"time for measuring (default: {_PROFILE_S:g}, or none with --export)",
    )
    profiles.add_argument(
        "--platform", default="host", metavar="host|PRESET|FILE.toml", help="default: this machine"
    )
    profiles.add_argument(
        "--targets", type=names, metavar="T,T", help="measure on these targets only"
    )
    profiles.add_argument(
        "--threads", type=int, metavar="N", help="of every operator (default: 1 to all cores)"
    )
    profiles.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    profiles.add_argument(
        "--rpc", metavar="HOST:PORT", help="measure on boards behind this TVM RPC tracker"
    )
    profiles.add_argument("--key", metavar="KEY", help="of these boards; all of them are used")
    profiles.add_argument(
        "--export", dest="export_file", metavar="FILE", help="write the platform's records there"
    )
    profiles.add_argument(
        "--import",
        dest="import_file",
        metavar="FILE",
        help="take the records that another machine exported",
    )
    profiles.add_argument(
        "--show-flydel", metavar="KIND", help="only print the formulas that an op kind's times have"
    )
    profiles.set_defaults(command=_profile)


def _profile(arguments: argparse.Namespace) -> None:
    from tdse.cli import show

    if arguments.show_flydel:
        _show_flydel(arguments)
        return
    given, taken, budget = arguments.export_file, arguments.import_file, arguments.budget
    boards = _boards(arguments)
    if taken and (given or boards or budget is not None):
        raise UsageError("--import only imports", hint="leave out --export, --rpc and --budget")
    measured = exported = imported = None
    if taken:
        imported = _import(taken)
    else:
        # What was measured earlier is exported without measuring more, unless that is asked for.
        if budget is not None or boards or not given:
            measured = _measure(arguments, boards)
        if given:
            exported = _export(
                given, measured.conditions if measured else _conditions(arguments.platform)
            )
    arguments.output.answer(
        "profile",
        show.profile_json(measured, exported, imported),
        lambda: show.profile(measured, exported, imported),
    )


def _measure(arguments: argparse.Namespace, boards: tuple[str, str] | None) -> Profile:
    from tdse.profile import profile

    with arguments.output.progress() as report:
        return profile(
            budget_s=_PROFILE_S if arguments.budget is None else arguments.budget,
            platform=arguments.platform,
            targets=arguments.targets,
            threads=arguments.threads,
            seed=arguments.seed,
            boards=boards,
            progress=report,
        )


def _boards(arguments: argparse.Namespace) -> tuple[str, str] | None:
    if bool(arguments.rpc) != bool(arguments.key):
        raise UsageError("--rpc and --key belong together", hint="give both")
    return (arguments.rpc, arguments.key) if arguments.rpc else None


def _conditions(platform: str) -> Conditions:
    """Those of the records that are the platform's."""
    from tdse.measure.conditions import current_conditions
    from tdse.measure.records import RecordStore
    from tdse.platform import load_platform

    conditions = current_conditions()
    if platform == "host":
        return conditions
    with closing(RecordStore(conditions)) as store:
        return store.conditions_for(load_platform(platform).devices[0])


def _export(path: str, conditions: Conditions) -> Exchange:
    from tdse.measure.exchange import export_records
    from tdse.measure.records import RecordStore

    with closing(RecordStore(conditions)) as store:
        return export_records(store, path)


def _import(path: str) -> Exchange:
    from tdse.measure.conditions import current_conditions
    from tdse.measure.exchange import import_records
    from tdse.measure.records import RecordStore

    with closing(RecordStore(current_conditions())) as store:
        return import_records(store, path)


def _show_flydel(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show_predict
    from tdse.flydels import show_flydel

    reports = show_flydel(arguments.show_flydel)
    kind = arguments.show_flydel
    value = {"kind": kind, "flydels": [asdict(each) for each in reports]}
    arguments.output.answer("flydels", value, lambda: show_predict.flydels(kind, reports))
