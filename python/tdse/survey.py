"""What is found out about a model's operators before the search: support, activations, times.

It means running what may crash: LiteRT's kernels on a stranger's model, TVM's lowering, fresh
machine code. So it is done by a child process. If that dies, the operator it was at is remembered
as not supported, and another child goes on with the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdse.contest import Progress
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.legality import Legality, find_legality
from tdse.measure.activations import Array
from tdse.measure.records import RecordStore
from tdse.worker import worker_command, worker_environment

# A child that says nothing for so long, in seconds, is taken for hung. A batch of operators takes
# LLVM well under a minute on a small board.
_SILENT_S = 120.0
# Signals of a fault in the child itself, in contrast to SIGKILL and SIGTERM from outside.
_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True)
class Survey:
    """What the search needs to know.

    Attributes:
        legality: why each operator may or may not run on each target.
        values: activations, tensor index to array; empty for a model that is not cut.
        measured: measurements that were made.
    """

    legality: Legality
    values: Mapping[int, Array]
    measured: int


def survey(
    graph: Graph,
    targets: Sequence[str],
    counts: Sequence[int],
    store: RecordStore,
    *,
    pins: Mapping[int, str],
    seed: int,
    deadline: float,
    memory_bytes: int | None,
    say: Progress,
) -> Survey:
    """Find out where operators may run and how long they take.

    Args:
        graph: the model.
        targets: names.
        counts: thread counts to measure with.
        store: takes what is found, and gives what is known.
        pins: operator index to the target it must run on; these are measured first.
        seed: of the model's inputs.
        deadline: ``time.monotonic()`` after which no measurement is begun.
        memory_bytes: what the child may allocate; None for no limit.
        say: progress.

    Raises:
        ModelError: an operator runs on no target.
        TdseError: the child was killed from outside, or ended in a way that no operator explains.
    """
    with tempfile.TemporaryDirectory(prefix="tdse-survey-") as directory:
        model, values = Path(directory) / "model.tflite", Path(directory) / "values.npz"
        model.write_bytes(graph.data)
        spec = {
            "model": str(model),
            "name": graph.name,
            "values": str(values),
            "store": str(store.path),
            "targets": list(targets),
            "counts": list(counts),
            "pins": list(pins.items()),
            "seed": seed,
            "deadline": deadline,
            "memory_bytes": memory_bytes,
            "one_by_one": False,
        }
        measured = 0
        while True:
            child = _Child(say)
            measured += child.run(spec)
            if child.failure is None:
                break
            if len(child.keys) > 1:
                spec["one_by_one"] = True
                continue
            if not child.keys:
                raise TdseError(
                    "finding out about the operators failed", where=graph.name, why=child.failure
                )
            why = f"{child.stage} it {child.failure}"
            store.add_support([(key, child.target, False, why) for key in child.keys])
        loaded: dict[int, Array] = {}
        if values.is_file():
            with np.load(values) as archive:
                indices, *arrays = (archive[name] for name in archive.files)
            loaded = dict(zip(indices.tolist(), arrays, strict=True))
    return Survey(find_legality(graph, targets, store), loaded, measured)


class _Child:
    """One process that works on the survey, and what it was last heard to be at."""

    def __init__(self, say: Progress) -> None:
        self._say = say
        self._measured = 0
        self._finished = False
        self.failure: str | None = None
        self.stage = ""
        self.target = ""
        self.keys: tuple[str, ...] = ()

    def run(self, spec: Mapping[str, Any]) -> int:
        """Run a child to its end; the number of measurements that it made."""
        with tempfile.TemporaryFile() as log, _process(log) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(spec).encode())
                process.stdin.close()
            is_hung = False
            for line in _lines(process):
                if line is None:
                    is_hung = True
                    process.kill()
                    break
                self._hear(json.loads(line))
            status = process.wait()
            if not self._finished:
                log.seek(0)
                self.failure = _failure(status, is_hung, log.read().decode(errors="replace"))
        return self._measured

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "progress" in message:
            self._say(*message["progress"])
        elif "at" in message:
            self.stage, self.target, self.keys = message["at"]
        elif "measured" in message:
            self._measured = message["measured"]
            self._finished = True
        else:
            raise TdseError.from_dict(message["error"])


@contextlib.contextmanager
def _process(log: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        worker_command("tdse.survey_worker"),
        env=worker_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes | None]:
    """The lines that a process writes; None if it is silent for too long."""
    assert process.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(_SILENT_S):
                yield None
                return
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from lines


def _failure(status: int, is_hung: bool, log: str) -> str:
    """How a child ended that did not finish.

    Raises:
        TdseError: it was killed from outside.
    """
    if is_hung:
        return f"did not finish within {_SILENT_S:.0f} s"
    lines = log.strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    if status >= 0:
        return f"ended the process with status {status}{last}"
    name = signal.Signals(-status).name
    if -status not in _FAULTS:
        raise TdseError(
            "a process of tdse was killed",
            why=name,
            hint="if memory ran out, close other programs, and run it again",
        )
    return f"crashed the process with {name}{last}"
