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
from tdse.measure.deadline import Deadline
from tdse.measure.ops import Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.timer import LocalTimer, Timer

# For all targets and thread counts together, seconds.
_LAUNCH_S = 60.0


def measure_launch(
    choices: Sequence[tuple[str, int]], store: RecordStore, *, timer: Timer | None = None
) -> Mapping[tuple[str, int], float]:
    """Microseconds of a launch for each ``(target, threads)``, from the records where known.

    The operator is a RELU of 16 floats: it runs everywhere, and its arithmetic takes nanoseconds.
    ``timer`` is where it is timed, by default in this process, and ``store`` of that place.
    """
    graph = launch_graph()
    known = find_launch(choices, store)
    missing = [Work(0, *choice) for choice in choices if choice not in known]
    if missing:
        values = activations(graph, random_inputs(graph, 0))
        place = timer or LocalTimer(store)
        measure_ops(
            graph, missing, values, store, place, deadline=Deadline(time.monotonic() + _LAUNCH_S)
        )
        known = find_launch(choices, store)
    return {choice: known.get(choice, 0.0) for choice in choices}


def find_launch(
    choices: Sequence[tuple[str, int]], store: RecordStore
) -> dict[tuple[str, int], float]:
    """Microseconds of a launch for those ``(target, threads)`` of which there is a record."""
    key = signature(launch_graph(), 0)
    known = store.find([key])
    keys = {choice: (key, *choice) for choice in choices}
    return {choice: known[k].median_us for choice, k in keys.items() if k in known}


@cache
def launch_graph() -> Graph:
    """A model with the one operator that is launched."""
    layer = Layer("relu")
    return build_graph(Configuration((Input((1, 16), "float32"),), (layer,)), "launch")
