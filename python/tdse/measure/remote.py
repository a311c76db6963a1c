"""Time executors on boards behind a TVM RPC tracker, several boards of one key at once.

A board that does not answer, or whose server ends, costs the job that it had; another board takes
that up once more. Boards that come back to the tracker are used again.
"""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic

from tdse.errors import PlatformError, TargetError, TdseError
from tdse.link import write_library
from tdse.measure.deadline import Deadline
from tdse.measure.description import Board
from tdse.measure.session import LostError, Session
from tdse.measure.timer import Job, Key, Timed
from tdse.measure.tracker import Place, Tracker
from tdse.platform import Device

_Queue = queue.SimpleQueue

# How long boards that another has just left, or that are started anew, are waited for, seconds.
_WAIT_S = 10.0
# How often it is looked whether a board came back, seconds.
_LOOK_S = 0.5
# What a board is at may take so long to end after an error, seconds.
_END_S = 5.0
# Jobs that are made ready beyond those that are being timed: compiling goes on meanwhile.
_AHEAD = 16


class Boards:
    """All boards of one key that are free, as a ``Timer``; a context that gives them back.

    Attributes:
        board: what all of them are; they are alike.
        processor: what kernels are compiled for; None if those for this machine run there.
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
        self._sessions: list[Session] = []
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
        self.processor = self.board.processor_elsewhere()
        try:
            for session in self._sessions:
                self._demand_alike(session)
        except PlatformError:
            self.__exit__()
            raise

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()
        self._sessions.clear()

    def __len__(self) -> int:
        return len(self._sessions)

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: Deadline
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """See ``Timer``; a job that two boards did not survive is not timed.

        Raises:
            TdseError: no board is left, or one cannot work, for example for want of disk space.
            PlatformError: compiled kernels do not run on the boards' processor.
            VersionError: a board that came back has other versions than it had.
        """
        todo: _Queue[_Task[Key] | None] = queue.SimpleQueue()
        done: _Queue[_Done[Key]] = queue.SimpleQueue()
        workers: list[threading.Thread] = []

        def start(session: Session) -> None:
            arguments = (session, todo, done, deadline)
            workers.append(threading.Thread(target=_work, args=arguments, daemon=True))
            workers[-1].start()

        try:
            yield from self._dispatch(iter(jobs), todo, done, start)
        finally:
            with suppress(queue.Empty):
                while True:
                    todo.get_nowait()
            for _ in workers:
                todo.put(None)
            # A call that comes back while Python ends would abort the process.
            for worker in workers:
                worker.join(_END_S)

    def _dispatch(
        self,
        jobs: Iterator[tuple[Key, Job]],
        todo: _Queue[_Task[Key] | None],
        done: _Queue[_Done[Key]],
        start: Callable[[Session], None],
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        for session in self._sessions:
            start(session)
        outstanding, has_more = 0, True
        last_alive, next_look, why_lost = time.monotonic(), 0.0, ""
        while has_more or outstanding:
            while has_more and outstanding < _AHEAD + len(self._sessions) and done.empty():
                entry = next(jobs, None)
                has_more = entry is not None
                if entry is not None:
                    todo.put(_Task(*entry, self._libraries(entry[1])))
                    outstanding += 1
            if self._sessions:
                last_alive = time.monotonic()
            elif time.monotonic() > last_alive + _WAIT_S:
                raise self._none_left(why_lost)
            if len(self._sessions) < self._wanted and (began := time.monotonic()) > next_look:
                if self._take_again():
                    start(self._sessions[-1])
                # A tracker that is slow to answer must not hold up the boards that are left.
                next_look = time.monotonic() + _LOOK_S + 10.0 * (time.monotonic() - began)
            try:
                session, task, outcome = done.get(timeout=_LOOK_S)
            except queue.Empty:
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
            session = Session(place)
        except LostError:
            return False
        self._demand_alike(session)
        self._sessions.append(session)
        return True

    def _demand_alike(self, session: Session) -> None:
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

    def _libraries(self, job: Job) -> tuple[bytes, ...]:
        """The compiled kernels that ``job`` calls."""
        return tuple(_linked(library, self.processor) for library in job.assembly.libraries)

    def _none_left(self, why: str) -> TdseError:
        return TdseError(
            f"no board with the key {self._key!r} is left",
            where=str(self._tracker),
            why=why,
            hint="restart its RPC server and run the command again; what was measured is kept",
        )


@dataclass(frozen=True)
class _Task(Generic[Key]):
    """A job with the libraries that go with it."""

    key: Key
    job: Job
    libraries: tuple[bytes, ...]
    is_second: bool = False


_Done = tuple["Session", _Task[Key], "Timed | TdseError | LostError | None"]


def _work(
    session: Session,
    todo: _Queue[_Task[Key] | None],
    done: _Queue[_Done[Key]],
    deadline: Deadline,
) -> None:
    """Have one board do tasks until it is lost or there are no more."""
    while (task := todo.get()) is not None:
        if deadline.is_over:
            done.put((session, task, None))
            continue
        try:
            done.put((session, task, session.time(task.job, task.libraries)))
        except TdseError as error:
            done.put((session, task, error))
        except LostError as error:
            done.put((session, task, error))
            return


def _first_session(place: Place) -> Session:
    try:
        return Session(place)
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


@lru_cache(maxsize=32)
def _linked(library: Any, processor: Device | None) -> bytes:
    """The shared library of a TVM module; many operators share it."""
    with tempfile.TemporaryDirectory(prefix="tdse-boards-") as directory:
        path = Path(directory) / "library.so"
        write_library(library, path, processor)
        return path.read_bytes()
