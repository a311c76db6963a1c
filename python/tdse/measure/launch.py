"""What it costs to launch one more region: the time of an operator that does next to nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.graph.signature import signature
from tdse.measure.activations import activations, random_inputs
from tdse.measure.ops import Work, measure_ops
from tdse.measure.records import RecordStore


def measure_launch(
    choices: Sequence[tuple[str, int]], store: RecordStore
) -> Mapping[tuple[str, int], float]:
    """Microseconds of a launch for each ``(target, threads)``, from the records where known.

    The operator is a RELU of 16 floats: it runs everywhere, and its arithmetic takes nanoseconds.
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
        measure_ops(graph, missing, values, store, deadline=time.monotonic() + 60.0)
        known = store.find([key])
    return {
        choice: known[key, *choice].median_us if (key, *choice) in known else 0.0
        for choice in choices
    }


@cache
def launch_graph() -> Graph:
    """A model with the one operator that is launched."""
    layer = Layer("relu")
    return build_graph(Configuration((Input((1, 16), "float32"),), (layer,)), "launch")
