"""What it costs when regions of two targets take turns.

Each library has threads of its own. Those that have nothing to do give their cores back, as the
other library wants them next, and have to be woken again: tens of microseconds on a virtual
machine. By itself a target is never seen to pay that.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations

import numpy as np

from tdse.assemble import compile_regions
from tdse.errors import TargetError
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import region_signature
from tdse.measure.activations import random_inputs
from tdse.measure.deadline import Deadline
from tdse.measure.records import Record, RecordStore
from tdse.measure.timer import Job, LocalTimer, Timed, Timer
from tdse.targets import get_target

# For all pairs together, seconds, and for one executor's quiet moments.
_SWITCHES_S = 60.0
_PATIENCE_S = 0.1
# Executors of each kind, of which the median counts: now and then one's threads get in the way of
# each other throughout.
_EXECUTORS = 3
_OPS = 4
# No record says that something takes no time; microseconds.
_LEAST_US = 0.01

# Two targets, in the order of their names, and the threads that both are given, to microseconds.
Switches = Mapping[tuple[str, str, int], float]


def measure_switches(
    choices: Sequence[tuple[str, int]],
    store: RecordStore,
    *,
    timer: Timer | None = None,
    deadline: Deadline | None = None,
) -> Switches:
    """Microseconds of a switch from one target to another and back, from the records where known.

    Equal pointwise convolutions, large enough to be divided, run on both targets in turns, and all
    on the one and all on the other. What the first takes longer than the mean of these are the
    switches. Pairs that cannot run them are left out.

    Args:
        choices: targets and their threads; targets with memory of their own have transfers, which
            are measured instead.
        store: takes the records; it is of the place where ``timer`` times.
        timer: by default, this process.
        deadline: after which nothing new is begun; by default, in a minute.
    """
    place = timer or LocalTimer(store)
    deadline = deadline or Deadline(time.monotonic() + _SWITCHES_S)
    known = find_switches(choices, store)
    for pair in _pairs(choices):
        if pair not in known:
            _measure(pair, store, place, deadline)
    return find_switches(choices, store)


def find_switches(choices: Sequence[tuple[str, int]], store: RecordStore) -> Switches:
    """The switches of which there is a record; see ``measure_switches``."""
    pairs = _pairs(choices)
    records = store.find([_key(first) for first, _, _ in pairs])
    keys = {pair: (_key(pair[0]), *pair[1:]) for pair in pairs}
    return {pair: records[key].median_us for pair, key in keys.items() if key in records}


def _pairs(choices: Sequence[tuple[str, int]]) -> list[tuple[str, str, int]]:
    own = sorted(one for one in set(choices) if not hasattr(get_target(one[0]), "transfers"))
    return [(a, b, n) for (a, n), (b, m) in combinations(own, 2) if n == m]


def _measure(
    pair: tuple[str, str, int], store: RecordStore, timer: Timer, deadline: Deadline
) -> None:
    first, second, threads = pair
    graph = switch_graph()
    ops = graph.placed_ops
    plans: Mapping[str, Sequence[Region]] = {
        "first": [Region(0, first, ops)],
        "second": [Region(0, second, ops)],
        "both": [Region(i, (first, second)[i % 2], (op,)) for i, op in enumerate(ops)],
    }
    inputs = tuple(random_inputs(graph, 0))

    def job(regions: Sequence[Region]) -> Job:
        compiled = compile_regions(graph, regions, threads=threads, processor=timer.processor)
        return Job(compiled.whole(), inputs, threads, _PATIENCE_S)

    try:
        jobs = [(name, job(regions)) for name, regions in plans.items()]
    except TargetError:
        return
    times_us: dict[str, list[float]] = {name: [] for name in plans}
    for name, outcome in timer.time_all(jobs * _EXECUTORS, deadline=deadline):
        if not isinstance(outcome, Timed):
            return
        times_us[name].append(outcome.timing.median_us)
    alone_us = (np.median(times_us["first"]) + np.median(times_us["second"])) / 2
    found = (np.array(times_us["both"]) - alone_us) / (len(ops) / 2)
    low, middle, high = np.maximum(np.percentile(found, [10, 50, 90]), _LEAST_US).tolist()
    store.add([Record(_key(first), second, threads, (), middle, high - low, len(found))])


@cache
def switch_graph() -> Graph:
    """A model of operators in a row, each of which targets divide among their threads."""
    layers = tuple(Layer("conv2d", (value,), channels=64) for value in range(_OPS))
    return build_graph(Configuration((Input((1, 28, 28, 64), "int8"),), layers), "switch")


def _key(first: str) -> str:
    """Stands where the signature of an operator would; the second target is the record's."""
    graph = switch_graph()
    text = f"switch with {first}: {region_signature(graph, graph.placed_ops)}"
    return hashlib.sha256(text.encode()).hexdigest()
