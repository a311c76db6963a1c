"""The board's side of RPC: TVM's server, with what tdse offers on it (``tdse.rpc``)."""

from __future__ import annotations

import importlib.util
import os
import socket

from tdse.errors import TdseError, UsageError, VersionError
from tdse.worker import worker_command, worker_environment

_NEEDED = ("tvm", "cloudpickle", "psutil", "tornado")


def serve(*, host: str, port: int, tracker: str | None, key: str | None) -> None:
    """Become TVM's RPC server; does not return.

    Args:
        host: address to listen on.
        port: likewise.
        tracker: ``HOST:PORT`` of a tracker that is told of this board.
        key: by which the tracker knows it.

    Raises:
        UsageError: of ``tracker`` and ``key``, one is missing, or the port is none.
        VersionError: a package is missing.
        TdseError: the port cannot be listened on.
    """
    if bool(tracker) != bool(key):
        raise UsageError("--tracker and --key belong together", hint="give both")
    if not 0 < port < 1 << 16:
        raise UsageError(f"{port} is no port", hint="give one from 1 to 65535")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise VersionError(
            f"TVM's RPC server needs {', '.join(missing)}",
            hint="pip install 'tdse[rpc]', or 'tdse-runtime[rpc]' where only that is installed",
        )
    _demand_free(host, port)
    command = worker_command(
        "tvm.exec.rpc_server",
        *("--host", host, "--port", str(port), "--port-end", str(port + 1)),
        *(("--tracker", tracker, "--key", key) if tracker and key else ()),
        # A tracker hands out the address that it is told of, which a tunnel may lead to.
        *(("--custom-addr", host) if tracker and host not in ("0.0.0.0", "::") else ()),
    )
    os.execve(command[0], command, worker_environment())


def _demand_free(host: str, port: int) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise TdseError(
            "the port cannot be listened on",
            where=f"{host}:{port}",
            why=error.strerror or str(error),
            hint="choose another with --port, or end the server that has it",
        ) from None
