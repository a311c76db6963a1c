"""A model in a child process: the same results, and a crash that the parent survives."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tdse
from tdse.errors import ArtefactError, TargetError, TdseError, UsageError
from tdse.runtime.artefact import METADATA, MODULE, write_json
from tdse.runtime.isolated import ChildExecutor
from tdse.runtime.metadata import sealed
from tdse.runtime.model import Model

pytestmark = pytest.mark.tvm

CRASHED = r"the process that ran the model has ended: it was ended by signal 11 \(.*\); load"


@pytest.fixture
def model(small_artefact: Path) -> Model:
    return tdse.load(small_artefact, isolate=True)


def _child(model: Model) -> int:
    """The child's process id."""
    executor = model._executor
    assert isinstance(executor, ChildExecutor)
    return executor.process.pid


def _state(process: int) -> str:
    """The letter for the state of a process, ``Z`` for a zombie; empty if there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def _held() -> tuple[int, int]:
    """How many files this process has open, and how much shared memory it has mapped."""
    return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("memfd:tdse")


def test_the_same_surface(model: Model, small_artefact: Path) -> None:
    here = tdse.load(small_artefact)
    assert (model.inputs, model.outputs) == (here.inputs, here.outputs)
    assert (model.regions, model.arena_bytes) == (here.regions, here.arena_bytes)
    assert model.metadata == here.metadata
    for seed in range(5):
        inputs = model.random_inputs(seed)
        names = [info.name for info in model.inputs]
        for got, want in zip(model.run(inputs), here.run(inputs), strict=True):
            assert np.array_equal(got, want)
        named = dict(zip(names, inputs, strict=True))
        for got, want in zip(model(**named), here(*inputs), strict=True):
            assert np.array_equal(got, want)
    assert model.time_runs(inputs, 7).shape == (7,)
    assert (model.profile(inputs, 3) > 0).shape == (3, len(model.regions))


def test_results_are_not_overwritten_by_the_next_call(model: Model) -> None:
    first = model.run(model.random_inputs(0))
    kept = [output.copy() for output in first]
    model.run(model.random_inputs(1))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_wrong_inputs_leave_the_child_alive(model: Model) -> None:
    inputs = model.random_inputs(0)
    with pytest.raises(UsageError, match="takes 2 inputs, not 1"):
        model.run(inputs[:1])
    with pytest.raises(TargetError):
        model.time_runs(inputs, -1)
    model.run(inputs)


def test_a_crash_between_calls(model: Model) -> None:
    inputs = model.random_inputs(0)
    model.run(inputs)
    os.kill(_child(model), signal.SIGSEGV)
    for _ in range(2):
        with pytest.raises(TargetError, match=CRASHED) as error:
            model.run(inputs)
        assert "\n" not in str(error.value)
    assert _state(_child(model)) == ""


def test_a_crash_during_a_call(model: Model) -> None:
    inputs = model.random_inputs(0)
    os.kill(_child(model), signal.SIGSTOP)
    errors: list[TdseError] = []

    def call() -> None:
        try:
            model.run(inputs)
        except TdseError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    caller.join(1.0)
    assert caller.is_alive()
    os.kill(_child(model), signal.SIGSEGV)
    os.kill(_child(model), signal.SIGCONT)
    caller.join(30)
    assert len(errors) == 1
    with pytest.raises(TargetError, match=CRASHED):
        raise errors[0]


def test_a_crash_while_loading(small_artefact: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(small_artefact, tmp_path / "out"))
    source = tmp_path / "crash.c"
    source.write_text(
        "#include <signal.h>\n"
        "__attribute__((constructor)) static void crash(void) { raise(SIGSEGV); }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", directory / MODULE, source], check=True)
    fields = json.loads((directory / METADATA).read_text())
    write_json(directory / METADATA, sealed(fields, directory))
    with pytest.raises(TargetError, match=CRASHED):
        tdse.load(directory, isolate=True)


def test_a_module_that_cannot_be_loaded(small_artefact: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(small_artefact, tmp_path / "out"))
    (directory / MODULE).write_text("text")
    with pytest.raises(ArtefactError, match=r"model\.so is damaged"):
        tdse.load(directory, isolate=True)
    with pytest.raises(ArtefactError, match="the runtime module cannot be loaded"):
        ChildExecutor(directory / MODULE)


def test_nothing_is_left_of_a_dropped_model(small_artefact: Path) -> None:
    # The first opens what stays open, and collects what other tests left.
    tdse.load(small_artefact, isolate=True).random_inputs(0)
    gc.collect()
    before = _held()
    for _ in range(3):
        model = tdse.load(small_artefact, isolate=True)
        model.run(model.random_inputs(0))
        assert _held() > before
        child = _child(model)
        del model
        assert _state(child) == ""
        assert _held() == before


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_the_child_ends_with_its_parent(end: str, small_artefact: Path) -> None:
    code = (
        "import os, signal, tdse\n"
        f"model = tdse.load({str(small_artefact)!r}, isolate=True)\n"
        "print(model._executor.process.pid, flush=True)\n"
        f"{end}\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    child = int(process.stdout)
    deadline = time.monotonic() + 30
    while _state(child) not in ("", "Z") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _state(child) in ("", "Z")


def test_an_interrupted_call_ends_the_child(small_artefact: Path) -> None:
    code = (
        "import os, signal, threading, tdse\n"
        # A shell's background jobs ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"model = tdse.load({str(small_artefact)!r}, isolate=True)\n"
        "inputs = model.random_inputs(0)\n"
        "os.kill(model._executor.process.pid, signal.SIGSTOP)\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    model.run(inputs)\n"
        "except KeyboardInterrupt:\n"
        "    assert model._executor.process.returncode == -signal.SIGKILL\n"
        "    print('interrupted')\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stdout == "interrupted\n"


def test_code_of_the_current_directory_is_not_run(small_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken from the current directory')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(f"import tdse\ntdse.load({str(small_artefact)!r}, isolate=True)\n")
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)


def test_calls_from_several_threads(model: Model, small_artefact: Path) -> None:
    here = tdse.load(small_artefact)
    wrong: list[int] = []

    def calls(seed: int) -> None:
        inputs = model.random_inputs(seed)
        want = here.run(inputs)
        for _ in range(50):
            got = model.run(inputs)
            if not all(np.array_equal(a, b) for a, b in zip(got, want, strict=True)):
                wrong.append(seed)

    threads = [threading.Thread(target=calls, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
