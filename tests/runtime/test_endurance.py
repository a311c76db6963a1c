"""Many inferences, many loads, many threads, and processes that fork: each in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tdse
from tdse.graph import read_tflite
from tdse.graph.regions import form_regions
from tdse.search.placement import make_placement

pytestmark = pytest.mark.tvm

# What every process does first: `load()` gives the artefact, `expected` what it computes for
# `inputs`, and `resources()` what the process holds after all garbage is gone.
START = """
    import gc, json, os, shutil, signal, sys, threading
    import numpy as np
    import tdse
    from tdse.errors import TargetError

    out = sys.argv[1]

    def load(**options):
        return tdse.load(out, **options)

    def is_right(model):
        return all(np.array_equal(y, e) for y, e in zip(model.run(inputs), expected, strict=True))

    def resources():
        gc.collect()
        # Memory first: reading the others needs some.
        pages = int(open("/proc/self/statm").read().split()[1])
        maps = open("/proc/self/maps").read()
        return {
            "resident_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            "threads": len(os.listdir("/proc/self/task")),
            "files": len(os.listdir("/proc/self/fd")),
            "libraries": maps.count("model.so"),
        }

    inputs = load().random_inputs(0)
    expected = load().run(inputs)
    """


@pytest.fixture(scope="module")
def artefact(model_path: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four regions, of LiteRT with two threads and of compiled kernels in turns."""
    model = model_path("branches")
    graph = read_tflite(model)
    targets = {op: "llvm" if op in (3, 4) else "litert" for op in range(len(graph.ops))}
    placement = make_placement(graph, form_regions(graph, targets), 2, None, 0)
    out = tmp_path_factory.mktemp("endurance") / "out"
    tdse.compile(model, out=out, placement=placement)
    assert {(region["kind"], region["threads"]) for region in tdse.load(out).regions} == {
        ("litert", 2),
        ("tvm", 2),
        # One of the operators is too small to be divided.
        ("tvm", 1),
    }
    return out


def run_process(code: str, artefact: Path, *arguments: str) -> Any:
    """What ``code``, after ``START``, prints as JSON; nothing may go to standard error."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(START) + textwrap.dedent(code),
            artefact,
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_many_inferences_need_no_more_memory(artefact: Path) -> None:
    before, after = run_process(
        """
        model = load()
        for _ in range(1000):
            model.run(inputs)
        before = resources()
        for _ in range(100_000):
            model.run(inputs)
        assert is_right(model)
        print(json.dumps([before, resources()]))
        """,
        artefact,
    )
    assert after.pop("resident_kib") < 1.01 * before.pop("resident_kib")
    assert after == before


def test_many_loads_leave_nothing(artefact: Path, tmp_path: Path) -> None:
    """Each from a directory of its own; all are dropped after one inference."""
    before, after = run_process(
        """
        def load_and_drop(directory):
            global out
            shutil.copytree(sys.argv[1], directory)
            out = directory
            assert is_right(load())
            shutil.rmtree(directory)

        for i in range(20):
            load_and_drop(f"{sys.argv[2]}/first{i}")
        before = resources()
        for i in range(500):
            load_and_drop(f"{sys.argv[2]}/{i}")
        print(json.dumps([before, resources()]))
        """,
        artefact,
        str(tmp_path),
    )
    assert before["libraries"] == 0
    # Python takes half a MiB once, when it makes its table of names anew.
    assert after.pop("resident_kib") < before.pop("resident_kib") + 1024
    assert after == before


def test_eight_threads_on_one_model(artefact: Path) -> None:
    """All make the first call at once, each with inputs of its own."""
    wrong = run_process(
        """
        threads = 8
        model, other = load(), load()
        own_inputs = [model.random_inputs(seed) for seed in range(threads)]
        own_expected = [other.run(own) for own in own_inputs]
        start = threading.Barrier(threads)
        wrong = []

        def work(i):
            start.wait()
            for _ in range(300):
                for got, want in zip(model.run(own_inputs[i]), own_expected[i], strict=True):
                    if not np.array_equal(got, want):
                        wrong.append(i)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(json.dumps(wrong))
        """,
        artefact,
    )
    assert wrong == []


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("busy_threads", [0, 3])
def test_fork_after_load(artefact: Path, busy_threads: int, isolate: bool) -> None:
    """The child is refused, loads the artefact anew, and ends; the parent goes on.

    With busy threads, these are in a call while the process forks.
    """
    children = run_process(
        """
        isolate = sys.argv[3] == "True"
        model = load(isolate=isolate)
        assert is_right(model)
        stop = False

        def work():
            while not stop:
                model.run(inputs)

        workers = [threading.Thread(target=work, daemon=True) for _ in range(int(sys.argv[2]))]
        for worker in workers:
            worker.start()
        children = []
        for _ in range(3):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                # A child that hangs ends by this signal, which the parent sees.
                signal.alarm(30)
                try:
                    model.run(inputs)
                    said = "nothing"
                except TargetError as error:
                    said = str(error)
                anew = load(isolate=isolate)
                os.write(writing, json.dumps([said, is_right(anew)]).encode())
                sys.exit(0)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                text = pipe.read()
            children.append([os.waitpid(child, 0)[1], *json.loads(text)])
            assert is_right(model)
        stop = True
        for worker in workers:
            worker.join()
        print(json.dumps(children))
        """,
        artefact,
        str(busy_threads),
        str(isolate),
    )
    refusal = (
        "the model was loaded before this process was forked, and cannot run in it; load it "
        "again in the new process"
    )
    assert children == [[0, refusal, True]] * 3
