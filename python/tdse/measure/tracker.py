"""The RPC tracker of TVM, asked for boards without waiting for ever.

``tvm.rpc.TrackerSession`` retries for a minute where there is no tracker, and for ever where there
is no board, so only what it is made of is used here: the messages of ``tvm.rpc.base``.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tdse.errors import TdseError, UsageError

# A tracker answers at once; this much, in seconds, is for the network.
_ANSWER_S = 10.0


@dataclass(frozen=True)
class Place:
    """Where a board waits for the one connection that ``match_key`` allows."""

    host: str
    port: int
    match_key: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Tracker:
    """The address of a tracker."""

    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Tracker:
        """The address in ``HOST:PORT``.

        Raises:
            UsageError: it is none.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UsageError(
                f"{text!r} is not the address of an RPC tracker or server",
                hint="give HOST:PORT, as 127.0.0.1:9190",
            )
        return Tracker(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def boards(self, key: str) -> tuple[int, int]:
        """How many boards of ``key`` there are, and how many of them are free.

        Raises:
            TdseError: there is none, or no tracker; says which keys there are.
        """
        from tvm.rpc.base import TrackerCode

        with self._connection() as connection:
            summary = _ask(connection, [TrackerCode.SUMMARY])
        keys = [server["key"].removeprefix("server:") for server in summary["server_info"]]
        if key not in keys:
            others = ", ".join(sorted(set(keys)))
            raise TdseError(
                f"the tracker knows no board with the key {key!r}",
                where=str(self),
                why=f"its keys are {others}" if others else "no board is connected to it",
                hint="start tvm.exec.rpc_server on the board with this --tracker and --key",
            )
        return keys.count(key), summary["queue_info"].get(key, {"free": 0})["free"]

    def take(self, key: str) -> Place | None:
        """The place of a free board, which is now this process's; None if none is free.

        Raises:
            TdseError: there is no tracker.
        """
        from tvm.rpc.base import TrackerCode

        if self.boards(key)[1] == 0:
            return None
        # If another takes the last one first, the request ends with the connection.
        with self._connection() as connection, contextlib.suppress(TimeoutError):
            host, port, match_key = _ask(connection, [TrackerCode.REQUEST, key, "", 1])
            return Place(host, port, match_key)
        return None

    @contextlib.contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        from tvm.rpc.base import RPC_TRACKER_MAGIC, recvall

        try:
            with socket.create_connection((self.host, self.port), timeout=_ANSWER_S) as connection:
                magic = struct.pack("<i", RPC_TRACKER_MAGIC)
                connection.sendall(magic)
                if recvall(connection, len(magic)) != magic:
                    raise OSError("what listens there is something else")
                yield connection
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TdseError(
                "the RPC tracker cannot be used",
                where=str(self),
                why=getattr(error, "strerror", None) or str(error),
                hint="start it with: python -m tvm.exec.rpc_tracker --host HOST --port PORT",
            ) from None


def _ask(connection: socket.socket, question: list[Any]) -> Any:
    from tvm.rpc.base import TrackerCode, recvjson, sendjson

    sendjson(connection, question)
    code, answer = recvjson(connection)
    if code != TrackerCode.SUCCESS:
        raise ValueError(f"it answered {code}")
    return answer
