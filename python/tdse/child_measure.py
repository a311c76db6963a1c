"""Jobs of the process that ``child`` starts which measure: operators, regions, tuned kernels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdse.child_model import ChildModel
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.legality import Legality, demand_all_supported, find_legality
from tdse.measure.activations import Array
from tdse.measure.conditions import compiled_for, current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.ops import OPS_TOGETHER, Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.regions import measure_regions as measure_each_region
from tdse.measure.remote import Boards
from tdse.measure.timer import LocalTimer, Timer
from tdse.platform import Device
from tdse.targets import target_threads, target_variants

if TYPE_CHECKING:
    from tdse.tuning import Promise


def ask_targets(
    worker: ChildModel, *, store: str, targets: Sequence[str], processor: Mapping[str, Any] | None
) -> None:
    """Note which operators targets say that they can run; see ``survey.ask_targets``."""
    device = device_of(processor)
    conditions = current_conditions() if device is None else compiled_for(device)
    with contextlib.closing(RecordStore(conditions, Path(store))) as records:
        find_legality(worker.graph, targets, records, begin=worker.at, processor=device)


def device_of(fields: Mapping[str, Any] | None) -> Device | None:
    """A platform's device that is compiled for; None for this machine."""
    return None if fields is None else Device.model_validate(fields)


@contextlib.contextmanager
def _place(store: str, boards: tuple[str, str] | None) -> Iterator[tuple[RecordStore, Timer]]:
    """Where is measured, this process or boards, and the records of that machine."""
    with contextlib.ExitStack() as stack:
        if boards is None:
            records = RecordStore(current_conditions(), Path(store))
            yield stack.enter_context(contextlib.closing(records)), LocalTimer(records)
        else:
            timer = stack.enter_context(Boards(*boards))
            records = RecordStore(timer.board.conditions, Path(store))
            yield stack.enter_context(contextlib.closing(records)), timer


def survey(
    worker: ChildModel,
    *,
    store: str,
    targets: Sequence[str],
    counts: Sequence[int],
    pins: Sequence[tuple[int, str]],
    seed: int,
    deadline: float,
    patience_s: float,
    demand_all: bool,
    boards: tuple[str, str] | None,
    one_by_one: bool = False,
) -> int:
    """See ``survey.survey``; the number of measurements that were made."""
    graph = worker.graph
    worker.demand_runs(seed)
    with _place(store, boards) as (records, timer):
        worker.say("legality", 0, 1, "")
        legality = find_legality(
            graph, targets, records, begin=worker.at, processor=timer.processor
        )
        if demand_all:
            demand_all_supported(graph, legality)
        if graph.whole_reason:
            return 0
        return _measure(
            worker,
            legality,
            worker.values(seed, legality.signatures),
            records,
            timer,
            counts=counts,
            pins=pins,
            deadline=worker.deadline(deadline),
            patience_s=patience_s,
            one_by_one=one_by_one,
        )


def repeat(
    worker: ChildModel,
    *,
    store: str,
    work: Sequence[tuple[int, str, int]],
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None,
) -> None:
    """Measure again what has a record."""
    with _place(store, boards) as (records, timer):
        measure_ops(
            worker.graph,
            [Work(*each) for each in work],
            worker.values(seed),
            records,
            timer,
            deadline=worker.deadline(deadline),
            patience_s=patience_s,
            again=True,
        )


def tune(
    worker: ChildModel,
    *,
    store: str,
    targets: Sequence[str],
    counts: Sequence[int],
    trials: int,
    seed: int,
    patience_s: float,
    without: Sequence[str],
) -> list[dict[str, Any]]:
    """See ``tune_kernels``; without kernels of operators whose signatures are in ``without``."""
    from tdse.tuning import TARGET, trials_left
    from tdse.tuning import tune as tune_kernel

    graph, deadline = worker.graph, worker.deadline(math.inf)
    done: list[dict[str, Any]] = []
    with _place(store, None) as (records, timer):
        legality, work = _tunable(worker, records, targets)
        values = worker.values(seed, legality.signatures)
        total = sum(trials_left(promise, trials) for promise in work)
        begun = 0
        for promise in work:
            keys = {legality.signatures[op]: op for op in promise.ops}
            left, label = trials_left(promise, trials), graph.ops[promise.ops[0]].label
            if deadline.is_over or not keys.keys().isdisjoint(without):
                continue
            worker.at("tuning", TARGET, list(keys))
            say = partial(_say_tuned, worker, begun, total, label)
            say(0)
            tuned = tune_kernel(graph, promise, values, trials, deadline, say)
            begun += left
            if tuned is None:
                continue
            done.append(asdict(tuned))
            if left and tuned.gain > 1:
                threads = target_threads(TARGET, counts)
                again = [Work(op, TARGET, n) for n in threads for op in keys.values()]
                measure_ops(
                    graph, again, values, records, timer, deadline=deadline, patience_s=patience_s
                )
    worker.at("", "", [])
    return done


