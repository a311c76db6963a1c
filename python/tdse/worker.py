"""How this process finds and starts others, and how these end with it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tdse.errors import TdseError

# Signals of a fault in the process itself, in contrast to SIGKILL and SIGTERM from outside.
FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# What -P does, for Python 3.10, which has no such option; the directory is the first of the path.
_WITHOUT_WORKING_DIRECTORY = (
    "import sys; del sys.path[0], sys.argv[0]; import runpy; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def find_program(name: str) -> Path | None:
    """The program that ``PATH`` leads to, None if it leads to none.

    What is found there runs as code, so relative entries of ``PATH``, which depend on the working
    directory, are passed over.
    """
    entries = [entry for entry in os.get_exec_path() if os.path.isabs(entry)]
    found = shutil.which(name, path=os.pathsep.join(entries))
    return Path(found) if found is not None else None


def worker_command(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module``; none of the working directory's files is code."""
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", module, *arguments]
    return [sys.executable, "-c", _WITHOUT_WORKING_DIRECTORY, module, *arguments]


def worker_environment() -> dict[str, str]:
    """The environment, with the places where this process finds modules."""
    places = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    found = dict.fromkeys(place for place in places if os.path.isabs(place))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}


def run_worker(
    module: str, *arguments: str, doing: str, limit_s: float, given: str = "", where: str = ""
) -> dict[str, Any]:
    """Run ``module`` in a process of its own until that ends.

    Args:
        module: it prints a JSON object as its last line.
        arguments: of its command line.
        doing: what the process does, for messages.
        limit_s: seconds after which it is taken for hung.
        given: what it reads from its standard input.
        where: what it does that with, for messages.

    Returns:
        The object.

    Raises:
        TdseError: it did not finish, or failed; its last line of error output is the reason.
    """
    try:
        process = subprocess.run(
            worker_command(module, *arguments),
            env=worker_environment(),
            input=given,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            # Ctrl-C is for the parent, which ends it.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise TdseError(
            f"{doing} did not finish",
            where=where,
            why=f"a process took more than {limit_s:.0f} s",
            hint="try again on a quiet machine",
        ) from None
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [_ending(process.returncode)]
        raise TdseError(f"{doing} failed", where=where, why=lines[-1])
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def end_with_parent() -> None:
    """Have the kernel kill this process when the one ends that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_at_faults() -> None:
    """Have a segmentation fault end this process at once.

    TVM's library prints a backtrace first. To find its names in TVM's and LLVM's debug information
    can take a minute, in which whoever waits for the process does not learn that it crashed.
    """
    # It takes the signal when it is loaded. Boards may be without it.
    with contextlib.suppress(ImportError):
        import tvm_ffi  # noqa: F401

    signal.signal(signal.SIGSEGV, signal.SIG_DFL)


def _ending(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
