"""Time executors on boards behind a TVM RPC tracker, several boards of one key at once.

A board that does not answer, or whose server ends, costs the job that it had; another board takes
that up once more. Boards that come back to the tracker are used again.
"""

from __future__ import annotations

import math
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

import tdse
from tdse.errors import PlatformError, TargetError, TdseError, VersionError
from tdse.link import write_library
from tdse.measure.board import LIMIT_S, Board, this_board
from tdse.measure.conditions import Conditions, library_versions
from tdse.measure.message import as_array, pack, unpack
from tdse.measure.timer import Job, Key, Timed
from tdse.measure.timing import Timing
from tdse.measure.tracker import Place, Tracker

Result = TypeVar("Result")
_Queue = queue.SimpleQueue

# Seconds. To connect and to be told what the board is; the server imports what it needs for that.
_CONNECT_S = 30.0
# What a network may add to the limit that a board itself sets to a job.
_ANSWER_S = LIMIT_S + 15.0
# How long boards that another has just left, or that are started anew, are waited for.
_WAIT_S = 10.0
# TVM's server ends a session after this, so that a board is not lost with a workstation.
_SESSION_S = 3600.0
# How often it is looked whether a board came back, while no board has an answer.
_LOOK_S = 0.5
# Jobs that are made ready beyond those that are being timed: compiling goes on meanwhile.
_AHEAD = 16


class LostError(Exception):
    """A board does not answer any more; why, in words that follow its name."""


