"""What the executor itself costs: regions that do nothing, hand-overs between lanes, Python calls.

    python benchmarks/executor.py [--repeats 9] [--json FILE]

Regions are of kind ``tvm`` without a kernel, in modules that are written and loaded as artefacts
are. A figure for a region is the slope between plans of few and of many regions; each is the median
of the repeats, with the least and the most beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tvm
from rich.console import Console
from rich.table import Table
from tvm import relax

from tdse.link import write_library
from tdse.relax.build import executor_call
from tdse.runtime import native
from tdse.runtime.model import Model, model_by_position
from tdse.runtime.plan import Plan, PlanLane, PlanRegion, PlanTensor

_FEW, _MANY = 2, 202
_RUNS = 200
_CALLS = 2000
_RESTED_CALLS = 100
_REST_S = 0.005
# Longer than any hand-over: lanes never sleep during a measurement.
_SPIN_US = 100_000
# Makes a single lane have a thread of its own.
_TIMEOUT_MS = 60_000


@dataclass(frozen=True)
class Figure:
    """Microseconds: the median, the least and the most of the repeats."""

    what: str
    median_us: float
    least_us: float
    most_us: float


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    figures = [_figure(what, time_us, arguments.repeats) for what, time_us in _measured().items()]
    _print(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")


def _measured() -> dict[str, Callable[[], float]]:
    caller = (PlanLane("cpu"),)
    worker = {spin: (PlanLane("cpu", (), spin, _TIMEOUT_MS),) for spin in (0, _SPIN_US)}
    two = {spin: (PlanLane("a", (), spin), PlanLane("b", (), spin)) for spin in (0, _SPIN_US)}
    return {
        "empty region, caller's thread": _per_region(caller),
        "empty region, lane's thread": _per_region(worker[_SPIN_US]),
        "hand-over from lane to lane, spinning": _per_region(two[_SPIN_US]),
        "hand-over from lane to lane, sleeping": _per_region(two[0]),
        "run on a lane's thread and back, spinning": _per_run(worker[_SPIN_US]),
        "run on a lane's thread and back, sleeping": _per_run(worker[0]),
        "call from Python, caller's thread": _per_call(caller),
        "call from Python, lane's thread, spinning": _per_call(worker[_SPIN_US]),
        "call from Python after a rest, caller's thread": _per_rested_call(caller),
        "call from Python after a rest, lane's thread asleep": _per_rested_call(worker[0]),
        "element of a stream, caller's thread": _per_element(caller),
        "element of a stream, two lanes, spinning": _per_element(two[_SPIN_US]),
        "element of a stream from Python, caller's thread": _per_yield(caller),
        "element of a stream from Python, two lanes, spinning": _per_yield(two[_SPIN_US]),
    }


def _model(regions: int, lanes: tuple[PlanLane, ...]) -> Model:
    """Empty regions in a row, on the lanes in turn."""
    tensors = tuple(PlanTensor(f"t{i}", "float32", (1,)) for i in range(regions + 1))
    parts = tuple(
        PlanRegion(f"r{i}", "tvm", 1, None, (i,), (i + 1,), lanes=(i % len(lanes),))
        for i in range(regions)
    )
    plan = Plan(tensors, (0,), (regions,), parts, lanes)
    x = relax.Var("x", relax.TensorType((1,), "float32"))
    library = tvm.compile(executor_call([x], x.ty), target="llvm").mod
    library.import_module(native.create_executor(plan.to_bytes()))
    with tempfile.TemporaryDirectory(prefix="tdse-executor-") as scratch:
        path = Path(scratch) / "model.so"
        write_library(library, path)
        return model_by_position(native.load_executor(path))


def _per_region(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    few, many = _model(_FEW, lanes), _model(_MANY, lanes)

    def time_us() -> float:
        # Idle lanes of the other model must not take this one's cores.
        time.sleep(2e-6 * _SPIN_US)
        few_us = float(np.median(few.time_runs(_X, _RUNS)))
        time.sleep(2e-6 * _SPIN_US)
        many_us = float(np.median(many.time_runs(_X, _RUNS)))
        return (many_us - few_us) / (_MANY - _FEW)

    return time_us


def _per_run(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    model = _model(1, lanes)
    return lambda: float(np.median(model.time_runs(_X, _CALLS)))


def _per_call(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    model = _model(1, lanes)

    def time_us() -> float:
        begun = time.perf_counter()
        for _ in range(_CALLS):
            model(_X[0])
        return (time.perf_counter() - begun) / _CALLS * 1e6

    return time_us


def _per_rested_call(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    """Calls a while apart, so that the lane's thread and perhaps its CPU have gone to sleep."""
    model = _model(1, lanes)

    def time_us() -> float:
        times_us = []
        for _ in range(_RESTED_CALLS):
            time.sleep(_REST_S)
            begun = time.perf_counter()
            model(_X[0])
            times_us.append((time.perf_counter() - begun) * 1e6)
        return float(np.median(times_us))

    return time_us


def _per_element(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    model = _model(2, lanes)
    return lambda: float(model.time_stream(_X, _CALLS)[-1]) / _CALLS


def _per_yield(lanes: tuple[PlanLane, ...]) -> Callable[[], float]:
    model = _model(2, lanes)

    def time_us() -> float:
        begun = time.perf_counter()
        for _ in model.stream([_X[0]] * _CALLS):
            pass
        return (time.perf_counter() - begun) / _CALLS * 1e6

    return time_us


_X = [np.zeros(1, np.float32)]


def _figure(what: str, time_us: Callable[[], float], repeats: int) -> Figure:
    time_us()
    times_us = []
    for _ in range(repeats):
        # Until the lanes of what was measured before sleep.
        time.sleep(2e-6 * _SPIN_US)
        times_us.append(time_us())
    return Figure(what, float(np.median(times_us)), min(times_us), max(times_us))


def _print(figures: list[Figure]) -> None:
    table = Table("us", "median", "least", "most")
    for one in figures:
        cells = (one.median_us, one.least_us, one.most_us)
        table.add_row(one.what, *(f"{cell:.2f}" for cell in cells))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
