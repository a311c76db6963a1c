"""Processes that do one thing: what they print, how their failures are told, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tdse.errors import TdseError
from tdse.worker import run_worker

_ORPHAN = """
import os, time
from tdse.worker import end_with_parent
if pid := os.fork():
    print(pid, flush=True)
    time.sleep(1)
else:
    end_with_parent()
    time.sleep(60)
"""

_FAULT = """
import os, signal
from tdse.worker import end_at_faults
end_at_faults()
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_the_last_line_is_the_answer() -> None:
    found = run_worker("json.tool", "--compact", doing="it", limit_s=60.0, given='{"a": [1, 2]}')
    assert found == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("module", "arguments", "why"),
    [
        ("json.tool", (), "Expecting value: line 1 column 1 (char 0)"),
        ("timeit", ("-n1", "-r1", "import os; os.kill(os.getpid(), 9)"), "signal SIGKILL"),
        ("timeit", ("-n1", "-r1", "import os; os._exit(3)"), "status 3"),
    ],
)
def test_a_failure_is_told(module: str, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(TdseError) as told:
        run_worker(module, *arguments, doing="measuring memory", limit_s=60.0, where="m.so")
    assert str(told.value) == f"m.so: measuring memory failed: {why}"


def test_a_process_that_hangs_is_ended() -> None:
    begin = time.monotonic()
    with pytest.raises(TdseError, match="timing did not finish: a process took more than 1 s"):
        run_worker("timeit", "-n1", "import time; time.sleep(60)", doing="timing", limit_s=1.0)
    assert time.monotonic() - begin < 30.0


def test_a_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.wait()
    end = time.monotonic() + 30.0
    while time.monotonic() < end and _runs(pid):
        time.sleep(0.05)
    is_left = _runs(pid)
    if is_left:
        os.kill(pid, signal.SIGKILL)
    assert not is_left


def _runs(pid: int) -> bool:
    """Whether there is such a process that has not ended; nobody may have waited for it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_fault_ends_a_process_at_once_and_prints_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", _FAULT], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGSEGV, b"")
