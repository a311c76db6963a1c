"""Find libedgetpu, try it in a child process, and say in one line what is wrong with it.

A library that was built for another LiteRT crashes, and one that is asked for a device that is not
there may wait for long. So a child process loads it first, lists devices, and runs the region once.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tdse.errors import (
    DelegateCrashError,
    DelegateMissingError,
    DelegateRefusedError,
    DelegateSymbolError,
    DelegateTimeoutError,
    DelegateUnusedError,
    NoEdgeTpuError,
    TargetError,
)
from tdse.worker import worker_command, worker_environment

LIBRARY = "EDGETPU_LIBRARY"
# The first use of an Edge TPU behind USB loads its firmware, which takes some seconds.
PROBE_S = 30.0
FUNCTIONS = (
    "edgetpu_list_devices",
    "edgetpu_free_devices",
    "tflite_plugin_create_delegate",
    "tflite_plugin_destroy_delegate",
)

_STAGES: Mapping[str, str] = {
    "load": "loading it",
    "devices": "listing devices",
    "delegate": "opening a device",
    "prepare": "preparing the region",
    "invoke": "running the region",
}
_REBUILD = "install a libedgetpu that is built for the installed ai-edge-litert"


def find_library() -> str | None:
    """Name or path of libedgetpu, for the loader; None if there is none."""
    given = os.environ.get(LIBRARY)
    if given:
        # The loader would look for a mere name elsewhere.
        return str(Path(given).absolute()) if Path(given).is_file() else None
    return ctypes.util.find_library("edgetpu")


@cache
def demand_devices(count: int, timeout_s: float = PROBE_S) -> str:
    """The library, once it has been tried in a child process and lists so many Edge TPUs.

    Raises:
        DelegateMissingError, DelegateSymbolError, DelegateCrashError, DelegateTimeoutError,
        DelegateRefusedError: what is wrong with the library.
        NoEdgeTpuError: there are fewer devices.
    """
    library = find_library()
    if library is None:
        given = os.environ.get(LIBRARY)
        raise DelegateMissingError(
            "there is no libedgetpu",
            why=f"{LIBRARY} names {given}, which is no file"
            if given
            else f"the loader knows no libedgetpu.so.1, and {LIBRARY} is not set",
            hint="install libedgetpu1-std from Coral's apt repository, "
            "or use --emulate where there is no Edge TPU",
        )
    found = _probe(library, None, 0, timeout_s)
    if found < count:
        raise NoEdgeTpuError(
            "no Edge TPU is attached" if not found else f"only {found} Edge TPUs are attached",
            where=library,
            why=f"the artefact needs {count}",
            hint="attach it, and see that this user may use it, or use --emulate",
        )
    return library


def demand_runs(library: str, model: bytes, device: int, timeout_s: float = PROBE_S) -> None:
    """Have a child process run a compiled region once.

    Args:
        library: libedgetpu.
        model: what edgetpu_compiler made.
        device: number of the Edge TPU.
        timeout_s: of all of it.

    Raises:
        DelegateUnusedError: the library takes none of the operators.
        TargetError: one of the kinds of ``demand_devices``.
    """
    with tempfile.NamedTemporaryFile(prefix="tdse_edgetpu_", suffix=".tflite") as file:
        file.write(model)
        file.flush()
        _probe(library, file.name, device, timeout_s)


def _probe(library: str, model: str | None, device: int, timeout_s: float) -> int:
    """The number of devices that a child process finds; with a model, it has run it as well."""
    models = () if model is None else (model,)
    with tempfile.TemporaryFile() as said:
        try:
            # Into a file, so that what was said before a crash or the end of the time is kept.
            code = subprocess.run(
                worker_command("tdse.edgetpu.probe", library, str(device), *models),
                stdout=said,
                stderr=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
                env=worker_environment(),
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        said.seek(0)
        lines = [json.loads(line) for line in said.read().splitlines() if line.startswith(b"{")]
    last = lines[-1] if lines else {"stage": "load"}
    if last.get("stage") == "done":
        return int(last["devices"])
    raise _failure(library, last, code, timeout_s)


def _failure(
    library: str, last: Mapping[str, str], code: int | None, timeout_s: float
) -> TargetError:
    doing = _STAGES.get(last.get("stage", ""), "loading it")
    if code is None:
        return DelegateTimeoutError(
            f"libedgetpu does not answer within {timeout_s:g} s",
            where=library,
            why=f"it hangs in {doing}",
            hint="detach the Edge TPU and attach it again",
        )
    if code < 0:
        return DelegateCrashError(
            "libedgetpu crashes",
            where=library,
            why=f"{signal.Signals(-code).name} in {doing}",
            hint=_REBUILD,
        )
    why = last.get("why", "")
    kind = last.get("error", "")
    if kind == "symbol":
        return DelegateSymbolError(
            "the library is no libedgetpu", where=library, why=why, hint=_REBUILD
        )
    if kind == "unused":
        return DelegateUnusedError(
            "libedgetpu takes none of the operators that were compiled for it",
            where=library,
            why=why,
            hint=_REBUILD,
        )
    return DelegateRefusedError(
        f"libedgetpu fails in {doing}",
        where=library,
        why=why or f"the child process ended with status {code}",
        hint=_REBUILD,
    )
