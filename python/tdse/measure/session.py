"""A connection to one board, through which it is asked to time executors."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

import tdse
from tdse.errors import TargetError, TdseError, VersionError
from tdse.measure.board import LIMIT_S
from tdse.measure.conditions import Conditions, library_versions
from tdse.measure.description import Board
from tdse.measure.message import as_array, pack, unpack
from tdse.measure.timer import Job, Timed
from tdse.measure.timing import Timing
from tdse.measure.tracker import Place

Result = TypeVar("Result")

# Seconds. To connect and to be told what the board is; the server imports what it needs for that.
_CONNECT_S = 30.0
# What a network may add to the limit that a board itself sets to a job.
_ANSWER_S = LIMIT_S + 15.0
# TVM's server ends a session after this, so that a board is not lost with a workstation.
_SESSION_S = 3600.0

_BOARD = TypeAdapter(Board)
_TIMING = TypeAdapter(Timing)


class LostError(Exception):
    """A board does not answer any more; why, in words that follow its name."""


class Session:
    """A connection to one board.

    Attributes:
        place: where it is.
        board: what it is.
    """

    def __init__(self, place: Place) -> None:
        """Connect.

        Raises:
            LostError: the board does not answer.
            VersionError: it has no tdse, or other versions than this process.
        """
        self.place = place
        time_executor, self.board = connected(place, "tdse.rpc.time_executor")
        self._time: Callable[[bytes], bytes] | None = time_executor
        try:
            _demand_versions(place, self.board.conditions)
        except VersionError:
            self.close()
            raise

    def close(self) -> None:
        """Give the board back, also if something still holds this object, as a traceback does."""
        self._time = None

    def time(self, job: Job, libraries: Sequence[bytes]) -> Timed:
        """Have ``job`` done.

        Raises:
            TargetError: it cannot run there.
            TdseError: the board cannot do any job, or its answer is malformed.
            LostError: it does not answer.
        """
        if self._time is None:
            raise LostError("was given back")
        plan = job.assembly.plan
        inputs = [np.ascontiguousarray(array).tobytes() for array in job.inputs]
        settings = {
            "threads": job.threads,
            "patience_s": job.patience_s,
            "libraries": len(libraries),
        }
        request = pack(settings, [plan.to_bytes(), *libraries, *inputs])
        header, parts = unpack(bytes(within(_ANSWER_S, self._time, request)))
        if "error" in header:
            raise board_error(self.place, header["error"])
        tensors = [plan.tensors[i] for i in plan.outputs]
        try:
            outputs = [as_array(p, t.dtype, t.shape) for p, t in zip(parts, tensors, strict=True)]
            timing = _TIMING.validate_python(header["timing"])
        except (KeyError, ValueError) as error:
            raise malformed(self.place, str(error)) from None
        if not (timing.median_us > 0 and all(0 <= x < math.inf for x in asdict(timing).values())):
            raise malformed(self.place, f"a time of {timing.median_us} us")
        return Timed(timing, tuple(outputs))


def connected(place: Place, name: str) -> tuple[Callable[[bytes], bytes], Board]:
    """A function that a board offers, by its name, and what the board is.

    The board is this process's as long as something holds the function.

    Raises:
        LostError: the board does not answer.
        VersionError: it has no tdse, or another version.
    """
    return within(_CONNECT_S, _connect, place, name)


def board_error(place: Place, fields: Any) -> TdseError:
    """An error that a board tells of, which is never of a kind that it should not be."""
    try:
        texts = TypeAdapter(dict[str, str]).validate_python(fields)
        error = TdseError.from_dict(texts)
    except (KeyError, ValueError):
        return malformed(place, "an error without text")
    error_type = TargetError if isinstance(error, TargetError) else TdseError
    where = " ".join(filter(None, (f"board {place}", error.where)))
    return error_type(error.what, where=where, why=error.why, hint=error.hint)


def malformed(place: Place, why: str) -> TdseError:
    """What is wrong with an answer that cannot be understood."""
    return TdseError("the board's answer is malformed", where=str(place), why=why)


def _connect(place: Place, name: str) -> tuple[Callable[[bytes], bytes], Board]:
    from tvm import rpc

    session = rpc.connect(place.host, place.port, place.match_key, _SESSION_S)
    with suppress(AttributeError, ValidationError):
        description = session.get_function("tdse.rpc.describe")()
        return session.get_function(name), _BOARD.validate_json(description)
    # The traceback of the error must not keep the board occupied.
    del session
    raise VersionError(
        "the RPC server offers nothing of tdse, or of another version",
        where=f"board {place}",
        hint=f"pip install tdse=={tdse.__version__} there, and start the server again",
    )


def _demand_versions(place: Place, conditions: Conditions) -> None:
    """Refuse a board with other versions: plans and kernels are made for those that are here."""
    here = dict(library_versions())
    differences = [
        f"{name} is {version} there and {here.get(name)} here"
        for name, version in conditions.versions
        if version != here.get(name)
    ]
    if differences:
        wanted = " ".join(f"{name}=={version}" for name, version in here.items())
        raise VersionError(
            "the board has other versions than this machine",
            where=f"board {place}",
            why=", ".join(differences),
            hint=f"pip install {wanted} there, and start the RPC server again",
        )


def within(limit_s: float, function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call to a board, which may never come: then its thread is left to itself.

    Raises:
        LostError: there is none within ``limit_s``, or the connection ended.
    """
    answer: Future[Result] = Future()

    def call() -> None:
        try:
            answer.set_result(function(*arguments))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    try:
        return answer.result(timeout=limit_s)
    except TdseError:
        raise
    except TimeoutError:
        raise LostError(f"did not answer within {limit_s:.0f} s") from None
    # TVM's errors of a connection are RuntimeErrors.
    except (RuntimeError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise LostError(f"ended the connection: {lines[-1]}") from None
