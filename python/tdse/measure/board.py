"""The board's side of measuring on boards: called by TVM's RPC server, see ``tdse.rpc``."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from tdse.errors import UsageError
from tdse.faults import faults_of
from tdse.measure.board_process import BoardProcess
from tdse.measure.conditions import current_conditions
from tdse.measure.message import as_array, pack, unpack
from tdse.measure.records import RecordStore
from tdse.measure.timer import LocalTimer, Timed
from tdse.runtime import native
from tdse.runtime.model import model_by_position

# One operator is timed within this, in seconds, also on a slow board, or it is taken for hung.
LIMIT_S = 60.0


@dataclass(frozen=True)
class _Settings:
    """The header of a request."""

    threads: PositiveInt
    patience_s: NonNegativeFloat
    libraries: NonNegativeInt


_SETTINGS = TypeAdapter(_Settings)


def time_executor(request: bytes) -> bytes:
    """Run and time an executor in another process, so that a crash costs no more than that.

    Args:
        request: a message with ``threads``, ``patience_s`` and the number of ``libraries`` in the
            header; its parts are a plan, the compiled libraries that it calls, and its inputs.

    Returns:
        A message: ``timing`` in the header and the outputs as parts, or ``error`` in the header.
    """
    return _process.ask(request)


def _answer(request: bytes) -> bytes:
    timed = _timed(request, _timer())
    arrays = [array.tobytes() for array in timed.outputs]
    return pack({"timing": asdict(timed.timing)}, arrays)


@cache
def _timer() -> LocalTimer:
    # The board's own store remembers how fast its reference operator can be.
    return LocalTimer(RecordStore(current_conditions()))


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


_process = BoardProcess(_answer, LIMIT_S)