class Boards:
    """All boards of one key that are free, as a ``Timer``; a context that gives them back.

    Attributes:
        board: what all of them are; they are alike.
    """

    def __init__(self, address: str, key: str) -> None:
        """Take the boards with ``key`` from the tracker at ``address``, ``HOST:PORT``.

        Raises:
            UsageError: this is no address.
            TdseError: there is no tracker, or no free board with the key.
            VersionError: a board has other versions of what generates or runs code.
            PlatformError: the boards are not alike.
        """
        self._tracker = Tracker.parse(address)
        self._key = key
        total, free = self._tracker.boards(key)
        until = time.monotonic() + _WAIT_S
        while free < total and time.monotonic() < until:
            time.sleep(_LOOK_S)
            total, free = self._tracker.boards(key)
        self._sessions: list[_Session] = []
        for _ in range(free):
            place = self._tracker.take(key)
            if place is not None:
                self._sessions.append(_first_session(place))
        if not self._sessions:
            raise TdseError(
                f"no board with the key {key!r} is free",
                where=address,
                why=f"{total} of {total} are in use",
                hint="wait until they are given back, or restart their RPC servers",
            )
        self._wanted = len(self._sessions)
        self.board = self._sessions[0].board
        for session in self._sessions:
            self._demand_alike(session)

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.clear()

    def __len__(self) -> int:
        return len(self._sessions)

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: float
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """See ``Timer``; a job that two boards did not survive is not timed.

        Raises:
            TdseError: no board is left, or one cannot work, for example for want of disk space.
            PlatformError: compiled kernels do not run on the boards' processor.
            VersionError: a board that came back has other versions than it had.
        """
        todo: _Queue[_Task[Key] | None] = queue.SimpleQueue()
        done: _Queue[_Done[Key]] = queue.SimpleQueue()
        try:
            yield from self._dispatch(iter(jobs), todo, done, deadline)
        finally:
            with suppress(queue.Empty):
                while True:
                    todo.get_nowait()
            for _ in range(len(self._sessions)):
                todo.put(None)

    def _dispatch(
        self,
        jobs: Iterator[tuple[Key, Job]],
        todo: _Queue[_Task[Key] | None],
        done: _Queue[_Done[Key]],
        deadline: float,
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        def start(session: _Session) -> None:
            arguments = (session, todo, done, deadline)
            threading.Thread(target=_work, args=arguments, daemon=True).start()

        for session in self._sessions:
            start(session)
        outstanding, has_more = 0, True
        last_alive, why_lost = time.monotonic(), ""
        while has_more or outstanding:
            while has_more and outstanding < _AHEAD + len(self._sessions) and done.empty():
                entry = next(jobs, None)
                has_more = entry is not None
                if entry is not None:
                    todo.put(_Task(*entry, self._library(entry[1])))
                    outstanding += 1
            if self._sessions:
                last_alive = time.monotonic()
            elif time.monotonic() > last_alive + _WAIT_S:
                raise self._none_left(why_lost)
            try:
                session, task, outcome = done.get(timeout=_LOOK_S)
            except queue.Empty:
                if len(self._sessions) < self._wanted and self._take_again():
                    start(self._sessions[-1])
                continue
            if isinstance(outcome, LostError):
                self._sessions.remove(session)
                why_lost = f"{session.place} {outcome}"
                if not task.is_second:
                    todo.put(replace(task, is_second=True))
                    continue
                outcome = None
            elif isinstance(outcome, TdseError) and not isinstance(outcome, TargetError):
                raise outcome
            outstanding -= 1
            yield task.key, outcome

    def _take_again(self) -> bool:
        """Take a board that came back to the tracker, if there is one."""
        try:
            place = self._tracker.take(self._key)
        # The tracker may come back as well; without boards, the caller waits for so long only.
        except TdseError:
            return False
        if place is None:
            return False
        try:
            session = _Session(place)
        except LostError:
            return False
        self._demand_alike(session)
        self._sessions.append(session)
        return True

    def _demand_alike(self, session: _Session) -> None:
        """Times of boards that differ must not be mixed."""
        ours, other = self.board, session.board
        if (other.conditions.key, other.isa, other.features) != (
            ours.conditions.key,
            ours.isa,
            ours.features,
        ):
            raise PlatformError(
                f"the boards with the key {self._key!r} are not alike",
                where=str(session.place),
                why=_first_difference(ours, other),
                hint="make them alike, or give them different keys",
            )

    def _library(self, job: Job) -> bytes:
        """The compiled kernels that ``job`` calls, for the boards' processor."""
        if not job.assembly.libraries:
            return b""
        here = this_board()
        missing = sorted(set(here.features) - set(self.board.features))
        if self.board.isa != here.isa or missing:
            lacks = f"it has no {', '.join(missing)}"
            raise PlatformError(
                "kernels are compiled for this machine's processor, not for the board's",
                where=f"boards with the key {self._key!r}",
                why=lacks if self.board.isa == here.isa else f"that is {self.board.isa}",
                hint="measure only litert there, or run tdse on a machine like the board",
            )
        (library,) = job.assembly.libraries
        return _linked(library)

    def _none_left(self, why: str) -> TdseError:
        return TdseError(
            f"no board with the key {self._key!r} is left",
            where=str(self._tracker),
            why=why,
            hint="restart its RPC server and run the command again; what was measured is kept",
        )


@dataclass(frozen=True)
class _Task(Generic[Key]):
    """A job with the library that goes with it."""

    key: Key
    job: Job
    library: bytes
    is_second: bool = False


_Done = tuple["_Session", _Task[Key], "Timed | TdseError | LostError | None"]


def _work(
    session: _Session,
    todo: _Queue[_Task[Key] | None],
    done: _Queue[_Done[Key]],
    deadline: float,
) -> None:
    """Have one board do tasks until it is lost or there are no more."""
    while (task := todo.get()) is not None:
        if time.monotonic() > deadline:
            done.put((session, task, None))
            continue
        try:
            done.put((session, task, session.time(task.job, task.library)))
        except TdseError as error:
            done.put((session, task, error))
        except LostError as error:
            done.put((session, task, error))
            return


class _Session:
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
        self._time, self.board = _within(_CONNECT_S, _connect, place)
        _demand_versions(place, self.board.conditions)

    def time(self, job: Job, library: bytes) -> Timed:
        """Have ``job`` done.

        Raises:
            TargetError: it cannot run there.
            TdseError: the board cannot do any job, or its answer is malformed.
            LostError: it does not answer.
        """
        plan = job.assembly.plan
        inputs = [np.ascontiguousarray(array).tobytes() for array in job.inputs]
        request = pack({}, [plan.to_bytes(), library, *inputs])
        header, parts = unpack(bytes(_within(_ANSWER_S, self._time, request)))
        if "error" in header:
            raise self._error(header["error"])
        tensors = [plan.tensors[i] for i in plan.outputs]
        try:
            outputs = [as_array(p, t.dtype, t.shape) for p, t in zip(parts, tensors, strict=True)]
            timing = _TIMING.validate_python(header["timing"])
        except (KeyError, ValueError) as error:
            raise self._malformed(str(error)) from None
        if not (0 < timing.median_us < math.inf and 0 <= timing.spread_us < math.inf):
            raise self._malformed(f"a time of {timing.median_us} us")
        return Timed(timing, tuple(outputs))

    def _error(self, fields: Any) -> TdseError:
        """The board's error, which is never of a kind that it should not be."""
        try:
            texts = TypeAdapter(dict[str, str]).validate_python(fields)
            error = TdseError.from_dict(texts)
        except (KeyError, ValueError):
            return self._malformed("an error without text")
        error_type = TargetError if isinstance(error, TargetError) else TdseError
        where = " ".join(filter(None, (f"board {self.place}", error.where)))
        return error_type(error.what, where=where, why=error.why, hint=error.hint)

    def _malformed(self, why: str) -> TdseError:
        return TdseError("the board's answer is malformed", where=str(self.place), why=why)


_BOARD = TypeAdapter(Board)
_TIMING = TypeAdapter(Timing)


def _connect(place: Place) -> tuple[Callable[[bytes], bytes], Board]:
    from tvm import rpc

    session = rpc.connect(place.host, place.port, place.match_key, _SESSION_S)
    try:
        description = session.get_function("tdse.rpc.describe")()
        return session.get_function("tdse.rpc.time_executor"), _BOARD.validate_json(description)
    except (AttributeError, ValidationError):
        raise VersionError(
            "the RPC server offers nothing of tdse, or of another version",
            where=f"board {place}",
            hint=f"pip install tdse=={tdse.__version__} there, and start the server again",
        ) from None


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


def _first_session(place: Place) -> _Session:
    try:
        return _Session(place)
    except LostError as error:
        raise TdseError(
            "the board cannot be used",
            where=f"board {place}",
            why=f"it {error}",
            hint="see that this machine reaches that address; --custom-addr of tvm.exec.rpc_server "
            "tells the tracker another one",
        ) from None


def _first_difference(ours: Board, other: Board) -> str:
    mine, its = _flat(ours), _flat(other)
    name = next(name for name in mine if mine[name] != its[name])
    return f"its {name} is {its[name]}, that of another is {mine[name]}"


def _flat(board: Board) -> Mapping[str, Any]:
    conditions = asdict(board.conditions)
    kept = {k: v for k, v in conditions.items() if k not in ("load_average", "affinity")}
    return {**kept, "isa": board.isa, "features": " ".join(board.features)}


def _within(limit_s: float, function: Callable[..., Result], *arguments: Any) -> Result:
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


@lru_cache(maxsize=2)
def _linked(library: Any) -> bytes:
    """The shared library of a TVM module; those of a batch share it."""
    with tempfile.TemporaryDirectory(prefix="tdse-boards-") as directory:
        path = Path(directory) / "library.so"
        write_library(library, path)
        return path.read_bytes()
