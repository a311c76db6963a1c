"""Measure regions of several operators, which take longer than their operators one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tdse.assemble import compile_regions
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import region_signature
from tdse.measure.activations import Array
from tdse.measure.deadline import Deadline
from tdse.measure.ops import record_of
from tdse.measure.records import RecordStore
from tdse.measure.timer import Job, Timed, Timer

_NO_NAMES: Mapping[str, str] = {}


def measure_regions(
    graph: Graph,
    regions: Sequence[Region],
    threads: int,
    values: Mapping[int, Array],
    store: RecordStore,
    timer: Timer,
    *,
    deadline: Deadline,
    patience_s: float,
    begin: Callable[[Region], None],
    recorded_as: Mapping[str, str] = _NO_NAMES,
) -> None:
    """Measure each region that has no record yet, and keep its time as one.

    A region that its target cannot compile or run is left out: its operators have been measured
    one by one before, which tells why.

    Args:
        graph: the model.
        regions: ``device`` is a target's name.
        threads: of each region.
        values: activations of the model, tensor index to array.
        store: takes the records; it is of the place where ``timer`` times.
        timer: where the regions are timed.
        deadline: after which nothing new is begun.
        patience_s: how long to wait for quiet moments for each region.
        begin: called with each region before it is compiled and run, which may crash.
        recorded_as: names of targets in records, where they differ.
    """

    def jobs() -> Iterator[tuple[tuple[Region, str], Job]]:
        for region in regions:
            key = region_signature(graph, region.ops)
            known_as = key, recorded_as.get(region.device, region.device), threads
            if deadline.is_over or known_as in store.find([key]):
                continue
            begin(region)
            try:
                compiled = compile_regions(
                    graph, [region], threads=threads, processor=timer.processor
                )
                assembly = compiled.alone(0)
            except TargetError:
                continue
            inputs = tuple(values[index] for index in compiled.results[0].inputs)
            yield (region, key), Job(assembly, inputs, threads, patience_s)

    for (region, key), outcome in timer.time_all(jobs(), deadline=deadline):
        if isinstance(outcome, Timed):
            target = recorded_as.get(region.device, region.device)
            store.add([record_of(graph, region.ops, key, target, threads, outcome.timing)])
