"""The board's side of measuring on boards: called by TVM's RPC server, see ``tdse.rpc``."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import tempfile
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tdse.child import FAULTS
from tdse.errors import TargetError, TdseError, UsageError
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.message import MOST_BYTES, as_array, pack, unpack
from tdse.measure.timer import Timed, executor_model, run_and_time
from tdse.platform.discover import discover_host
from tdse.runtime import native

# One operator is timed within this, in seconds, also on a slow board, or it is taken for hung.
LIMIT_S = 60.0
# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


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


def this_board() -> Board:
    """The machine that this process runs on, as a board."""
    device = discover_host().devices[0]
    return Board(current_conditions(), device.isa, device.features)


def describe() -> str:
    """``this_board()`` as JSON."""
    return json.dumps(asdict(this_board()))


def time_executor(request: bytes) -> bytes:
    """Run and time an executor, in a process of its own, so that a crash costs no more than that.

    TVM's server does not outlive a session that crashes.

    Args:
        request: a message without header; its parts are a plan, the compiled library that the
            plan calls or nothing, and the plan's inputs.

    Returns:
        A message: ``timing`` in the header and the outputs as parts, or ``error`` in the header.
    """
    try:
        return _in_own_process(request)
    except TdseError as error:
        return pack({"error": error.as_dict()}, [])


def _in_own_process(request: bytes) -> bytes:
    # A session's process has one thread, so it can be forked, which takes milliseconds.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(request, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LIMIT_S):
            raise TargetError(f"running it did not finish within {LIMIT_S:.0f} s")
        return receiver.recv_bytes(MOST_BYTES)
    except (EOFError, OSError):
        process.join(LIMIT_S)
        raise _crash(process.exitcode) from None
    finally:
        receiver.close()
        process.kill()
        process.join()


def _crash(status: int | None) -> TdseError:
    if status is not None and -status in FAULTS:
        return TargetError(f"running it crashed the process with {signal.Signals(-status).name}")
    return TdseError(
        "a process of tdse did not finish",
        why=f"it ended with status {status}",
        hint="see the RPC server's log; if memory ran out, end other programs on the board",
    )


def _answer(request: bytes, sender: Connection) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        timed = _timed(request)
        reply = pack({"timing": asdict(timed.timing)}, [array.tobytes() for array in timed.outputs])
    except TdseError as error:
        reply = pack({"error": error.as_dict()}, [])
    except OSError as error:
        why = error.strerror or str(error)
        failure = TdseError("a temporary file cannot be written", why=why)
        reply = pack({"error": failure.as_dict()}, [])
    sender.send_bytes(reply)
    # This process is a copy of the server, of which nothing is to be ended in an orderly way.
    os._exit(0)


def _timed(request: bytes) -> Timed:
    _, parts = unpack(request)
    if len(parts) < 2:
        raise UsageError(f"a request has a plan and a library, not {len(parts)} parts")
    plan, library, *inputs = parts
    module = native.create_executor(bytes(plan))
    if library:
        # The caller has no say in the path.
        with tempfile.TemporaryDirectory(prefix="tdse-board-") as directory:
            path = Path(directory) / "library.so"
            path.write_bytes(library)
            module.import_module(native.load_library(path))
    model = executor_model(module)
    if len(inputs) != len(model.inputs):
        raise UsageError(f"the plan takes {len(model.inputs)} inputs, not {len(inputs)}")
    arrays = zip(inputs, model.inputs, strict=True)
    return run_and_time(model, [as_array(part, info.dtype, info.shape) for part, info in arrays])
