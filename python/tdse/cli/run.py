"""``tdse run``: an artefact on inputs from files, or on random ones."""

from __future__ import annotations

import argparse
from typing import Any

from tdse.errors import UsageError


def add_parsers(commands: Any) -> None:
    """Add the commands to the parser of ``tdse``."""
    runs = commands.add_parser(
        "run",
        help="run an artefact on its inputs",
        epilog="example: tdse run out/ --trace trace.json",
    )
    runs.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    runs.add_argument("--inputs", metavar="DATA.npz", help="arrays by input name (default: random)")
    runs.add_argument(
        "--input",
        dest="files",
        action="append",
        metavar="NAME=FILE",
        help="one input from a .npy, .png or .jpg file, or from its raw bytes; once for each input",
    )
    runs.add_argument(
        "--pixels",
        type=_pixels,
        metavar="BLACK,WHITE",
        help="numbers that pixels of a picture become for an input of floats, as in --pixels=-1,1",
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


def _pixels(text: str) -> tuple[float, float]:
    """The ``type`` of ``--pixels``; what is not two numbers is a ``ValueError``."""
    black, white = map(float, text.split(","))
    return black, white


def _run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from tdse.cli import show
    from tdse.npz import read_input_files, read_inputs, write_outputs
    from tdse.runtime.model import load
    from tdse.runtime.trace import write_trace
    from tdse.versions import has_compiler

    model = load(arguments.out, public_key=arguments.public_key)
    if arguments.inputs and arguments.files:
        raise UsageError("--inputs and --input both bring inputs", hint="give one of them")
    if arguments.files:
        cases = [read_input_files(model, arguments.files, arguments.pixels)]
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
        predicted = []
        # Without the compiler, placements cannot be read: the trace is without the predicted run.
        if has_compiler():
            from tdse.timeline import predicted_runs

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
    ran = show.Ran(
        outputs,
        source,
        saved=arguments.save,
        trace=arguments.trace,
        emulated=model.metadata.get("emulated"),
        labels=model.metadata.get("labels", {}),
    )
    arguments.output.answer("run", show.run_json(ran), lambda: show.ran(ran))
