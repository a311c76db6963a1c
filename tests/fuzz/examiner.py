"""Reads models from standard input and says of each what became of it, one JSON line a model.

Each is examined in a process of its own, a fork of this one. The reader and the slices must
raise nothing but ``TdseError``. LiteRT may fail or crash on what a reader cannot know to be wrong:
the product runs it in a child process as well.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

# Imported before the fork; loading LiteRT starts no threads.
from ai_edge_litert import interpreter as litert  # noqa: F401

from tdse.admission import admit
from tdse.errors import ModelError, TdseError
from tdse.graph import Graph, form_regions, read_tflite, signature, slice_model
from tdse.measure.activations import activations, random_inputs
from tdse.runtime.litert import run_litert
from tdse.targets.litert import demand_as_said, demand_runs

# Seconds for reading and cutting, and for running LiteRT after that.
READ_LIMIT_S = 30.0
RUN_LIMIT_S = 8.0
MEMORY_BYTES = 4 << 30
_REPEATS = 20

# What becomes of a model. The first two are faults.
FAULT = "fault"
WRONG = "wrong result"
REFUSED = "refused"
REFUSED_BY_LITERT = "refused by LiteRT"
CRASHED = "crashes LiteRT"
HUNG = "hangs LiteRT"
RANDOM = "has no one result"
RIGHT = "right"


def main() -> None:
    """Examine models until standard input ends; each comes with its length before it."""
    while header := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(struct.unpack("<I", header)[0])
        begin = time.monotonic()
        outcome, why = _in_a_fork(data)
        print(json.dumps([outcome, why, time.monotonic() - begin]), flush=True)


def _in_a_fork(data: bytes) -> tuple[str, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _examine(data, writing)
    os.close(writing)
    said: list[tuple[str, str]] = []
    is_hung = False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        limit = READ_LIMIT_S
        while True:
            if not select.select([pipe], [], [], limit)[0]:
                is_hung = True
                os.kill(child, signal.SIGKILL)
                break
            line = pipe.read(1 << 16)
            if not line:
                break
            said += [tuple(json.loads(text)) for text in line.splitlines()]
            limit = RUN_LIMIT_S
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if said and said[-1][0] != "reading is done":
        return said[-1]
    how = "is not done in time" if is_hung else f"ended with status {status}"
    if not said:
        return FAULT, f"reading {how}"
    return (HUNG if is_hung else CRASHED), how


def _examine(data: bytes, writing: int) -> None:
    """Say what becomes of a model, and end the process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        for outcome, why in _outcomes(data):
            os.write(writing, json.dumps([outcome, why]).encode() + b"\n")
    except BaseException:
        os.write(writing, json.dumps([FAULT, traceback.format_exc()[-3000:]]).encode() + b"\n")
    finally:
        os._exit(0)


def _outcomes(data: bytes) -> Iterator[tuple[str, str]]:
    try:
        graph = read(data)
        admit(graph, MEMORY_BYTES)
    except TdseError as error:
        message = str(error)
        sound = error.why and "\n" not in message
        yield (REFUSED if sound else FAULT), message
        return
    yield "reading is done", ""
    try:
        yield _run(graph)
    except MemoryError as error:
        # The product's process says so in one line.
        yield REFUSED, f"memory ran out: {error}"


def read(data: bytes) -> Graph:
    """What is done with every model before anything native sees it."""
    graph = read_tflite(data)
    for op in graph.placed_ops:
        signature(graph, op)
    if not graph.whole_reason:
        for op in graph.placed_ops:
            read_tflite(slice_model(graph, [op]).data)
        for region in form_regions(graph, {op: "xy"[op % 2] for op in graph.placed_ops}):
            read_tflite(slice_model(graph, region.ops).data)
    return graph


def _run(graph: Graph) -> tuple[str, str]:
    """The whole model and its operators one after the other must give the same bits."""
    try:
        demand_runs(graph)
        inputs = random_inputs(graph, 0)
        whole = run_litert(graph.data, inputs)
        again = run_litert(graph.data, inputs)
    except (ModelError, RuntimeError, ValueError) as error:
        return REFUSED_BY_LITERT, str(error)
    if not all(map(_equal, whole, again)):
        return RANDOM, ""
    try:
        if graph.whole_reason:
            for index, output in zip(graph.outputs, whole, strict=True):
                demand_as_said(graph, "the model", index, output.shape, output.dtype)
            return RIGHT, "whole"
        values = activations(graph, inputs)
    except ModelError as error:
        return REFUSED, str(error)
    produced = [index for index in graph.outputs if index in values]
    expected = [y for index, y in zip(graph.outputs, whole, strict=True) if index in values]
    wrong = [
        index
        for index, y in zip(produced, expected, strict=True)
        if not _equal(np.asarray(values[index]), y)
    ]
    if not wrong:
        return RIGHT, "cut"
    # A kernel that reads what nobody wrote may have given the same twice by chance.
    is_random = any(
        not all(map(_equal, whole, run_litert(graph.data, inputs)))
        or any(not _equal(y, values[index]) for index, y in activations(graph, inputs).items())
        for _ in range(_REPEATS)
    )
    return (RANDOM, "") if is_random else (WRONG, f"outputs {wrong}")


def _equal(one: Any, other: Any) -> bool:
    is_float = np.asarray(one).dtype.kind in "fc"
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and np.array_equal(one, other, equal_nan=is_float)
    )


if __name__ == "__main__":
    main()
