"""``tdse deploy``: run and time an artefact on a board."""

from __future__ import annotations

import argparse
from typing import Any


def add_parsers(commands: Any) -> None:
    """Add the command to the parser of ``tdse``."""
    deploys = commands.add_parser(
        "deploy",
        help="run and time an artefact on a board where `tdse serve` runs",
        epilog="example: tdse deploy out/ --rpc 127.0.0.1:9091",
    )
    deploys.add_argument("out", metavar="OUT", help="directory that tdsec wrote")
    deploys.add_argument(
        "--rpc",
        required=True,
        metavar="HOST:PORT",
        help="the board's RPC server, or with --key a TVM RPC tracker",
    )
    deploys.add_argument("--key", metavar="KEY", help="of the board at the tracker")
    deploys.add_argument("--model", metavar="MODEL.tflite", help="the model it was made of")
    deploys.add_argument("--save", metavar="FILE.npz", help="write the outputs there")
    deploys.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="timed on the board (default: 5)"
    )
    deploys.add_argument("--seed", type=int, default=0, metavar="N", help="of random inputs")
    deploys.set_defaults(command=_deploy)


def _deploy(arguments: argparse.Namespace) -> None:
    import numpy as np

    from tdse.cli import show_deploy
    from tdse.deploy import deploy
    from tdse.npz import write_outputs
    from tdse.runtime.metadata import read_metadata

    with arguments.output.progress() as report:
        found = deploy(
            arguments.out,
            rpc=arguments.rpc,
            key=arguments.key,
            model=arguments.model,
            seconds=arguments.seconds,
            seed=arguments.seed,
            progress=report,
        )
    if arguments.save:
        names = read_metadata(arguments.out).outputs
        stacked = (np.stack(one) for one in zip(*found.outputs, strict=True))
        write_outputs(arguments.save, dict(zip(names, stacked, strict=True)))
    arguments.output.answer(
        "deployment", show_deploy.as_json(found), lambda: show_deploy.deployed(found)
    )
