"""``tdse``: look at devices, measure operators, predict models, run and time artefacts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from tdse.cli.common import Parser, names, print_json, progress_bar, run, say
from tdse.errors import UsageError

if TYPE_CHECKING:
    from tdse.measure.conditions import Conditions
    from tdse.measure.exchange import Exchange
    from tdse.profile import Profile

# Enough for some hundred operators.
_PROFILE_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    arguments = _parser().parse_args(argv)
    return run(
        "tdse",
        lambda: arguments.command(arguments),
        as_json=arguments.json,
        debug=arguments.debug,
    )


def _devices(arguments: argparse.Namespace) -> None:
    from tdse.cli import show
    from tdse.devices import describe_devices

    report = describe_devices(arguments.platform)
    if arguments.json:
        print_json(report)
    else:
        show.devices(report)


def _doctor(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show
    from tdse.doctor import examine

    findings = examine()
    if arguments.json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        show.findings(findings)


def _cache(arguments: argparse.Namespace) -> None:
    from tdse.cache import clear_cache, list_cache
    from tdse.cli import show

    if arguments.what == "list":
        found = list_cache()
        if arguments.json:
            print_json(show.cache_json(found))
        else:
            show.cache(found)
        return
    with progress_bar(quiet=arguments.json) as report:
        removed = clear_cache(report)
    size_bytes = sum(size for _, size in removed)
    if arguments.json:
        print_json({"removed": [name for name, _ in removed], "size_bytes": size_bytes})
    else:
        say(f"{len(removed)} files are removed, {size_bytes / 1e6:.2f} MB")


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
    if arguments.json:
        print_json(show.profile_json(measured, exported, imported))
    else:
        show.profile(measured, exported, imported)


def _measure(arguments: argparse.Namespace, boards: tuple[str, str] | None) -> Profile:
    from tdse.profile import profile

    with progress_bar(quiet=arguments.json) as report:
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


def _run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from tdse.cli import show
    from tdse.npz import read_input_files, read_inputs, write_outputs
    from tdse.runtime.model import load
    from tdse.runtime.trace import write_trace
    from tdse.timeline import predicted_runs

    model = load(arguments.out, public_key=arguments.public_key)
    if arguments.inputs and arguments.files:
        raise UsageError("--inputs and --input both bring inputs", hint="give one of them")
    if arguments.files:
        cases = [read_input_files(model, arguments.files)]
        source = ", ".join(arguments.files)
    elif arguments.inputs:
        cases = read_inputs(model, arguments.inputs)
        source = arguments.inputs
    else:
        cases = [model.random_inputs(arguments.seed)]
        source = f"random inputs, seed {arguments.seed}"
    if arguments.trace:
        model.start_trace()
    streamed = model.stream(tuple(case) for case in cases)
    results = [result if isinstance(result, tuple) else (result,) for result in streamed]
    if arguments.trace:
        predicted = predicted_runs(arguments.out, model)
        write_trace(arguments.trace, model, model.take_trace(), predicted)
    outputs = {
        info.name: np.stack([result[i] for result in results])
        if len(results) > 1
        else results[0][i]
        for i, info in enumerate(model.outputs)
    }
    if arguments.save:
        write_outputs(arguments.save, outputs)
    show.outputs(
        outputs,
        source=source,
        saved=arguments.save,
        trace=arguments.trace,
        as_json=arguments.json,
        emulated=model.metadata.get("emulated"),
        labels=model.metadata.get("labels", {}),
    )


def _bench(arguments: argparse.Namespace) -> None:
    from tdse.runtime.metadata import read_metadata

    if arguments.layers:
        _layers(arguments)
        return
    if arguments.save:
        raise UsageError("--save belongs to --layers", hint="give both")
    if read_metadata(arguments.out).emulated is not None:
        _bench_emulated(arguments)
        return
    if arguments.check:
        _check(arguments)
        return
    from tdse.bench import PEERS, bench
    from tdse.cli import show

    with progress_bar(quiet=arguments.json) as report:
        result = bench(
            arguments.out,
            model=arguments.model,
            inputs=arguments.inputs,
            against=arguments.against or PEERS,
            stream=arguments.stream,
            launches=arguments.launches,
            seconds=arguments.seconds,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json(show.bench_json(result))
    else:
        show.bench(result)


def _layers(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_diff
    from tdse.divergence import divergence_json, find_divergence

    if arguments.against or arguments.check or arguments.stream:
        raise UsageError(
            "--layers compares results and times nothing",
            hint="leave out --against, --check and --stream",
        )
    with progress_bar(quiet=arguments.json) as report:
        found = find_divergence(
            arguments.out,
            model=arguments.model,
            inputs=arguments.inputs,
            save=arguments.save,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json(divergence_json(found))
    else:
        show_diff.divergence(arguments.out, found)


def _diff(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_diff
    from tdse.diff import diff, diff_json

    with progress_bar(quiet=arguments.json) as report:
        found = diff(
            arguments.one,
            arguments.two,
            model=arguments.model,
            inputs=arguments.inputs,
            launches=arguments.launches,
            seconds=arguments.seconds,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json(diff_json(found))
    else:
        show_diff.diff(found)


def _bench_emulated(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_emulated
    from tdse.emulation.bench import bench_emulated

    if arguments.against or arguments.check:
        raise UsageError(
            "the artefact is of an emulated board, whose times are not compared with measured ones",
            where=arguments.out,
            hint="leave out --against and --check",
        )
    with progress_bar(quiet=arguments.json) as report:
        result = bench_emulated(
            arguments.out,
            model=arguments.model,
            inputs=arguments.inputs,
            stream=arguments.stream,
            rounds=arguments.launches,
            seconds=arguments.seconds,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json(show_emulated.bench_json(result))
    else:
        show_emulated.bench(result)


def _check(arguments: argparse.Namespace) -> None:
    from tdse.fit import check_fit

    if arguments.against or arguments.stream:
        raise UsageError(
            "--check compares with LiteRT only, as the artefact's objective says",
            hint="leave out --against and --stream",
        )
    with progress_bar(quiet=arguments.json) as report:
        fit = check_fit(
            arguments.out,
            model=arguments.model,
            inputs=arguments.inputs,
            launches=arguments.launches,
            seconds=arguments.seconds,
            seed=arguments.seed,
            progress=report,
        )
    fit.demand(arguments.out)
    if arguments.json:
        print_json(fit.as_dict())
    else:
        say(f"{arguments.out} still fits: {fit.speedup} times as fast as {fit.litert}")


def _report(arguments: argparse.Namespace) -> None:
    from tdse.report import write_report

    with progress_bar(quiet=arguments.json) as report:
        written = write_report(
            arguments.out,
            save=arguments.save,
            model=arguments.model,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json({"report": str(written.path), "size_bytes": written.size_bytes})
    else:
        say(f"the report is in {written.path} ({written.size_bytes / 1e6:.2f} MB)")


def _predict(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show_predict
    from tdse.predict import predict

    with progress_bar(quiet=arguments.json) as report:
        result = predict(
            arguments.model,
            platforms=arguments.platforms or ("host",),
            targets=arguments.targets,
            threads=arguments.threads,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.json:
        print_json(asdict(result))
    else:
        show_predict.forecast(result)


def _explore(arguments: argparse.Namespace) -> None:
    from tdse.cli import explore

    explore.command(arguments)


def _show_flydel(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show_predict
    from tdse.flydels import show_flydel

    reports = show_flydel(arguments.show_flydel)
    if arguments.json:
        print_json({"kind": arguments.show_flydel, "flydels": [asdict(each) for each in reports]})
    else:
        show_predict.flydels(arguments.show_flydel, reports)


def _parser() -> Parser:
    parser = Parser(
        prog="tdse",
        description="Look at devices, measure operators, predict models, run what tdsec made.",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    devices = commands.add_parser(
        "devices", help="what models can be placed on here", epilog="example: tdse devices"
    )
    devices.add_argument(
        "--platform", default="host", metavar="host|PRESET|FILE.toml", help="default: this machine"
    )
    devices.set_defaults(command=_devices)

    doctors = commands.add_parser(
        "doctor",
        help="say what of this machine is as tdse needs it, and what to do where it is not",
        epilog="example: tdse doctor",
    )
    doctors.set_defaults(command=_doctor)

    caches = commands.add_parser(
        "cache",
        help="list or remove what was measured and learnt on this machine",
        epilog="example: tdse cache list",
    )
    caches.add_argument("what", choices=("list", "clear"), help="clear removes all of it")
    caches.set_defaults(command=_cache)

    profiles = commands.add_parser(
        "profile",
        help="measure operators that no model brought; carry records between machines",
        epilog="example: tdse profile --budget 120",
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

    runs = commands.add_parser(
        "run",
        help="run an artefact on its inputs",
        epilog="example: tdse run out/ --save outputs.npz",
    )
    runs.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    runs.add_argument("--inputs", metavar="DATA.npz", help="arrays by input name (default: random)")
    runs.add_argument(
        "--input",
        dest="files",
        action="append",
        metavar="NAME=FILE",
        help="one input from a .npy file, or from its raw bytes; once for each input",
    )
    runs.add_argument("--save", metavar="FILE.npz", help="write the outputs there")
    runs.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs")
    runs.add_argument(
        "--trace",
        metavar="FILE.json",
        help="write when each region ran on which lane, for Perfetto or chrome://tracing",
    )
    runs.add_argument(
        "--public-key",
        metavar="KEY.pem",
        help="refuse an artefact that is not signed with this Ed25519 key",
    )
    runs.set_defaults(command=_run)

    timed = commands.add_parser(
        "bench",
        help="time an artefact and check its results",
        epilog="example: tdse bench out/ --layers",
    )
    timed.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    timed.add_argument("--model", metavar="MODEL.tflite", help="the model it was made of")
    timed.add_argument(
        "--inputs", metavar="DATA.npz", help="arrays by input name (default: random)"
    )
    timed.add_argument(
        "--against",
        type=names,
        metavar="P,P",
        help="peers among litert, tvm, openvino (default: all there are)",
    )
    timed.add_argument(
        "--stream", action="store_true", help="time a stream of runs, from one result to the next"
    )
    timed.add_argument(
        "--launches",
        type=int,
        default=5,
        metavar="N",
        help="processes to time in, or rounds of an emulated board (default: 5)",
    )
    timed.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="timed in each (default: 2)"
    )
    timed.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random inputs and order"
    )
    timed.add_argument(
        "--check",
        action="store_true",
        help="only say whether the artefact still fits this machine; status 1 if it does not",
    )
    timed.add_argument(
        "--layers",
        action="store_true",
        help="time nothing; hold the result of each region against LiteRT's",
    )
    timed.add_argument(
        "--save", metavar="FILE.npz", help="with --layers: write tensors of regions that differ"
    )
    timed.set_defaults(command=_bench)

    diffs = commands.add_parser(
        "diff",
        help="two artefacts of one model side by side: placement, speed, size, results",
        epilog="example: tdse diff out/ again/",
    )
    diffs.add_argument("one", metavar="OUT1", help="directory that tdsec wrote")
    diffs.add_argument("two", metavar="OUT2", help="another")
    diffs.add_argument("--model", metavar="MODEL.tflite", help="the model they were made of")
    diffs.add_argument(
        "--inputs", metavar="DATA.npz", help="arrays by input name (default: random)"
    )
    diffs.add_argument(
        "--launches", type=int, default=3, metavar="N", help="processes to time in (default: 3)"
    )
    diffs.add_argument(
        "--seconds", type=float, default=0.5, metavar="S", help="timed in each (default: 0.5)"
    )
    diffs.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs")
    diffs.set_defaults(command=_diff)

    reports = commands.add_parser(
        "report",
        help="write a page that shows an artefact",
        epilog="example: tdse report out/ --save page.html",
    )
    reports.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    reports.add_argument("--model", metavar="MODEL.tflite", help="the model it was made of")
    reports.add_argument(
        "--save", metavar="FILE.html", help="write the page there (default: OUT/report.html)"
    )
    reports.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs")
    reports.set_defaults(command=_report)

    predicts = commands.add_parser(
        "predict",
        help="predict a model, without building it",
        epilog="example: tdse predict model.tflite",
    )
    predicts.add_argument("model", metavar="MODEL.tflite", help="the model")
    predicts.add_argument(
        "--platform",
        dest="platforms",
        action="append",
        metavar="host|PRESET|FILE.toml",
        help="default: this machine; may be repeated",
    )
    predicts.add_argument("--targets", type=names, metavar="T,T", help="use these targets only")
    predicts.add_argument(
        "--threads", type=int, metavar="N", help="of every region (default: 1 to all cores)"
    )
    predicts.add_argument("--seed", type=int, default=0, metavar="N", help="of the search")
    predicts.set_defaults(command=_predict)

    explores = commands.add_parser(
        "explore",
        help="map models onto an accelerator that is only described, or sizes of it",
        epilog="example: tdse explore model.tflite --arch accelerator.toml",
    )
    explores.add_argument(
        "models", nargs="*", metavar="MODEL", help=".tflite files, or dMazeRunner's .json of layers"
    )
    explores.add_argument(
        "--arch", required=True, metavar="A.toml|A.json", help="the accelerator's description"
    )
    explores.add_argument(
        "--vary",
        nargs="+",
        action="append",
        default=[],
        metavar="SIZE=A..B|SIZE=A,B",
        help="sizes to try: of pes, rf_bytes and spm_kib; A..B doubles",
    )
    explores.add_argument(
        "--objective",
        choices=("edp", "energy", "cycles"),
        default="edp",
        help="what is best for each layer (default: edp)",
    )
    explores.add_argument(
        "--search",
        choices=("exact", "dmazerunner"),
        default="exact",
        help="the best of all mappings, or of those that dMazeRunner looks at (default: exact)",
    )
    explores.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="for each layer (default: 60)"
    )
    explores.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: all cores)"
    )
    explores.add_argument(
        "--dask", metavar="HOST:PORT", help="use the workers behind this Dask scheduler"
    )
    explores.add_argument(
        "--out", metavar="FILE.jsonl", help="keep the points there, and resume from it"
    )
    explores.add_argument(
        "--plot", metavar="FILE.svg|FILE.png", help="draw latency and energy of all points"
    )
    explores.add_argument(
        "--mappings", metavar="DIR", help="without --vary: write the mapping of each layer there"
    )
    explores.set_defaults(command=_explore)

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


if __name__ == "__main__":
    sys.exit(main())
