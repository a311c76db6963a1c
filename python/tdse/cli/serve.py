"""``tdse serve``: let others measure and run artefacts on this board."""

from __future__ import annotations

import argparse
from typing import Any


def add_parsers(commands: Any) -> None:
    """Add the command to the parser of ``tdse``."""
    serves = commands.add_parser(
        "serve",
        help="let other machines run artefacts and measure on this one, by TVM's RPC",
        epilog="example: tdse serve --port 9091",
    )
    serves.add_argument(
        "--port", type=int, default=9091, metavar="PORT", help="to listen on (default: 9091)"
    )
    serves.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on; whoever reaches it runs code here (default: 127.0.0.1)",
    )
    serves.add_argument(
        "--tracker", metavar="HOST:PORT", help="a TVM RPC tracker that is told of this board"
    )
    serves.add_argument("--key", metavar="KEY", help="by which the tracker knows boards like this")
    serves.set_defaults(command=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    from tdse.serve import serve

    serve(host=arguments.host, port=arguments.port, tracker=arguments.tracker, key=arguments.key)
