"""The process that ``race`` launches: read a specification, time the entries in turns, print JSON.

Each turn runs every entry for a short block, in a random order. The first calls of a block are not
counted: they pay for caches that the entry before filled, and for its threads that still spin.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# Nothing of LiteRT or TVM is imported before it is timed: loading includes it.
Array = npt.NDArray[Any]
# Runs a contender, once or a few times, and gives the microseconds of a run.
Call = Callable[[], float]

_BLOCK_S = 0.04
_TURNS = 6
_MINIMUM_CALLS = 3
# Of a stream: times that as many runs as can be on their way are counted in a call.
_ROUNDS = 4


def main() -> None:
    """Entry point of ``python -m tdse.measure.race_worker``."""
    spec = json.load(sys.stdin)
    with np.load(spec["inputs"]) as archive:
        inputs = [archive[name] for name in archive.files]
    cores = os.sched_getaffinity(0)
    calls: dict[str, Call] = {}
    laps: dict[str, dict[str, Any]] = {}
    for name, kind, arguments in spec["entries"]:
        before = _resident_bytes()
        start = time.perf_counter()
        calls[name] = _MAKERS[kind](arguments, inputs)
        load_us = (time.perf_counter() - start) * 1e6
        laps[name] = {
            "times_us": [],
            "load_us": load_us,
            "first_us": calls[name](),
            "resident_bytes": _resident_bytes() - before,
        }
        # TVM's thread pool pins the thread that first uses it, also for the other entries.
        os.sched_setaffinity(0, cores)
    _take_turns(calls, laps, spec["seconds"], random.Random(spec["seed"]))
    for name, call in calls.items():
        if isinstance(call, _Traced):
            laps[name]["regions_us"] = call.regions_us()
    print(json.dumps(laps))


def _take_turns(
    calls: dict[str, Call], laps: dict[str, dict[str, Any]], seconds: float, order: random.Random
) -> None:
    block_s = min(_BLOCK_S, seconds / len(calls) / _TURNS)
    turns = max(_TURNS, int(seconds / (len(calls) * block_s)))
    names = list(calls)
    gc.disable()
    end = time.perf_counter() + seconds
    for turn in range(turns):
        order.shuffle(names)
        for name in names:
            laps[name]["times_us"].extend(_block(calls[name], block_s))
        if time.perf_counter() > end and turn + 1 >= min(_TURNS, turns) // 2:
            break


def _block(call: Call, block_s: float) -> list[float]:
    """Microseconds of the calls of one block, its warm-up left out."""
    times: list[float] = []
    start = time.perf_counter()
    call()
    warm_until = start + block_s / 4
    while time.perf_counter() < warm_until:
        call()
    end = time.perf_counter() + block_s * 3 / 4
    while len(times) < _MINIMUM_CALLS or time.perf_counter() < end:
        times.append(call())
    return times


def _timed(run: Callable[[], Any]) -> Call:
    def call() -> float:
        begin = time.perf_counter()
        run()
        return (time.perf_counter() - begin) * 1e6

    return call


class _Traced:
    """Runs of a model, whose regions are timed as well."""

    def __init__(self, model: Any, inputs: Sequence[Array]) -> None:
        self._model = model
        self._run = _timed(lambda: model.run(inputs))
        model.start_trace()

    def __call__(self) -> float:
        return self._run()

    def regions_us(self) -> list[float]:
        """The median time of each region."""
        times_us: list[list[float]] = [[] for _ in self._model.regions]
        for run in self._model.take_trace():
            times_us[run.region].append(run.end_us - run.start_us)
        return [float(np.median(times)) for times in times_us]


def _plan(arguments: dict[str, Any], inputs: Sequence[Array]) -> Call:
    from tdse.runtime import native
    from tdse.runtime.model import model_by_position

    native.register()
    module = native.create_executor(Path(arguments["plan"]).read_bytes())
    for path in arguments["libraries"]:
        module.import_module(native.load_library(path))
    model = model_by_position(module)
    return (
        _Traced(model, inputs)
        if arguments["traced"]
        else _runs(model, arguments["streamed"], inputs)
    )


def _artefact(arguments: dict[str, Any], inputs: Sequence[Array]) -> Call:
    from tdse.runtime.model import load

    return _runs(load(arguments["directory"]), arguments["streamed"], inputs)


def _runs(model: Any, streamed: bool, inputs: Sequence[Array]) -> Call:
    """Calls of a model, one after the other, or as a stream."""
    if not streamed:
        return _timed(lambda: model.run(inputs))
    return lambda: float(model.time_period(inputs, _ROUNDS * model.max_items))


def _litert(arguments: dict[str, Any], inputs: Sequence[Array]) -> Call:
    from tdse.runtime.litert import invoke, make_interpreter

    data = Path(arguments["model"]).read_bytes()
    interpreters = [
        make_interpreter(data, threads=arguments["threads"]) for _ in range(arguments["copies"])
    ]
    if len(interpreters) == 1:
        return _timed(lambda: invoke(interpreters[0], inputs))

    def rounds(interpreter: Any) -> None:
        for _ in range(_ROUNDS):
            invoke(interpreter, inputs)

    pool = ThreadPoolExecutor(len(interpreters))
    together = _timed(lambda: list(pool.map(rounds, interpreters)))
    return lambda: together() / (len(interpreters) * _ROUNDS)


def _tvm(arguments: dict[str, Any], inputs: Sequence[Array]) -> Call:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(arguments["library"]), tvm.cpu())
    function = machine["main"]

    def run() -> Any:
        result = function(*(tvm.runtime.tensor(array) for array in inputs))
        outputs = [result] if hasattr(result, "numpy") else list(result)
        return [output.numpy() for output in outputs]

    return _timed(run)


def _openvino(arguments: dict[str, Any], inputs: Sequence[Array]) -> Call:
    import openvino

    compiled = openvino.Core().compile_model(
        arguments["model"],
        "CPU",
        {"INFERENCE_NUM_THREADS": arguments["threads"], "PERFORMANCE_HINT": "LATENCY"},
    )
    request = compiled.create_infer_request()
    return _timed(lambda: [np.array(value) for value in request.infer(list(inputs)).values()])


def _resident_bytes() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


_MAKERS: dict[str, Callable[[dict[str, Any], Sequence[Array]], Call]] = {
    "plan": _plan,
    "artefact": _artefact,
    "litert": _litert,
    "tvm": _tvm,
    "openvino": _openvino,
}

if __name__ == "__main__":
    main()
