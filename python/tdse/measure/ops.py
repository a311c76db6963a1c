"""Measure operators: the slice of each on each target that may run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tdse.assemble import Compiled, compile_regions
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.graph.workload import workload
from tdse.measure.accuracy import difference
from tdse.measure.activations import Array
from tdse.measure.records import Record, RecordStore
from tdse.measure.references import References
from tdse.measure.timing import time_model

# So many operators are compiled together: enough to share the cost of a compilation, few enough
# that a budget is kept and little is lost when a run is stopped.
_BATCH = 16

# On a machine that is never quiet, an operator costs this much more.
PATIENCE_S = 0.2

Progress = Callable[[int, int, str], None]
# Told of operators and their target before they are compiled or run, which may crash.
Begin = Callable[[Sequence[int], str], None]


@dataclass(frozen=True)
class Work:
    """One operator to be measured on one target with one thread count."""

    op: int
    target: str
    threads: int


def measure_ops(
    graph: Graph,
    work: Sequence[Work],
    values: Mapping[int, Array],
    store: RecordStore,
    references: References,
    *,
    deadline: float,
    patience_s: float = PATIENCE_S,
    begin: Begin | None = None,
    one_by_one: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> int:
    """Measure ``work`` in its order until ``deadline``, and keep each time as a record.

    The result of each operator is compared with LiteRT's on the same activations; a target whose
    result differs by more than a region may is remembered as not supporting the operator.

    Args:
        graph: the model.
        work: what to measure; equal operators should be in it once.
        values: activations of the model, tensor index to array, the inputs of the slices.
        store: takes the records.
        references: tell quiet moments.
        deadline: ``time.monotonic()`` after which nothing new is begun.
        patience_s: how long to wait for quiet moments for each operator.
        begin: called with operators and target before anything that may crash.
        one_by_one: compile each operator alone, to find the one that crashes.
        again: keep the times beside those of the records that there are, to tell how well
            measurements repeat.
        progress: called with (done, all, label).

    Returns:
        The number of entries of ``work`` that were dealt with.
    """
    keep = store.add_repeated if again else store.add
    done = 0
    for target, threads, batch in _batches(work, 1 if one_by_one else _BATCH):
        if time.monotonic() > deadline:
            break
        if begin is not None:
            begin([item.op for item in batch], target)
        for item, compiled, position in _compiled(graph, target, threads, batch, store):
            if time.monotonic() > deadline:
                return done
            if progress is not None:
                progress(done, len(work), f"{graph.ops[item.op].label} on {target}")
            if begin is not None:
                begin([item.op], target)
            record = _measure_one(compiled, position, item, values, store, references, patience_s)
            if record is not None:
                keep([record])
            done += 1
    if progress is not None:
        progress(done, len(work), "")
    return done


def _compiled(
    graph: Graph, target: str, threads: int, batch: Sequence[Work], store: RecordStore
) -> Iterator[tuple[Work, Compiled, int]]:
    """The batch compiled, each operator with its position; one by one where that fails."""
    regions = [Region(i, target, (item.op,)) for i, item in enumerate(batch)]
    try:
        compiled = compile_regions(graph, regions, threads=threads)
    except TargetError as error:
        if len(batch) > 1:
            for item in batch:
                yield from _compiled(graph, target, threads, [item], store)
        else:
            _refuse(graph, batch[0], error, store)
        return
    for position, item in enumerate(batch):
        yield item, compiled, position


def _refuse(graph: Graph, item: Work, error: TargetError, store: RecordStore) -> None:
    store.add_support([(signature(graph, item.op), item.target, False, error.why or error.what)])


def _measure_one(
    compiled: Compiled,
    position: int,
    item: Work,
    values: Mapping[int, Array],
    store: RecordStore,
    references: References,
    patience_s: float,
) -> Record | None:
    """The record, or None where the target fails, which is remembered."""
    graph, result = compiled.graph, compiled.results[position]
    op = graph.ops[item.op]
    key = signature(graph, item.op)
    inputs = [values[index] for index in result.inputs]
    try:
        model = compiled.alone(position).model()
        if item.target != "litert":
            gap = difference(model.run(inputs), [values[index] for index in result.outputs])
            if not gap.is_allowed:
                store.add_support([(key, item.target, False, f"its result differs by {gap}")])
                return None
        timing = time_model(model, inputs, references.of(item.threads), patience_s=patience_s)
    except TargetError as error:
        _refuse(graph, item, error, store)
        return None
    return Record(
        signature=key,
        target=item.target,
        threads=item.threads,
        workloads=(workload(graph, op),),
        median_us=timing.median_us,
        spread_us=timing.spread_us,
        runs=timing.runs,
        contention=timing.contention,
    )


def _batches(work: Sequence[Work], most: int) -> list[tuple[str, int, list[Work]]]:
    batches: list[tuple[str, int, list[Work]]] = []
    for item in work:
        last = batches[-1] if batches else None
        if last and last[:2] == (item.target, item.threads) and len(last[2]) < most:
            last[2].append(item)
        else:
            batches.append((item.target, item.threads, [item]))
    return batches
