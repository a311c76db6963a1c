"""A tracker and servers of TVM's RPC as processes, on free ports of the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tdse.errors import TdseError
from tdse.measure.tracker import Tracker
from tdse.worker import worker_command, worker_environment

_START_S = 60.0


class Network:
    """Ends all its processes when it is closed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._run("", "tvm.exec.rpc_tracker", "--port", str(port), "--port-end", str(port + 1))
        wait_until(lambda: listens(port))

    def close(self, key: str | None = None) -> None:
        """End the servers of ``key``, or everything."""
        for process, its_key in self._processes:
            if key in (None, its_key):
                self.kill(process)

    def server(
        self,
        key: str,
        *,
        environment: Mapping[str, str] | None = None,
        cores: set[int] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a server; it is there some seconds later, see ``wait_for``."""
        port = free_port()
        # A server and what it forks inherit the cores of the thread that starts it.
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores or before)
        try:
            return self._run(
                key,
                "tvm.exec.rpc_server",
                *("--port", str(port), "--port-end", str(port + 1)),
                *("--tracker", self.address, "--key", key),
                environment=environment,
            )
        finally:
            os.sched_setaffinity(0, before)

    def wait_for(self, key: str, count: int) -> None:
        """Wait until ``count`` boards of ``key`` are free."""

        def are_there() -> bool:
            try:
                return Tracker.parse(self.address).boards(key)[1] >= count
            except TdseError:
                return False

        wait_until(are_there)

    @staticmethod
    def kill(process: subprocess.Popen[bytes], signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to a server with all that it forked."""
        if process.poll() is None:
            os.killpg(process.pid, signal_number)
        if signal_number == signal.SIGKILL:
            process.wait()

    def _run(
        self, key: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self._directory / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                worker_command(module, "--host", "127.0.0.1", *arguments),
                env={**worker_environment(), **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append((process, key))
        return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_S
    while not is_done():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing came up within {_START_S} s on {sys.platform}")
        time.sleep(0.1)
