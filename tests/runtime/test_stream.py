"""Lanes and streams: results as of single calls, in order, and errors where they belong."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from tdse.assemble import Assembly, compile_regions
from tdse.cli import main as tdse_command
from tdse.errors import TargetError, TdseError, UsageError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import form_regions
from tdse.runtime import native
from tdse.runtime.model import Model, model_by_position
from tdse.runtime.plan import Plan, PlanLane, PlanRegion, PlanTensor

ModelPath = Callable[[str], Path]
Array = np.ndarray[Any, Any]

pytestmark = pytest.mark.tvm

TWO = (PlanLane("first"), PlanLane("second", (), 50, 60_000))


def assembled(path: Path, targets: Sequence[str]) -> Assembly:
    """The operators of a model on ``targets`` in turn, on one lane."""
    graph = read_tflite(path)
    assignment = dict(zip(graph.placed_ops, itertools.cycle(targets), strict=False))
    return compile_regions(graph, form_regions(graph, assignment), threads=1).whole()


def on_lanes(
    assembly: Assembly, lanes: Sequence[PlanLane], lanes_of: Callable[[int], tuple[int, ...]]
) -> Model:
    """The same on ``lanes``; ``lanes_of`` says those of the region at a position."""
    plan = assembly.plan
    regions = tuple(
        dataclasses.replace(region, lanes=lanes_of(i)) for i, region in enumerate(plan.regions)
    )
    plan = dataclasses.replace(plan, regions=regions, lanes=tuple(lanes))
    return Assembly(plan, assembly.libraries).model()


def equal(got: Any, expected: Any) -> bool:
    """Whether two results of a call are the same, bit by bit."""
    if isinstance(expected, tuple):
        return len(got) == len(expected) and all(map(np.array_equal, got, expected))
    return np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("lanes", "lanes_of"),
    [
        ((PlanLane("cpu"),), lambda i: (0,)),
        ((PlanLane("cpu", (), 0, 60_000),), lambda i: (0,)),
        (TWO, lambda i: (i % 2,)),
        (TWO, lambda i: (0, 1)),
        (TWO, lambda i: (1,) if i == 0 else (1, 0)),
    ],
    ids=["one", "a thread for one", "two in turn", "copies", "some copies"],
)
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("branches", ("litert", "llvm")),
        ("tiny_conv_int8", ("litert", "litert", "llvm")),
        ("two_inputs_two_outputs", ("llvm", "litert")),
    ],
)
def test_results_are_those_of_one_lane(
    name: str,
    targets: Sequence[str],
    lanes: Sequence[PlanLane],
    lanes_of: Callable[[int], tuple[int, ...]],
    model_path: ModelPath,
) -> None:
    assembly = assembled(model_path(name), targets)
    one, model = assembly.model(), on_lanes(assembly, lanes, lanes_of)
    items = [tuple(model.random_inputs(seed)) for seed in range(12)]
    expected = [one(*item) for item in items]
    assert all(map(equal, map(lambda item: model(*item), items), expected))
    streamed = list(model.stream(items))
    assert len(streamed) == len(expected)
    assert all(map(equal, streamed, expected))
    if len(one.regions) > 1:
        assert not equal(expected[0], expected[1])


def test_threads_of_python_share_a_model(model_path: ModelPath) -> None:
    assembly = assembled(model_path("branches"), ("litert", "llvm"))
    model = on_lanes(assembly, TWO, lambda i: (i % 2,))
    items = [model.random_inputs(seed)[0] for seed in range(8)]
    expected = [assembly.model()(item) for item in items]
    wrong: list[int] = []

    def call(position: int) -> None:
        for _ in range(20):
            if not equal(model(items[position]), expected[position]):
                wrong.append(position)

    def stream() -> None:
        for _ in range(3):
            if not all(map(equal, model.stream(items), expected)):
                wrong.append(-1)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    threads += [threading.Thread(target=stream) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Regions:
    """Regions that Python runs in the place of LiteRT's interpreter, on one int64 each.

    They add one. ``fails`` and ``hangs`` are numbers at which a region does so.
    """

    def __init__(self) -> None:
        self.fails = self.hangs = -1
        self.go_on = threading.Event()
        self.started: list[int] = []

    def make(self, model: bytes, threads: int, sizes: Sequence[int]) -> Any:
        import tvm_ffi

        return tvm_ffi.convert(self.run)

    def run(self, x: int, y: int) -> None:
        value = ctypes.c_int64.from_address(x).value
        self.started.append(value)
        if value == self.fails:
            raise TargetError("it does not like the number")
        if value == self.hangs:
            self.go_on.wait(60)
        ctypes.c_int64.from_address(y).value = value + 1


@pytest.fixture
def regions() -> Iterator[Regions]:
    native.register()
    import tvm_ffi

    name = "tdse.region.litert_interpreter"
    real = tvm_ffi.get_global_func(name)
    regions = Regions()
    tvm_ffi.register_global_func(name, regions.make, override=True)
    yield regions
    regions.go_on.set()
    tvm_ffi.register_global_func(name, real, override=True)


def pipeline(stages: int, timeout_ms: int = 0) -> Model:
    """``stages`` regions in a row, each on a lane of its own: ``x + stages``."""
    lanes = tuple(PlanLane(f"lane{i}", (), 0, timeout_ms) for i in range(stages))
    tensors = tuple(PlanTensor(f"t{i}", "int64", (1,)) for i in range(stages + 1))
    regions = tuple(
        PlanRegion(f"r{i}", "litert_interpreter", 1, b"slice", (i,), (i + 1,), lanes=(i,))
        for i in range(stages)
    )
    plan = Plan(tensors, (0,), (stages,), regions, lanes)
    return model_by_position(native.create_executor(plan.to_bytes()))


def numbers(values: Sequence[int]) -> list[Array]:
    return [np.array([value]) for value in values]


def values(results: Any) -> list[int | str]:
    """Numbers, and the texts of errors."""
    return [str(r) if isinstance(r, TdseError) else int(r[0]) for r in results]


@pytest.mark.parametrize("stages", [1, 3])
def test_an_error_is_raised_at_its_turn(stages: int, regions: Regions) -> None:
    regions.fails = 150
    model = pipeline(stages)
    stream = model.stream(numbers(range(100, 200, 10)))
    assert values(itertools.islice(stream, 5)) == [v + stages for v in range(100, 150, 10)]
    with pytest.raises(TargetError, match=r"^region r0: it does not like the number$"):
        next(stream)
    assert list(stream) == []
    assert values([model(np.array([1]))]) == [1 + stages]


@pytest.mark.parametrize("stages", [1, 3])
def test_errors_as_results(stages: int, regions: Regions) -> None:
    regions.fails = 120
    model = pipeline(stages)
    items = [*numbers([100, 110, 120]), np.array([7.5]), *numbers([130])]
    results = list(model.stream(items, return_exceptions=True))
    assert values(results[:2] + results[4:]) == [100 + stages, 110 + stages, 130 + stages]
    assert isinstance(results[2], TargetError) and isinstance(results[3], UsageError)


def test_wrong_inputs_are_raised_after_the_results_before_them(regions: Regions) -> None:
    stream = pipeline(2).stream([*numbers([1, 2]), np.array([0.5])])
    assert values([next(stream), next(stream)]) == [3, 4]
    with pytest.raises(UsageError, match="input '0' has shape"):
        next(stream)


def test_forms_of_items(regions: Regions) -> None:
    model = pipeline(2)
    items = [np.array([1]), (np.array([2]),), {"0": np.array([3])}, [4]]
    assert values(model.stream(items)) == [3, 4, 5, 6]
    with pytest.raises(UsageError, match="the model takes 1 inputs, not 2"):
        list(model.stream([(np.array([1]), np.array([2]))]))
    with pytest.raises(UsageError, match="no input is named 'x'"):
        list(model.stream([{"x": np.array([1])}]))
    assert list(model.stream([])) == []


def test_items_are_taken_as_results_are(regions: Regions) -> None:
    """At most six are on their way in three lanes, whoever is slow."""
    taken = 0

    def items() -> Iterator[Array]:
        nonlocal taken
        for value in range(50):
            taken += 1
            yield np.array([value])

    for yielded, result in enumerate(pipeline(3).stream(items()), start=1):
        assert values([result]) == [yielded + 2]
        assert taken <= yielded + 6
    assert taken == 50


def test_a_closed_stream_skips_what_is_on_its_way(regions: Regions) -> None:
    model = pipeline(2)
    endless = model.stream(np.array([value]) for value in itertools.count())
    assert values(itertools.islice(endless, 10)) == list(range(2, 12))
    endless.close()
    started = len(regions.started)
    assert values([model(np.array([5]))]) == [7]
    assert len(regions.started) == started + 2
    # Dropped before its first item, and in the middle.
    model.stream(numbers([1]))
    next(model.stream(numbers([1, 2, 3])))
    gc.collect()
    assert values([model(np.array([5]))]) == [7]


@pytest.mark.parametrize("stages", [1, 2])
def test_a_hang_costs_a_lane_and_no_more(stages: int, regions: Regions) -> None:
    regions.hangs = 13
    model = pipeline(stages, timeout_ms=200)
    assert values([model(np.array([1]))]) == [1 + stages]
    with pytest.raises(TargetError, match=r"^region r0: it did not end within 200 ms; lane lane0"):
        model(np.array([13]))
    with pytest.raises(TargetError, match="lane lane0 is gone: region r0 did not end within 200"):
        model(np.array([1]))
    gone = list(model.stream(numbers([1, 2]), return_exceptions=True))
    assert [str(error) for error in gone] == [
        "lane lane0 is gone: region r0 did not end within 200 ms"
    ] * 2
    del model
    gc.collect()


def test_lanes_end_with_the_model(regions: Regions) -> None:
    gc.collect()
    # Threads of earlier tests may end meanwhile.
    before = set(os.listdir("/proc/self/task"))
    for _ in range(20):
        model = pipeline(3)
        list(model.stream(numbers(range(5))))
        assert len(set(os.listdir("/proc/self/task")) - before) == 3
        stream = model.stream(numbers(range(5)))
        next(stream)
        del model, stream
        gc.collect()
        assert set(os.listdir("/proc/self/task")) <= before


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "os.fork() or sys.exit(4); os.wait()"])
def test_a_process_ends_with_a_stream_that_goes_on(end: str) -> None:
    """Also while regions that run Python are in the middle of an item."""
    code = f"""
    import os, sys, time
    import numpy as np
    import tvm_ffi
    import test_stream
    from tdse.runtime import native
    native.register()
    regions = test_stream.Regions()
    regions.hangs = 3
    regions.go_on.wait = lambda timeout: time.sleep(0.2)
    tvm_ffi.register_global_func("tdse.region.litert_interpreter", regions.make, override=True)
    model = test_stream.pipeline(2)
    stream = model.stream(np.array([value]) for value in range(100))
    print(next(stream), next(stream), flush=True)
    {end}
    """
    path = [str(Path(__file__).parent), *sys.path]
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.stdout, process.stderr) == ("[2] [3]\n", "")
    assert process.returncode == (3 if "3" in end else 0)


def test_a_process_that_was_stopped_does_not_hang() -> None:
    """A region in the middle of which the process is stopped for longer than the time limit."""
    code = """
    import time
    import numpy as np
    import tvm_ffi
    import test_stream
    from tdse.runtime import native
    native.register()
    regions = test_stream.Regions()
    regions.hangs = 3
    regions.go_on.wait = lambda timeout: [time.sleep(0.05) for _ in range(6)]
    tvm_ffi.register_global_func("tdse.region.litert_interpreter", regions.make, override=True)
    model = test_stream.pipeline(2, timeout_ms=1000)
    print("ready", flush=True)
    print(model(np.array([3])))
    """
    path = [str(Path(__file__).parent), *sys.path]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.3)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "[5]\n"


def test_lanes_that_are_compiled_have_time_limits(branches: Path) -> None:
    graph = read_tflite(branches)
    alone = form_regions(graph, dict.fromkeys(graph.placed_ops, "litert"))
    twice = [dataclasses.replace(region, lanes=(0, 1)) for region in alone]
    for regions_, limits_ms in ((alone, [0]), (twice, [200_000, 200_000])):
        assembly = compile_regions(graph, regions_, threads=1).whole(expected_us=2e6)
        assert [lane["timeout_ms"] for lane in assembly.model().lanes] == limits_ms


def test_a_trace(regions: Regions) -> None:
    model = pipeline(2)
    model(np.array([0]))
    model.start_trace()
    list(model.stream(numbers([1, 2, 3])))
    runs = model.take_trace()
    assert sorted((run.item, run.region, run.lane) for run in runs) == [
        (item, region, region) for item in (1, 2, 3) for region in (0, 1)
    ]
    assert all(0 <= run.start_us <= run.end_us for run in runs)
    end_us = {(run.item, run.region): run.end_us for run in runs}
    assert all(run.start_us >= end_us[run.item, 0] for run in runs if run.region == 1)
    assert model.take_trace() == []


def test_a_trace_for_perfetto(small_artefact: Path, tmp_path: Path) -> None:
    model = tdse.load(small_artefact)
    cases = [model.random_inputs(seed) for seed in range(3)]
    stacked = {
        info.name: np.stack([case[i] for case in cases]) for i, info in enumerate(model.inputs)
    }
    inputs, written, saved = (tmp_path / name for name in ("in.npz", "trace.json", "out.npz"))
    np.savez(inputs, **stacked)
    arguments = ["--inputs", str(inputs), "--trace", str(written), "--save", str(saved)]
    assert tdse_command.main(["run", str(small_artefact), *arguments]) == 0
    events = json.loads(written.read_text())["traceEvents"]
    assert [
        (e["name"], e["pid"], e["tid"], e["args"]["name"]) for e in events if e["ph"] == "M"
    ] == [
        ("process_name", 0, 0, "measured"),
        ("thread_name", 0, 0, "cpu 0"),
    ]
    bars = [event for event in events if event["ph"] == "X"]
    names = [region["name"] for region in model.regions]
    assert [bar["name"] for bar in bars] == names * 3
    assert [bar["args"]["item"] for bar in bars] == [i for i in range(3) for _ in names]
    ends_us = [bar["ts"] + bar["dur"] for bar in bars]
    assert all(bar["ts"] >= end_us for bar, end_us in zip(bars[1:], ends_us, strict=False))
    with np.load(saved) as arrays:
        for i, info in enumerate(model.outputs):
            expected = [model.run(case)[i] for case in cases]
            np.testing.assert_array_equal(arrays[info.name], np.stack(expected))
    assert tdse_command.main(["run", str(small_artefact), "--trace", str(tmp_path)]) == 2


def test_times(regions: Regions) -> None:
    model = pipeline(2)
    inputs = [np.array([5])]
    assert model.time_runs(inputs, 4).shape == (4,)
    assert (model.profile(inputs, 4) > 0).all()
    times_us = model.time_stream(inputs, 6)
    assert times_us.shape == (6,) and (np.diff(times_us) > 0).all()


def test_in_a_process_of_its_own(small_artefact: Path) -> None:
    here, child = tdse.load(small_artefact), tdse.load(small_artefact, isolate=True)
    items = [tuple(here.random_inputs(seed)) for seed in range(5)]
    expected = [here(*item) for item in items]
    assert all(map(equal, child.stream(items), expected))
    endless = child.stream(itertools.cycle(items))
    assert equal(next(endless), expected[0])
    # In the middle of the stream, another call.
    assert equal(child(*items[3]), expected[3])
    assert equal(next(endless), expected[1])
    endless.close()
    assert child.time_stream(list(items[0]), 3).shape == (3,)
    child.start_trace()
    child(*items[0])
    assert [run.region for run in child.take_trace()] == list(range(len(child.regions)))
    assert child.lanes == here.lanes
