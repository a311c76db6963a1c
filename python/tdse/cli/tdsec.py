"""``tdsec``: compile a model."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING

from tdse.cli.common import Output, Parser, add_output_options, names, run, say
from tdse.errors import UsageError
from tdse.versions import demand_compiler

if TYPE_CHECKING:
    from tdse.explain import Explanation
    from tdse.measure.deadline import Stop
    from tdse.pipeline import CompileResult
    from tdse.search.placement import Placement


@dataclass(frozen=True)
class Arguments:
    """The command line of ``tdsec``."""

    model: str
    out: str | None
    platform: str
    targets: tuple[str, ...] | None
    objective: str
    budget: float
    threads: int | None
    pins: tuple[str, ...]
    placement: str | None
    seed: int
    strict: bool
    emulate: str | None
    edgetpu: str | None
    tune: int
    ir: str | None
    explain: bool
    dry_run: bool
    output: Output


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    arguments = _parse(argv)
    return run("tdsec", lambda: _command(arguments), arguments.output)


def _command(arguments: Arguments) -> None:
    demand_compiler()
    if arguments.explain:
        _explain(arguments)
        return
    if arguments.dry_run:
        _dry_run(arguments)
        return
    if arguments.out is None:
        raise UsageError("no output directory is given", hint="add -o OUT")
    from tdse.doors import RELAX, RELAY

    if (arguments.ir or ("relax" if RELAY.why_not() else "relay")) == "relay":
        RELAY.demand()
        _compile_with_relay(arguments, arguments.out)
        return
    RELAX.demand()
    from tdse.measure.deadline import Stop
    from tdse.pipeline import compile

    stop = Stop()
    with arguments.output.progress() as report, _ended_by_ctrl_c(stop):
        result = compile(
            arguments.model,
            out=arguments.out,
            platform=arguments.platform,
            targets=arguments.targets,
            objective=arguments.objective,
            threads=arguments.threads,
            budget_s=arguments.budget,
            pins=arguments.pins,
            placement=arguments.placement,
            strict=arguments.strict,
            emulate=arguments.emulate,
            edgetpu=arguments.edgetpu,
            tune=arguments.tune,
            seed=arguments.seed,
            progress=report,
            stop=stop,
        )
    if stop.is_asked:
        print("tdsec: ended early: written is the best of what was timed", file=sys.stderr)
    value = {"out": str(result.out), **result.metadata}
    arguments.output.answer("metadata", value, lambda: _show(result))


@contextmanager
def _ended_by_ctrl_c(stop: Stop) -> Iterator[None]:
    """Have the first Ctrl-C ask for an early end, and the second one end it all."""

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_asked:
            raise KeyboardInterrupt
        stop.ask()
        # Not by print, which may be at work already in the moment of a signal.
        os.write(2, _ENDING)

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_ENDING = b"\ntdsec: ending early with what is known by now; Ctrl-C again writes nothing\n"


def _show(result: CompileResult) -> None:
    if result.emulation is not None:
        from tdse.cli import show_emulated

        show_emulated.compiled(result, result.emulation)
    else:
        from tdse.cli import show

        show.compiled(result)


def _compile_with_relay(arguments: Arguments, out: str) -> None:
    from tdse.relay.compile import compile

    absent = {
        "--strict": arguments.strict,
        "--edgetpu": arguments.edgetpu,
        "--tune": arguments.tune,
    }
    given = [option for option, value in absent.items() if value]
    if given:
        raise UsageError(
            "there is no such option with Relay",
            where=given[0],
            hint="leave it out",
        )
    placement = compile(
        arguments.model,
        out=out,
        platform=arguments.platform,
        targets=arguments.targets,
        objective=arguments.objective,
        threads=arguments.threads,
        budget_s=arguments.budget,
        pins=arguments.pins,
        placement=arguments.placement,
        emulate=arguments.emulate,
        seed=arguments.seed,
    )
    value = {"out": out, "placement": placement.model_dump(mode="json", by_alias=True)}
    arguments.output.answer("relay", value, lambda: _show_relay(arguments, placement))


def _show_relay(arguments: Arguments, placement: Placement) -> None:
    emulated = f", emulated: {arguments.platform}" if arguments.emulate else ""
    say(f"{arguments.out}: model.so for TVM's graph executor{emulated}")
    for region in placement.regions:
        labels = [op.label for op in placement.ops if op.index in region.ops]
        first, last = labels[0], labels[-1]
        which = first if first == last else f"{first} to {last}, {len(labels)} operators"
        say(f"  region {region.index} on {region.target}: {which}")


def _explain(arguments: Arguments) -> None:
    from tdse.explain import advice, explain
    from tdse.graph.reader import read_tflite

    graph = read_tflite(arguments.model)
    rows = explain(graph, platform=arguments.platform, targets=arguments.targets)
    lines = advice(graph, platform=arguments.platform)
    value = {"ops": [asdict(row) for row in rows], "would_help": lines}
    arguments.output.answer("explanation", value, lambda: _show_explained(rows, lines))


def _dry_run(arguments: Arguments) -> None:
    from tdse.cli import show_predict
    from tdse.dry_run import dry_run

    with arguments.output.progress() as report:
        found = dry_run(
            arguments.model,
            platform=arguments.platform,
            targets=arguments.targets,
            threads=arguments.threads,
            budget_s=arguments.budget,
            tune=arguments.tune,
            seed=arguments.seed,
            progress=report,
        )
    value = {**asdict(found), "gain": found.gain}
    arguments.output.answer("dry-run", value, lambda: show_predict.dry_run(found))


def _show_explained(rows: Sequence[Explanation], lines: Sequence[str]) -> None:
    for row in rows:
        say(f"{row.label}: {row.runs_on or ', '.join(row.allowed) or 'nowhere'}")
        for target, reason in row.refused:
            say(f"    not {target}: {reason}")
        if row.note:
            say(f"    {row.note}")
    if lines:
        say("what would help:")
        for line in lines:
            say(f"    {line}")


def parser() -> Parser:
    """The command's parser."""
    tdsec = Parser(
        prog="tdsec",
        description="Decide op by op what of a TFLite model runs where, and build one runtime "
        "module that does so.",
        epilog="example: tdsec model.tflite -o out/ --budget 20",
    )
    tdsec.add_argument("model", metavar="MODEL.tflite", help="the model")
    tdsec.add_argument(
        "-o", dest="out", metavar="OUT", help="directory of the result; replaced when finished"
    )
    tdsec.add_argument(
        "--platform",
        default="host",
        metavar="host|PRESET|FILE.toml",
        help="what the model is placed on (default: this machine)",
    )
    tdsec.add_argument(
        "--targets",
        type=names,
        metavar="T,T",
        help="use these targets only, for example litert,llvm",
    )
    tdsec.add_argument(
        "--objective",
        default="latency",
        metavar="latency|throughput|energy|edp|pareto",
        help="what to make small (default: latency); pareto writes a front to choose from",
    )
    tdsec.add_argument(
        "--budget",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time for measuring and timing (default: 60)",
    )
    tdsec.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of every region (default: what is fastest)",
    )
    tdsec.add_argument(
        "--pin",
        dest="pins",
        action="append",
        default=[],
        metavar="OP=TARGET",
        help="where an op must run; OP is an index, a label or a kind; may be repeated; on an "
        "emulated platform OP=DEVICE",
    )
    tdsec.add_argument(
        "--placement",
        metavar="FILE.json[#N]",
        help="use this placement, or this one of a front, instead of searching",
    )
    tdsec.add_argument(
        "--emulate",
        metavar="correctness|timing",
        help="for an emulated platform: compute results on this machine, or replay recorded ones",
    )
    tdsec.add_argument(
        "--edgetpu",
        metavar="hardware|compile-only",
        help="for a platform with an Edge TPU: compile for it and check the result on it, or only "
        "compile; needs edgetpu_compiler",
    )
    tdsec.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="TRIALS",
        help="try so many ways to build each kernel of llvm where that may change the placement; "
        "takes its own time, and what is found is kept",
    )
    tdsec.add_argument(
        "--ir",
        choices=("relax", "relay"),
        help="build with TVM 0.27 (relax) or with TVM 0.8 to 0.19 (relay); default: whichever is "
        "installed",
    )
    tdsec.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random")
    tdsec.add_argument(
        "--strict", action="store_true", help="refuse every fallback instead of noting it"
    )
    tdsec.add_argument(
        "--explain",
        action="store_true",
        help="say for each op where it may run and why not elsewhere, and build nothing",
    )
    tdsec.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be measured, how long about, and what may be gained; build nothing",
    )
    add_output_options(tdsec)
    return tdsec


def _parse(argv: Sequence[str] | None) -> Arguments:
    arguments = parser().parse_args(argv)
    output = Output.taken_from(arguments)
    given = vars(arguments)
    return Arguments(pins=tuple(given.pop("pins")), output=output, **given)


if __name__ == "__main__":
    sys.exit(main())
