"""The process beside a board's RPC server that does what may crash or hang.

TVM's server does not outlive a session that crashes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from tdse.errors import TargetError, TdseError
from tdse.measure.message import MOST_BYTES, pack
from tdse.worker import FAULTS, end_at_faults, end_with_parent


class BoardProcess:
    """A process that answers messages, started when it is needed; it ends with this one.

    Args:
        answer: from a request to a message; its errors and those of files become the message.
        limit_s: seconds that it may take for one, also on a slow board.
    """

    def __init__(self, answer: Callable[[bytes], bytes], limit_s: float) -> None:
        self._answer = answer
        self._limit_s = limit_s
        self._running: tuple[BaseProcess, Connection] | None = None

    def ask(self, request: bytes) -> bytes:
        """The answer, or what went wrong, under ``error`` in the header of a message."""
        try:
            return self._ask(request)
        except TdseError as error:
            return failure(error)

    def _ask(self, request: bytes) -> bytes:
        process, connection = self._running or self._start()
        try:
            connection.send_bytes(request)
            if connection.poll(self._limit_s):
                return connection.recv_bytes(MOST_BYTES)
        except (EOFError, OSError):
            process.join(self._limit_s)
            self._stop()
            raise _crash(process.exitcode) from None
        self._stop()
        raise TargetError(f"running it did not finish within {self._limit_s:.0f} s")

    def _start(self) -> tuple[BaseProcess, Connection]:
        # A session's process has one thread, so it can be forked, which takes milliseconds.
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=self._serve, args=(theirs, ours), daemon=True)
        process.start()
        theirs.close()
        self._running = process, ours
        return self._running

    def _stop(self) -> None:
        if self._running is not None:
            process, connection = self._running
            connection.close()
            process.kill()
            process.join()
        self._running = None

    def _serve(self, connection: Connection, parents: Connection) -> None:
        """Answer requests as long as there are any."""
        end_with_parent()
        end_at_faults()
        parents.close()
        with contextlib.suppress(EOFError):
            while True:
                request = connection.recv_bytes(MOST_BYTES)
                try:
                    reply = self._answer(request)
                except TdseError as error:
                    reply = failure(error)
                except OSError as error:
                    why = error.strerror or str(error)
                    reply = failure(TdseError("a temporary file cannot be written", why=why))
                connection.send_bytes(reply)
        # This process is a copy of the server, of which nothing is to be ended in an orderly way.
        os._exit(0)


def failure(error: TdseError) -> bytes:
    """The message that tells of an error."""
    return pack({"error": error.as_dict()}, [])


def _crash(status: int | None) -> TdseError:
    if status is not None and -status in FAULTS:
        return TargetError(f"running it crashed the process with {signal.Signals(-status).name}")
    return TdseError(
        "a process of tdse did not finish",
        why=f"it ended with status {status}",
        hint="see the RPC server's log; if memory ran out, end other programs on the board",
    )
