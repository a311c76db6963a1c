"""Measure regions of several operators, which take longer than their operators one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tdse.assemble import compile_regions
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import region_signature
from tdse.graph.workload import workload
from tdse.measure.activations import Array
from tdse.measure.records import Record, RecordStore
from tdse.measure.timer import Job, Timed, Timer


def measure_regions(
    graph: Graph,
    regions: Sequence[Region],
    threads: int,
    values: Mapping[int, Array],
    store: RecordStore,
    timer: Timer,
    *,
    deadline: float,
    patience_s: float,
    begin: Callable[[Region], None],
) -> int:
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
        deadline: ``time.monotonic()`` after which nothing new is begun.
        patience_s: how long to wait for quiet moments for each region.
        begin: called with each region before it is compiled and run, which may crash.

    Returns:
        The number of measurements.
    """

    def jobs() -> Iterator[tuple[Region, Job]]:
        for region in regions:
            key = region_signature(graph, region.ops)
            if time.monotonic() > deadline or (key, region.device, threads) in store.find([key]):
                continue
            begin(region)
            try:
                compiled = compile_regions(graph, [region], threads=threads)
                assembly = compiled.alone(0)
            except TargetError:
                continue
            inputs = tuple(values[index] for index in compiled.results[0].inputs)
            yield region, Job(assembly, inputs, threads, patience_s)

    measured = 0
    for region, outcome in timer.time_all(jobs(), deadline=deadline):
        if not isinstance(outcome, Timed):
            continue
        timing = outcome.timing
        store.add(
            [
                Record(
                    signature=region_signature(graph, region.ops),
                    target=region.device,
                    threads=threads,
                    workloads=tuple(workload(graph, graph.ops[op]) for op in region.ops),
                    median_us=timing.median_us,
                    spread_us=timing.spread_us,
                    runs=timing.runs,
                    contention=timing.contention,
                )
            ]
        )
        measured += 1
    return measured
