"""An executor in a child process: what crashes there leaves this process alive."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import mmap
import os
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tdse.errors import TargetError, TdseError
from tdse.worker import worker_command, worker_environment

# Of a shared array, in bytes; the executor's own buffers have it too.
_ALIGNMENT = 64
# A child that has closed its connection is about to end; writing a core file takes a while.
_END_S = 30.0
_RECEIVE_BYTES = 1 << 16


class SharedArrays:
    """Memory for the inputs and outputs of an executor, mapped by two processes.

    Attributes:
        inputs: address and size in bytes of each input, in this process.
        outputs: the same of each output.
    """

    def __init__(self, descriptor: int, description: Mapping[str, Any]) -> None:
        entries = [*description["inputs"], *description["outputs"]]
        sizes = [math.prod(e["shape"]) * np.dtype(e["dtype"]).itemsize for e in entries]
        offsets, end = [], 0
        for size in sizes:
            offsets.append(end)
            end += max(1, -(-size // _ALIGNMENT)) * _ALIGNMENT
        os.ftruncate(descriptor, end)
        # The array keeps the mapping alive; it is unmapped, and freed, when both processes drop it.
        self._bytes = np.frombuffer(mmap.mmap(descriptor, end), np.uint8)
        base = self._bytes.__array_interface__["data"][0]
        places = [(base + offset, size) for offset, size in zip(offsets, sizes, strict=True)]
        self.inputs = places[: len(description["inputs"])]
        self.outputs = places[len(description["inputs"]) :]


class ChildExecutor:
    """Has the functions of a native executor, by name, and calls them in a child process.

    Arrays pass through shared memory without a name; requests and replies are lines of JSON on a
    socket. The child ends when this object is dropped, when this process ends, and by any exchange
    that does not come to its end. A process that is forked from this one cannot call it: the
    connection is this one's.
    """

    def __init__(self, module: Path) -> None:
        """Start the child and load ``module`` there.

        Raises:
            ArtefactError: the module cannot be loaded.
            TargetError: the child crashed while it loaded it.
        """
        self._module = module
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair()
        with os.fdopen(os.memfd_create("tdse"), "r+b") as memory:
            with theirs:
                self.process = _launch(module, theirs.fileno(), memory.fileno())
            self._stop = weakref.finalize(self, _stop, self._owner, self.process, self._connection)
            with contextlib.ExitStack() as unless_done:
                unless_done.callback(self._stop)
                self._description: str = _value(self._receive())
                self._arrays = SharedArrays(memory.fileno(), json.loads(self._description))
                unless_done.pop_all()

    def __getitem__(self, name: str) -> Callable[..., Any]:
        functions: dict[str, Callable[..., Any]] = {
            "describe": lambda: self._description,
            "run": self._run,
            "stream": lambda: _ChildStream(self._run, self._arrays),
            "time_runs": partial(self._timed, "time_runs"),
            "time_stream": partial(self._timed, "time_stream"),
            "profile": partial(self._timed, "profile"),
            "start_trace": partial(self._timed, "start_trace", 0),
            "take_trace": partial(self._timed, "take_trace", 0),
        }
        return functions[name]

    def _run(self, *addresses: int) -> None:
        """Addresses of the inputs, then of the outputs, as for a native executor."""
        self._require_own_process()
        count = len(self._arrays.inputs)
        with self._lock:
            self._copy_in(addresses[:count])
            self._ask("run", 1)
            for address, (shared, size) in zip(
                addresses[count:], self._arrays.outputs, strict=True
            ):
                ctypes.memmove(address, shared, size)

    def _timed(self, function: str, count: int, *addresses: int) -> bytes:
        self._require_own_process()
        with self._lock:
            if addresses:
                self._copy_in(addresses)
            return np.array(self._ask(function, count), np.float64).tobytes()

    def _require_own_process(self) -> None:
        if os.getpid() != self._owner:
            raise TargetError(
                "the model was loaded before this process was forked, and cannot run in it",
                hint="load it again in the new process",
            )

    def _copy_in(self, addresses: Sequence[int]) -> None:
        for address, (shared, size) in zip(addresses, self._arrays.inputs, strict=True):
            ctypes.memmove(shared, address, size)

    def _ask(self, function: str, count: int) -> Any:
        if not self._stop.alive:
            raise self._ended()
        with contextlib.ExitStack() as unless_done:
            unless_done.callback(self._stop)
            # If the child has just ended, that is told when no reply comes.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._connection.sendall(json.dumps([function, count]).encode() + b"\n")
            reply = self._receive()
            unless_done.pop_all()
        return _value(reply)

    def _receive(self) -> dict[str, Any]:
        line = b""
        # Not through a file object: it has a lock, which a forked process may find taken.
        with contextlib.suppress(ConnectionResetError):
            while not line.endswith(b"\n") and (part := self._connection.recv(_RECEIVE_BYTES)):
                line += part
        if not line.endswith(b"\n"):
            raise self._ended()
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _ended(self) -> TargetError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)
        status = self.process.returncode
        if status is None:
            how = "it closed its connection"
        elif status < 0:
            how = f"it was ended by signal {-status} ({signal.strsignal(-status)})"
        else:
            how = f"it ended with status {status}"
        return TargetError(
            "the process that ran the model has ended",
            where=str(self._module),
            why=how,
            hint="load the artefact again",
        )


class _ChildStream:
    """Has the functions of a native stream, by name. An item is run when it is popped, so there is
    never more than one: the child serves one call after the other.
    """

    def __init__(self, run: Callable[..., None], arrays: SharedArrays) -> None:
        self._run = run
        self._sizes = [size for _, size in arrays.inputs]
        self._item: list[np.ndarray[Any, Any]] | None = None

    def __getitem__(self, name: str) -> Callable[..., Any]:
        functions: dict[str, Callable[..., Any]] = {
            "push": self._push,
            "ready": lambda: self._item is not None,
            "pop": self._pop,
            "cancel": self._cancel,
        }
        return functions[name]

    def _push(self, *addresses: int) -> bool:
        if self._item is not None:
            return False
        self._item = [np.empty(size, np.uint8) for size in self._sizes]
        for copy, address in zip(self._item, addresses, strict=True):
            ctypes.memmove(copy.ctypes.data, address, copy.size)
        return True

    def _pop(self, *addresses: int) -> None:
        item, self._item = self._item, None
        if item is None:
            raise TargetError("nothing is in the stream")
        self._run(*(copy.ctypes.data for copy in item), *addresses)

    def _cancel(self) -> None:
        self._item = None


def _launch(module: Path, connection: int, memory: int) -> subprocess.Popen[bytes]:
    arguments = str(connection), str(memory), str(module.absolute())
    return subprocess.Popen(
        worker_command("tdse.runtime.isolated_worker", *arguments),
        env=worker_environment(),
        stdin=subprocess.DEVNULL,
        pass_fds=(connection, memory),
        # Ctrl-C is for this process to handle.
        start_new_session=True,
    )


def _stop(owner: int, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    """End the child, which keeps nothing that could be lost, and leave no zombie."""
    connection.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _value(reply: Mapping[str, Any]) -> Any:
    if "error" in reply:
        raise TdseError.from_dict(reply["error"])
    return reply["value"]
