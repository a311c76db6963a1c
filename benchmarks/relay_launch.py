"""One launch of ``benchmarks/relay.py``: exported libraries, and LiteRT itself, timed in turns.

Nothing of tdse is imported: what was exported needs TVM's runtime only.

    python benchmarks/relay_launch.py SPEC.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from ai_edge_litert.interpreter import Interpreter
from tvm.contrib import graph_executor

_BLOCK_S = 0.05
_LEAST_TURNS = 3


def main() -> None:
    """Entry point; prints microseconds of every run, and the largest differences, by name."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    given = np.load(spec["inputs"])
    inputs = [given[name] for name in given.files]
    expected = _litert(spec["model"], 1, inputs)[1]()
    runs: dict[str, Callable[[], Any]] = {}
    differences = {}
    order, turns = np.random.default_rng(spec["seed"]), 0
    # Where memory and threads come to lie differs from the first to the last.
    for name in order.permutation([*spec["libraries"], *spec["litert"]]):
        if name in spec["litert"]:
            runs[name], results = _litert(spec["model"], spec["litert"][name], inputs)
        else:
            runs[name], results = _exported(spec["libraries"][name], spec["input_names"], inputs)
        differences[name] = _difference(results(), expected)
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + spec["seconds"]
    while turns < _LEAST_TURNS or time.perf_counter() < end:
        for name in order.permutation(list(runs)):
            times[name] += _block(runs[name])
        turns += 1
    assert "tdse" not in sys.modules
    print(json.dumps({"times_us": times, "differences": differences}))


def _block(run: Callable[[], Any]) -> list[float]:
    """Microseconds of the runs of one block, its first quarter left out: caches are another's."""
    start, times = time.perf_counter(), []
    run()
    while time.perf_counter() < start + _BLOCK_S / 4:
        run()
    while not times or time.perf_counter() < start + _BLOCK_S:
        begun = time.perf_counter()
        run()
        times.append((time.perf_counter() - begun) * 1e6)
    return times


def _exported(
    file: str, names: list[str], inputs: list[Any]
) -> tuple[Callable[[], Any], Callable[[], list[Any]]]:
    executor = graph_executor.GraphModule(tvm.runtime.load_module(file)["default"](tvm.cpu()))
    for name, value in zip(names, inputs, strict=True):
        executor.set_input(name, value)

    def results() -> list[Any]:
        executor.run()
        return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]

    return executor.run, results


def _litert(
    model: str, threads: int, inputs: list[Any]
) -> tuple[Callable[[], Any], Callable[[], list[Any]]]:
    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)

    def results() -> list[Any]:
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        return [interpreter.get_tensor(each["index"]) for each in outputs]

    return interpreter.invoke, results


def _difference(ours: list[Any], expected: list[Any]) -> tuple[int, float]:
    """Steps of integers, and shares of the peak of floats, at most over all outputs."""
    steps, relative = 0, 0.0
    for one, other in zip(ours, expected, strict=True):
        gap = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
        if other.dtype.kind == "f":
            peak = float(np.abs(other).max(initial=0.0))
            relative = max(relative, gap / peak if peak else gap)
        else:
            steps = max(steps, int(gap))
    return steps, relative


if __name__ == "__main__":
    main()