def _say_tuned(worker: ChildModel, begun: int, total: int, label: str, tried: int) -> None:
    worker.say("tune", begun + tried, total, label)


def _tunable(
    worker: ChildModel, records: RecordStore, targets: Sequence[str]
) -> tuple[Legality, Sequence[Promise]]:
    from tdse.tuning import TARGET, promises

    graph = worker.graph
    legality = find_legality(graph, targets, records, begin=worker.at)
    ops = [op for op in graph.placed_ops if legality.support[TARGET][op].ok]
    known = records.find(legality.signatures.values())
    # Times on targets that may not be chosen now say nothing of where operators will be.
    of_targets = {key: record for key, record in known.items() if record.target in targets}
    return legality, promises(graph, ops, legality.signatures, of_targets)


def count_trials(
    worker: ChildModel, *, store: str, targets: Sequence[str], trials: int
) -> tuple[int, int]:
    """Kernels that would be tuned, and ways to build them that would be tried."""
    from tdse.tuning import trials_left

    with contextlib.closing(RecordStore(current_conditions(), Path(store))) as records:
        _, work = _tunable(worker, records, targets)
        left = [trials_left(promise, trials) for promise in work]
        return sum(count > 0 for count in left), sum(left)


def measure_regions(
    worker: ChildModel,
    *,
    store: str,
    regions: Sequence[Any],
    counts: Sequence[int],
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None,
    recorded_as: Mapping[str, str],
) -> None:
    """See ``survey.time_regions``."""
    given = list(map(Region.from_json, regions))

    def begin(region: Region) -> None:
        worker.at("measuring", region.device, [])

    with _place(store, boards) as (records, timer):
        for threads in counts:
            measure_each_region(
                worker.graph,
                [region for region in given if threads in target_threads(region.device, counts)],
                threads,
                worker.values(seed),
                records,
                timer,
                deadline=worker.deadline(deadline),
                patience_s=patience_s,
                begin=begin,
                recorded_as=recorded_as,
            )


def _measure(
    worker: ChildModel,
    legality: Legality,
    values: Mapping[int, Array],
    store: RecordStore,
    timer: Timer,
    *,
    counts: Sequence[int],
    pins: Sequence[tuple[int, str]],
    deadline: Deadline,
    patience_s: float,
    one_by_one: bool,
) -> int:
    """Measure what has no record yet: pins, then LiteRT, then the rest where most may be gained.

    A few operators at a time are measured on all that is left, so that a budget that is too short
    leaves out operators, of which little may be gained, rather than targets.
    """
    graph = worker.graph

    def begin(ops: Sequence[int], target: str) -> None:
        worker.at("measuring", target, [legality.signatures[op] for op in ops])

    def measure(work: Sequence[Work]) -> int:
        known = store.find(legality.signatures.values())
        unique = {(legality.signatures[w.op], w.target, w.threads): w for w in work}
        return measure_ops(
            graph,
            [
                item
                for key, item in unique.items()
                if key not in known and legality.support[item.target][item.op].ok
            ],
            values,
            store,
            timer,
            deadline=deadline,
            patience_s=patience_s,
            one_by_one=one_by_one,
            begin=begin,
            progress=lambda done, total, text: worker.say("measure", done, total, text),
        )

    total = measure(
        [
            Work(op, target, threads)
            for op, target in pins
            for threads in target_threads(target, counts)
        ]
    )
    variants = target_variants(legality.targets, counts)
    if "litert" in legality.targets:
        first = ("litert", target_threads("litert", counts)[0])
        by_size = sorted(graph.placed_ops, key=lambda op: -graph.ops[op].macs)
        total += measure([Work(op, *first) for op in by_size])
        variants = [variant for variant in variants if variant != first]
    records = store.find(legality.signatures.values())
    by_key = {legality.signatures[op]: op for op in graph.placed_ops}
    by_hope = sorted(by_key.values(), key=partial(_hope, graph, legality, records, counts))
    return total + measure(
        [
            Work(op, target, threads)
            for begin_at in range(0, len(by_hope), OPS_TOGETHER)
            for target, threads in variants
            for op in by_hope[begin_at : begin_at + OPS_TOGETHER]
        ]
    )


# Rough rates of unscheduled loops, only to order what is measured: MAC/us and byte/us.
_LOOP_MACS_PER_US = 1500.0
_LOOP_BYTES_PER_US = 1000.0


def _hope(
    graph: Graph,
    legality: Legality,
    records: Mapping[tuple[str, str, int], Any],
    counts: Sequence[int],
    index: int,
) -> float:
    """The smaller, the more time a measurement on another target may save."""
    op = graph.ops[index]
    key = legality.signatures[index]
    times = [records[key, "litert", n].median_us for n in counts if (key, "litert", n) in records]
    loops = op.macs / _LOOP_MACS_PER_US + (op.input_bytes + op.output_bytes) / _LOOP_BYTES_PER_US
    return loops - min(times, default=0.0)
