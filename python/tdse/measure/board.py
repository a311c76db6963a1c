"""The board's side of measuring on boards: called by TVM's RPC server, see ``tdse.rpc``."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import tempfile
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from tdse.child import FAULTS
from tdse.errors import TargetError, TdseError, UsageError
from tdse.faults import faults_of
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.message import MOST_BYTES, as_array, pack, unpack
from tdse.measure.records import RecordStore
from tdse.measure.timer import LocalTimer, Timed
from tdse.platform.discover import discover_host
from tdse.runtime import native
from tdse.runtime.model import model_by_position
from tdse.worker import end_at_faults, end_with_parent

# One operator is timed within this, in seconds, also on a slow board, or it is taken for hung.
LIMIT_S = 60.0


@dataclass(frozen=True)
class Board:
    """What is asked of a board before it is used.

    Attributes:
        conditions: under which it measures.
        isa: architecture of its processor, for example ``x86_64``.
        features: extensions of it that compiled kernels may use.
    """

    conditions: Conditions
    isa: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class _Settings:
    """The header of a request."""

    threads: PositiveInt
    patience_s: NonNegativeFloat
    libraries: NonNegativeInt


_SETTINGS = TypeAdapter(_Settings)


def this_board() -> Board:
    """The machine that this process runs on, as a board."""
    device = discover_host().devices[0]
    return Board(current_conditions(), device.isa, device.features)


def describe() -> str:
    """``this_board()`` as JSON."""
    return json.dumps(asdict(this_board()))


def time_executor(request: bytes) -> bytes:
    """Run and time an executor in another process, so that a crash costs no more than that.

    TVM's server does not outlive a session that crashes.

    Args:
        request: a message with ``threads``, ``patience_s`` and the number of ``libraries`` in the
            header; its parts are a plan, the compiled libraries that it calls, and its inputs.

    Returns:
        A message: ``timing`` in the header and the outputs as parts, or ``error`` in the header.
    """
    try:
        return _worker.ask(request)
    except TdseError as error:
        return _failure(error)


class _Worker:
    """The process that runs executors, started when it is needed; it ends with this one."""

    def __init__(self) -> None:
        self._running: tuple[BaseProcess, Connection] | None = None

    def ask(self, request: bytes) -> bytes:
        """Its answer.

        Raises:
            TargetError: it crashed, or did not finish.
            TdseError: it was killed.
        """
        process, connection = self._running or self._start()
        try:
            connection.send_bytes(request)
            if connection.poll(LIMIT_S):
                return connection.recv_bytes(MOST_BYTES)
        except (EOFError, OSError):
            process.join(LIMIT_S)
            self._stop()
            raise _crash(process.exitcode) from None
        self._stop()
        raise TargetError(f"running it did not finish within {LIMIT_S:.0f} s")

    def _start(self) -> tuple[BaseProcess, Connection]:
        # A session's process has one thread, so it can be forked, which takes milliseconds.
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, ours), daemon=True)
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


_worker = _Worker()


def _crash(status: int | None) -> TdseError:
    if status is not None and -status in FAULTS:
        return TargetError(f"running it crashed the process with {signal.Signals(-status).name}")
    return TdseError(
        "a process of tdse did not finish",
        why=f"it ended with status {status}",
        hint="see the RPC server's log; if memory ran out, end other programs on the board",
    )


def _serve(connection: Connection, parents: Connection) -> None:
    """Answer requests as long as there are any."""
    end_with_parent()
    end_at_faults()
    parents.close()
    timer = None
    with contextlib.suppress(EOFError):
        while True:
            request = connection.recv_bytes(MOST_BYTES)
            try:
                # The board's own store remembers how fast its reference operator can be.
                timer = timer or LocalTimer(RecordStore(current_conditions()))
                timed = _timed(request, timer)
                arrays = [array.tobytes() for array in timed.outputs]
                reply = pack({"timing": asdict(timed.timing)}, arrays)
            except TdseError as error:
                reply = _failure(error)
            except OSError as error:
                why = error.strerror or str(error)
                reply = _failure(TdseError("a temporary file cannot be written", why=why))
            connection.send_bytes(reply)
    # This process is a copy of the server, of which nothing is to be ended in an orderly way.
    os._exit(0)


def _failure(error: TdseError) -> bytes:
    return pack({"error": error.as_dict()}, [])


def _timed(request: bytes, timer: LocalTimer) -> Timed:
    header, parts = unpack(request)
    try:
        settings = _SETTINGS.validate_python(header)
    except ValidationError as error:
        raise UsageError("a request is malformed", why=faults_of(error)[0]) from None
    if len(parts) <= settings.libraries:
        raise UsageError(f"a request has {len(parts)} parts and {settings.libraries} libraries")
    libraries, inputs = parts[1 : 1 + settings.libraries], parts[1 + settings.libraries :]
    module = native.create_executor(bytes(parts[0]))
    # The caller has no say in the paths.
    with tempfile.TemporaryDirectory(prefix="tdse-board-") as directory:
        for i, library in enumerate(libraries):
            path = Path(directory) / f"library{i}.so"
            path.write_bytes(library)
            module.import_module(native.load_library(path))
    model = model_by_position(module)
    if len(inputs) != len(model.inputs):
        raise UsageError(f"the plan takes {len(model.inputs)} inputs, not {len(inputs)}")
    arrays = zip(inputs, model.inputs, strict=True)
    values = [as_array(part, info.dtype, info.shape) for part, info in arrays]
    return timer.time_model(model, values, settings.threads, settings.patience_s)
