"""A process that does for a model what may crash or never end.

That is to run LiteRT's kernels on a stranger's model, TVM's lowering, and fresh machine code. It
is asked for one job after the other, and is started anew where one was its last.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.measure.deadline import Stop
from tdse.platform import discover_host
from tdse.worker import FAULTS, worker_command, worker_environment

# Told of the stage, what of it is done, how much it has, and a detail.
Progress = Callable[[str, int, int, str], None]

# A process that says nothing for so long, in seconds, is taken for hung. A batch of operators
# takes LLVM well under a minute on a small board, a whole model some minutes.
SILENT_S = 120.0
BUILD_SILENT_S = 900.0
# One run of LiteRT, of an operator or of a model that is not cut, is done well within this.
LITERT_SILENT_S = 30.0
# The stages in which LiteRT takes up the model, and computes what every result is held against.
PREPARING, RUNNING = "preparing", "running"


def unheard(stage: str, done: int, total: int, detail: str) -> None:
    """A ``Progress`` that nobody looks at."""


class CrashError(Exception):
    """The process ended, or hung, in the middle of a job.

    Attributes:
        why: how it ended, in words that follow a subject.
        stage: what it was at, for example ``measuring``; empty if it had not said.
        target: the target that it was at.
        keys: signatures of the operators that it was at; empty for the model as a whole.
    """

    def __init__(self, why: str, stage: str, target: str, keys: tuple[str, ...]) -> None:
        super().__init__(why)
        self.why = why
        self.stage = stage
        self.target = target
        self.keys = keys


class Child:
    """The process of one model, as a context; it ends with it.

    Attributes:
        directory: for files that are exchanged with the process; removed at the end.
        model: the model, as a file in it.
        stop: asked for where its measuring is to end early.
    """

    def __init__(self, graph: Graph, say: Progress, stop: Stop | None = None) -> None:
        self.stop = stop or Stop()
        self._graph = graph
        self._say = say
        self._scratch = tempfile.TemporaryDirectory(prefix="tdse-child-")
        self.directory = Path(self._scratch.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.directory / "log"
        self.model = self.directory / "model.tflite"
        self.model.write_bytes(graph.data or graph.ir)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._scratch.cleanup()

    def ask(self, job: str, *, silent_s: float | None = None, **arguments: Any) -> Any:
        """Have one of ``child_worker.JOBS`` done, and give its answer.

        Args:
            job: its name.
            silent_s: after how many seconds without a word the process is taken for hung; by
                default ``SILENT_S``, and where LiteRT runs alone ``LITERT_SILENT_S``.
            arguments: of the job, as JSON has them.

        Raises:
            TdseError: the job failed, or the process was killed from outside.
            CrashError: the process did not survive the job.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"job": job, **arguments}).encode() + b"\n")
            process.stdin.flush()
        stage, target, keys = "", "", ()
        is_hung = False

        def limit() -> float:
            if stage in (PREPARING, RUNNING):
                return LITERT_SILENT_S
            return SILENT_S if silent_s is None else silent_s

        for line in _lines(process, limit):
            if line is None:
                is_hung = True
                process.kill()
                break
            message = json.loads(line)
            if "progress" in message:
                self._say(*message["progress"])
            elif "at" in message:
                stage, target, keys = message["at"]
            elif "answer" in message:
                return message["answer"]
            else:
                raise TdseError.from_dict(message["error"])
        status = process.wait()
        log = self._log.read_text(errors="replace")
        self._stop()
        why = f"did not finish within {limit():.0f} s" if is_hung else _ending(status, log)
        raise CrashError(why, stage, target, tuple(keys))

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                worker_command("tdse.child_worker"),
                env=worker_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for the parent, which tells it what to do.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        opening: Mapping[str, Any] = {
            "model": str(self.model),
            "name": self._graph.name,
            "stop": str(self.stop.file),
            "memory_bytes": discover_host().devices[0].memory_bytes,
        }
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(opening).encode() + b"\n")
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
        self._process = None


def _lines(
    process: subprocess.Popen[bytes], silent_s: Callable[[], float]
) -> Iterator[bytes | None]:
    """The lines that a process writes; None if it is silent for too long."""
    assert process.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(silent_s()):
                yield None
                return
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from lines


def _ending(status: int, log: str) -> str:
    """How a process ended that did not finish its job.

    Raises:
        TdseError: it was killed from outside.
    """
    lines = log.strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    if status >= 0:
        return f"ended the process with status {status}{last}"
    name = signal.Signals(-status).name
    if -status not in FAULTS:
        raise TdseError(
            "a process of tdse was killed",
            why=name,
            hint="if memory ran out, close other programs, and run it again",
        )
    return f"crashed the process with {name}{last}"
