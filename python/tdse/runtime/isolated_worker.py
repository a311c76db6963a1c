"""The process that ``ChildExecutor`` starts: load one module, then serve its calls until told off.

Each request is a line of JSON, ``[function, count]``, each reply another, ``{"value": ...}`` or
``{"error": ...}``. The first reply has the executor's description.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import numpy as np

from tdse.errors import TdseError
from tdse.runtime import native
from tdse.runtime.isolated import SharedArrays
from tdse.worker import end_at_faults


def main() -> None:
    """Entry point of ``python -m tdse.runtime.isolated_worker CONNECTION MEMORY MODULE``."""
    end_at_faults()
    connection = socket.socket(fileno=int(sys.argv[1]))
    try:
        executor = native.load_executor(sys.argv[3])
    except TdseError as error:
        _reply(connection, {"error": error.as_dict()})
        return
    description = executor["describe"]()
    arrays = SharedArrays(int(sys.argv[2]), json.loads(description))
    _reply(connection, {"value": description})
    for line in connection.makefile("rb"):
        function, count = json.loads(line)
        try:
            _reply(connection, {"value": _call(executor, arrays, function, count)})
        except TdseError as error:
            _reply(connection, {"error": error.as_dict()})


def _call(executor: Any, arrays: SharedArrays, function: str, count: int) -> list[float]:
    """What the function measures; nothing for ``run`` and ``start_trace``."""
    inputs = [address for address, _ in arrays.inputs]
    if function == "run":
        native.call(executor["run"], *inputs, *(address for address, _ in arrays.outputs))
        return []
    arguments = () if function.endswith("_trace") else (count, *inputs)
    raw = native.call(executor[function], *arguments)
    values: list[float] = np.frombuffer(raw or b"", np.float64).tolist()
    return values


def _reply(connection: socket.socket, reply: dict[str, Any]) -> None:
    connection.sendall(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()
