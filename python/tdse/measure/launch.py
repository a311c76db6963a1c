"""What it costs to launch one more region: the time of an operator that does next to nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.measure.activations import activations, random_inputs
from tdse.measure.ops import Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.timer import Timer


def measure_launch(
    choices: Sequence[tuple[str, int]], store: RecordStore, *, timer: Timer | None = None
) -> Mapping[tuple[str, int], float]:
    """Microseconds of a launch for each ``(target, threads)``, from the records where known.

    The operator is a RELU of 16 floats: it runs everywhere, and its arithmetic takes nanoseconds.
    ``timer`` is where it is timed, by default in this process, and ``store`` of that place.
    """
    graph = launch_graph()
    key = signature(graph, 0)
    known = store.find([key])
    missing = [
        Work(0, target, threads)
        for target, threads in choices
        if (key, target, threads) not in known
    ]
    if missing:
        values = activations(graph, random_inputs(graph, 0))
        deadline = time.monotonic() + 60.0
        measure_ops(graph, missing, values, store, deadline=deadline, timer=timer)
        known = store.find([key])
    return {
        choice: known[key, *choice].median_us if (key, *choice) in known else 0.0
        for choice in choices
    }


@cache
def launch_graph() -> Graph:
    """A model with the one operator that is launched."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    model.operatorCodes = [code]
    tensors = []
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array([1, 16], np.int32)
        tensor.type = schema.TensorType.FLOAT32
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = tensors, [operator]
    subgraph.inputs, subgraph.outputs = operator.inputs, operator.outputs
    model.subgraphs = [subgraph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return read_tflite(bytes(builder.Output()), "launch")
