"""Measure operators: the slice of each on each target that may run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tdse.assemble import Assembly, Compiled, compile_regions
from tdse.cost.features import features
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.measure.accuracy import difference
from tdse.measure.activations import Array
from tdse.measure.records import Record, RecordStore
from tdse.measure.timer import Job, LocalTimer, Timed, Timer, executor_model
from tdse.runtime.model import Model
from tdse.targets import CompiledRegion

# So many operators are compiled together: enough to share the cost of a compilation, few enough
# that a budget is kept and little is lost when a run is stopped.
_BATCH = 16

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
    *,
    deadline: float,
    timer: Timer | None = None,
    begin: Begin | None = None,
    one_by_one: bool = False,
    progress: Progress | None = None,
) -> int:
    """Measure ``work`` in its order until ``deadline``, and keep each time as a record.

    The result of each operator is compared with LiteRT's on the same activations; a target whose
    result differs by more than a region may is remembered as not supporting the operator.

    Args:
        graph: the model.
        work: what to measure; equal operators should be in it once.
        values: activations of the model, tensor index to array, the inputs of the slices.
        store: takes the records; its conditions are those of the place where ``timer`` times.
        deadline: ``time.monotonic()`` after which nothing new is begun.
        timer: where the operators are timed; by default in this process.
        begin: called with operators and target before anything that may crash.
        one_by_one: compile each operator alone, to find the one that crashes.
        progress: called with (done, all, label).

    Returns:
        The number of entries of ``work`` that were dealt with.
    """
    done = 0

    def tell(item: Work | None) -> None:
        if progress is not None:
            label = f"{graph.ops[item.op].label} on {item.target}" if item is not None else ""
            progress(done, len(work), label)

    def jobs() -> Iterator[tuple[_Point, Job]]:
        nonlocal done
        for target, threads, batch in _batches(work, 1 if one_by_one else _BATCH):
            if time.monotonic() > deadline:
                return
            if begin is not None:
                begin([item.op for item in batch], target)
            for point in _compiled(graph, target, threads, batch, store):
                tell(point.item)
                if begin is not None:
                    begin([point.item.op], target)
                try:
                    assembly = point.compiled.alone(point.position)
                except TargetError as error:
                    _refuse(graph, point.item, error, store)
                    done += 1
                    continue
                inputs = tuple(values[index] for index in point.result.inputs)
                yield point, Job(assembly, inputs)

    for point, outcome in (timer or LocalTimer()).time_all(jobs(), deadline=deadline):
        if outcome is not None:
            _keep(point, outcome, values, store)
            done += 1
            tell(point.item)
    tell(None)
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


def region_model(assembly: Assembly) -> Model:
    """The executor of a region alone as a model; its tensors are named by their position."""
    return executor_model(assembly.module())


def _compiled(
    graph: Graph, target: str, threads: int, batch: Sequence[Work], store: RecordStore
) -> Iterator[_Point]:
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
        yield _Point(item, compiled, position)


def _refuse(graph: Graph, item: Work, error: TargetError, store: RecordStore) -> None:
    store.add_support([(signature(graph, item.op), item.target, False, error.why or error.what)])


def _keep(
    point: _Point, outcome: Timed | TargetError, values: Mapping[int, Array], store: RecordStore
) -> None:
    """Remember a time, or why there is none."""
    graph, item = point.compiled.graph, point.item
    if isinstance(outcome, TargetError):
        _refuse(graph, item, outcome, store)
        return
    op = graph.ops[item.op]
    key = signature(graph, item.op)
    if item.target != "litert":
        expected = [values[index] for index in point.result.outputs]
        gap = difference(outcome.outputs, expected)
        if not gap.is_allowed:
            store.add_support([(key, item.target, False, f"its result differs by {gap}")])
            return
    timing = outcome.timing
    store.add(
        [
            Record(
                signature=key,
                target=item.target,
                threads=item.threads,
                kind=op.kind,
                features=features(graph, op, item.threads),
                median_us=timing.median_us,
                spread_us=timing.spread_us,
                runs=timing.runs,
            )
        ]
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
