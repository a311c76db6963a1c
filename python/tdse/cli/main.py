"""``tdse``: look at devices, measure operators, predict models, run and time artefacts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tdse.cli import bench, completion, deploy, profile, serve
from tdse.cli import run as running
from tdse.cli.common import Output, Parser, add_output_options, names, run, say


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    arguments = parser().parse_args(argv)
    arguments.output = Output.taken_from(arguments)
    return run("tdse", lambda: arguments.command(arguments), arguments.output)


def _devices(arguments: argparse.Namespace) -> None:
    from tdse.cli import show
    from tdse.devices import describe_devices

    report = describe_devices(arguments.platform)
    arguments.output.answer("devices", report, lambda: show.devices(report))


def _doctor(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show
    from tdse.doctor import examine

    findings = examine()
    value = {"findings": [asdict(finding) for finding in findings]}
    arguments.output.answer("doctor", value, lambda: show.findings(findings))


def _cache(arguments: argparse.Namespace) -> None:
    from tdse.cache import clear_cache, list_cache
    from tdse.cli import show

    if arguments.what == "list":
        found = list_cache()
        arguments.output.answer("cache", show.cache_json(found), lambda: show.cache(found))
        return
    with arguments.output.progress() as report:
        removed = clear_cache(report)
    size_bytes = sum(size for _, size in removed)
    arguments.output.answer(
        "cleared",
        {"removed": [name for name, _ in removed], "size_bytes": size_bytes},
        lambda: say(f"{len(removed)} files are removed, {size_bytes / 1e6:.2f} MB"),
    )


def _report(arguments: argparse.Namespace) -> None:
    from tdse.report import write_report

    with arguments.output.progress() as report:
        written = write_report(
            arguments.out,
            save=arguments.save,
            model=arguments.model,
            seed=arguments.seed,
            progress=report,
        )
    arguments.output.answer(
        "report",
        {"report": str(written.path), "size_bytes": written.size_bytes},
        lambda: say(f"the report is in {written.path} ({written.size_bytes / 1e6:.2f} MB)"),
    )


def _export(arguments: argparse.Namespace) -> None:
    from tdse.export import export

    size_bytes = export(arguments.out, arguments.file, model=arguments.model)
    arguments.output.answer(
        "export",
        {"file": arguments.file, "size_bytes": size_bytes},
        lambda: say(f"the export is in {arguments.file} ({size_bytes / 1e6:.2f} MB)"),
    )


def _predict(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tdse.cli import show_predict
    from tdse.predict import predict

    with arguments.output.progress() as report:
        result = predict(
            arguments.model,
            platforms=arguments.platforms or ("host",),
            targets=arguments.targets,
            threads=arguments.threads,
            seed=arguments.seed,
            progress=report,
        )
    arguments.output.answer("forecast", asdict(result), lambda: show_predict.forecast(result))


def _explore(arguments: argparse.Namespace) -> None:
    from tdse.cli import explore

    explore.command(arguments)


def parser() -> Parser:
    """The command's parser."""
    tdse = Parser(
        prog="tdse",
        description="Look at devices, measure operators, predict models, run what tdsec made.",
    )
    commands = tdse.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for module in (running, bench, deploy, serve, profile, completion):
        module.add_parsers(commands)

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

    reports = commands.add_parser(
        "report",
        help="write a page that shows an artefact",
        epilog="example: tdse report out/",
    )
    reports.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    reports.add_argument("--model", metavar="MODEL.tflite", help="the model it was made of")
    reports.add_argument(
        "--save", metavar="FILE.html", help="write the page there (default: OUT/report.html)"
    )
    reports.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs")
    reports.set_defaults(command=_report)

    exports = commands.add_parser(
        "export",
        help="write where operators run and how long they take, for Netron or Graphviz",
        epilog="example: tdse export out/ placed.tflite",
    )
    exports.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    exports.add_argument(
        "file", metavar="FILE.tflite|FILE.dot", help="the model with notes, or its graph"
    )
    exports.add_argument("--model", metavar="MODEL.tflite", help="the model it was made of")
    exports.set_defaults(command=_export)

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
        epilog="example: tdse explore --arch accelerator.toml model.tflite",
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
        add_output_options(command)
    return tdse


if __name__ == "__main__":
    sys.exit(main())
