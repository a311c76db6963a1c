"""``tdse bench`` and ``tdse diff``: how fast and how right artefacts are."""

from __future__ import annotations

import argparse
from typing import Any

from tdse.cli.common import names, say
from tdse.errors import UsageError


def add_parsers(commands: Any) -> None:
    """Add the commands to the parser of ``tdse``."""
    timed = commands.add_parser(
        "bench",
        help="time an artefact and check its results",
        epilog="example: tdse bench out/ --layers --save tensors.npz",
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
        epilog="example: tdse diff out/ plain/",
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

    with arguments.output.progress() as report:
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
    arguments.output.answer("bench", show.bench_json(result), lambda: show.bench(result))


def _layers(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_diff
    from tdse.divergence import divergence_json, find_divergence

    if arguments.against or arguments.check or arguments.stream:
        raise UsageError(
            "--layers compares results and times nothing",
            hint="leave out --against, --check and --stream",
        )
    with arguments.output.progress() as report:
        found = find_divergence(
            arguments.out,
            model=arguments.model,
            inputs=arguments.inputs,
            save=arguments.save,
            seed=arguments.seed,
            progress=report,
        )
    arguments.output.answer(
        "layers", divergence_json(found), lambda: show_diff.divergence(arguments.out, found)
    )


def _bench_emulated(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_emulated
    from tdse.emulation.bench import bench_emulated

    if arguments.against or arguments.check:
        raise UsageError(
            "the artefact is of an emulated board, whose times are not compared with measured ones",
            where=arguments.out,
            hint="leave out --against and --check",
        )
    with arguments.output.progress() as report:
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
    arguments.output.answer(
        "emulated-bench", show_emulated.bench_json(result), lambda: show_emulated.bench(result)
    )


def _check(arguments: argparse.Namespace) -> None:
    from tdse.fit import check_fit

    if arguments.against or arguments.stream:
        raise UsageError(
            "--check compares with LiteRT only, as the artefact's objective says",
            hint="leave out --against and --stream",
        )
    with arguments.output.progress() as report:
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
    arguments.output.answer(
        "fit",
        fit.as_dict(),
        lambda: say(f"{arguments.out} still fits: {fit.speedup} times as fast as {fit.litert}"),
    )


def _diff(arguments: argparse.Namespace) -> None:
    from tdse.cli import show_diff
    from tdse.diff import diff, diff_json

    with arguments.output.progress() as report:
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
    arguments.output.answer("diff", diff_json(found), lambda: show_diff.diff(found))
