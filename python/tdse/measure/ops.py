"""Measure operators: the slice of each on each target that may run it."""

from __future__ import annotations

import dataclasses
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
from tdse.measure.deadline import Deadline
from tdse.measure.records import Record, RecordStore
from tdse.measure.timer import Job, Timed, Timer
from tdse.measure.timing import QUIET, Timing
from tdse.platform import Device
from tdse.targets import CompiledRegion

# So many operators are compiled together: enough to share the cost of a compilation, few enough
# that a budget is kept and little is lost when a run is stopped.
OPS_TOGETHER = 16

# On a machine that is never quiet, an operator costs this much more.
PATIENCE_S = 0.2
# Share of the time left that may go into waiting for quiet moments; the rest is for what is timed.
_WAITING = 0.5

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
    timer: Timer,
    *,
    deadline: Deadline,
    patience_s: float = PATIENCE_S,
    begin: Begin | None = None,
    one_by_one: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> int:
    """Measure ``work`` in its order until ``deadline``, and keep each time as a record.

    The result of each operator is compared with LiteRT's on the same activations; a target whose
    result differs by more than a region may is remembered as not supporting the operator.

    An operator whose kernels no threads divide is not timed once more for several threads: it runs
    on one, and its record of one thread is kept for them, too.

    Where the budget is short for all of ``work``, less patience is spent on each operator.

    Args:
        graph: the model.
        work: what to measure; equal operators should be in it once.
        values: activations of the model, tensor index to array, the inputs of the slices.
        store: takes the records; it is of the place where ``timer`` times.
        timer: where the operators are timed.
        deadline: after which nothing new is begun.
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

    def tell(label: str) -> None:
        if progress is not None:
            progress(done, len(work), label)

    def jobs() -> Iterator[tuple[_Point, Job]]:
        nonlocal done
        for target, threads, batch in _batches(work, 1 if one_by_one else OPS_TOGETHER):
            if deadline.is_over:
                return
            if begin is not None:
                begin([item.op for item in batch], target)
            for point in _compiled(graph, target, threads, batch, store, timer.processor):
                item = point.item
                known = None if again else _of_one_thread(point, store)
                if known is not None:
                    keep([known])
                    done += 1
                    continue
                tell(f"{graph.ops[item.op].label} on {target}")
                if begin is not None:
                    begin([item.op], target)
                inputs = tuple(values[index] for index in point.result.inputs)
                try:
                    assembly = point.compiled.alone(point.position)
                except TargetError as error:
                    _refuse(graph, item, error, store)
                    done += 1
                else:
                    patience = min(patience_s, _WAITING * deadline.left_s / (len(work) - done))
                    yield point, Job(assembly, inputs, threads, patience)

    for point, outcome in timer.time_all(jobs(), deadline=deadline):
        if outcome is not None:
            record = _record(point, outcome, values, store)
            # A second time that was disturbed tells of the disturbance, not of the noise.
            if record is not None and not (again and record.contention > QUIET):
                keep([record])
            done += 1
    tell("")
    return done


@dataclass(frozen=True)
class _Point:
    """Work that is compiled: the region at ``position`` in ``compiled``."""

    item: Work
    compiled: Compiled
    position: int

    @property
    def result(self) -> CompiledRegion:
        return self.compiled.results[self.position]


def record_of(
    graph: Graph, ops: Sequence[int], key: str, target: str, threads: int, timing: Timing
) -> Record:
    """The record of what was measured of an operator, or of a region of several.

    Args:
        graph: the model.
        ops: indices, in the order they run.
        key: signature of the operator or region.
        target: that it ran on.
        threads: of the target.
        timing: what was measured.
    """
    return Record(
        signature=key,
        target=target,
        threads=threads,
        workloads=tuple(workload(graph, graph.ops[op]) for op in ops),
        median_us=timing.median_us,
        spread_us=timing.spread_us,
        runs=timing.runs,
        contention=timing.contention,
    )


def _of_one_thread(point: _Point, store: RecordStore) -> Record | None:
    """The record on one thread of an operator that runs on one whatever it is given; None if there
    is none, or threads may make a difference.
    """
    item, steps = point.item, point.result.steps
    if item.threads == 1 or not steps or any(step.iterations > 1 for step in steps):
        return None
    key = signature(point.compiled.graph, item.op)
    known = store.find([key]).get((key, item.target, 1))
    return known and dataclasses.replace(known, threads=item.threads, repeat_us=None)


def _compiled(
    graph: Graph,
    target: str,
    threads: int,
    batch: Sequence[Work],
    store: RecordStore,
    processor: Device | None,
) -> Iterator[_Point]:
    """The batch compiled, each operator with its position; one by one where that fails."""
    regions = [Region(i, target, (item.op,)) for i, item in enumerate(batch)]
    try:
        compiled = compile_regions(graph, regions, threads=threads, processor=processor)
    except TargetError as error:
        if len(batch) > 1:
            for item in batch:
                yield from _compiled(graph, target, threads, [item], store, processor)
        else:
            _refuse(graph, batch[0], error, store)
        return
    for position, item in enumerate(batch):
        yield _Point(item, compiled, position)


def _refuse(graph: Graph, item: Work, error: TargetError, store: RecordStore) -> None:
    store.add_support([(signature(graph, item.op), item.target, False, error.why or error.what)])


def _record(
    point: _Point, outcome: Timed | TargetError, values: Mapping[int, Array], store: RecordStore
) -> Record | None:
    """The record, or None where the target fails, which is remembered."""
    graph, item = point.compiled.graph, point.item
    if isinstance(outcome, TargetError):
        _refuse(graph, item, outcome, store)
        return None
    key = signature(graph, item.op)
    if item.target != "litert":
        gap = difference(outcome.outputs, [values[index] for index in point.result.outputs])
        if not gap.is_allowed:
            store.add_support([(key, item.target, False, f"its result differs by {gap}")])
            return None
    return record_of(graph, (item.op,), key, item.target, item.threads, outcome.timing)


def _batches(work: Sequence[Work], most: int) -> list[tuple[str, int, list[Work]]]:
    batches: list[tuple[str, int, list[Work]]] = []
    for item in work:
        last = batches[-1] if batches else None
        if last and last[:2] == (item.target, item.threads) and len(last[2]) < most:
            last[2].append(item)
        else:
            batches.append((item.target, item.threads, [item]))
    return batches
