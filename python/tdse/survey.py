"""What is found out about a model's operators before the search: support, activations, times.

A child process does so. If that dies, the operator it was at is remembered as not supported, and
another child goes on with the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tdse.child import RUNNING, Child, CrashError
from tdse.errors import ModelError, TdseError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.legality import Legality, find_legality
from tdse.measure.ops import PATIENCE_S
from tdse.measure.records import RecordStore
from tdse.platform import Device

_NO_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Tuned:
    """What tuning gave for a kernel of a model.

    Attributes:
        ops: labels of the operators that share it.
        trials: ways to build it that were tried, in this run or an earlier one.
        gain: its time without tuning over that with it; 1 where nothing was better.
    """

    ops: tuple[str, ...]
    trials: int
    gain: float


@dataclass(frozen=True)
class Survey:
    """What the search needs to know.

    Attributes:
        legality: why each operator may or may not run on each target.
        measured: measurements that were made.
    """

    legality: Legality
    measured: int


def survey(
    graph: Graph,
    child: Child,
    targets: Sequence[str],
    counts: Sequence[int],
    store: RecordStore,
    *,
    pins: Mapping[int, str],
    seed: int,
    deadline: float,
    patience_s: float = PATIENCE_S,
    demand_all: bool = True,
    boards: tuple[str, str] | None = None,
) -> Survey:
    """Find out where operators may run and how long they take.

    The child keeps the model's activations, for the candidates that it is asked to build.

    Args:
        graph: the model.
        child: its process.
        targets: names.
        counts: thread counts to measure with.
        store: takes what is found, and gives what is known.
        pins: operator index to the target it must run on; these are measured first.
        seed: of the model's inputs.
        deadline: ``time.monotonic()`` after which no measurement is begun.
        patience_s: how long to wait for quiet moments for each operator.
        demand_all: refuse a model with an operator that runs on no target; else it is left out.
        boards: address of the RPC tracker and key of the boards to measure on, which ``store``
            belongs to; None for this machine.

    Raises:
        ModelError: LiteRT cannot run the model, or an operator runs on no target.
        TdseError: the child was killed from outside, or ended in a way that no operator explains.
    """
    measured = _ask(
        graph,
        child,
        store,
        "survey",
        targets=list(targets),
        counts=list(counts),
        pins=list(pins.items()),
        seed=seed,
        deadline=deadline,
        patience_s=patience_s,
        demand_all=demand_all,
        boards=boards,
    )
    return Survey(find_legality(graph, targets, store), measured)


def ask_targets(
    graph: Graph,
    child: Child,
    targets: Sequence[str],
    store: RecordStore,
    *,
    processor: Device | None = None,
) -> Legality:
    """Find out where operators may run, without running them.

    Args:
        graph: the model.
        child: its process.
        targets: names.
        store: takes and gives their answers; for a processor, one with the conditions
            ``compiled_for`` it.
        processor: a platform's device that is not this machine's CPU; None for that.

    Raises:
        TdseError: the child was killed from outside, or ended in a way that no operator explains.
    """
    given = None if processor is None else processor.model_dump(mode="json")
    _ask(graph, child, store, "ask_targets", targets=list(targets), processor=given)
    return find_legality(graph, targets, store, processor=processor)


def time_regions(
    graph: Graph,
    child: Child,
    regions: Sequence[Region],
    counts: Sequence[int],
    store: RecordStore,
    *,
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None = None,
    recorded_as: Mapping[str, str] = _NO_NAMES,
) -> None:
    """Measure regions whose operators have been surveyed.

    Regions that the process does not survive, together with those after them, are left out.

    Args:
        graph: the model.
        child: its process.
        regions: ``device`` is a target's name.
        counts: thread counts to measure with.
        store: takes the records.
        seed: of the model's inputs.
        deadline: ``time.monotonic()`` after which no measurement is begun.
        patience_s: how long to wait for quiet moments for each region.
        boards: as of ``survey``.
        recorded_as: names of targets in records, where they differ.
    """
    supported = find_legality(graph, list({region.device for region in regions}), store).support
    with suppress(CrashError):
        child.ask(
            "measure_regions",
            store=str(store.path),
            regions=[
                dataclasses.astuple(region)
                for region in regions
                if all(supported[region.device][op].ok for op in region.ops)
            ],
            counts=list(counts),
            seed=seed,
            deadline=deadline,
            patience_s=patience_s,
            boards=boards,
            recorded_as=dict(recorded_as),
        )


def time_again(
    graph: Graph,
    child: Child,
    ops: Sequence[int],
    variants: Sequence[tuple[str, int]],
    store: RecordStore,
    *,
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None = None,
) -> None:
    """Measure operators that have been surveyed a second time, for the noise.

    Args:
        graph: the model.
        child: its process.
        ops: indices; an operator without a record of a variant is left out there.
        variants: targets with thread counts.
        store: takes the times.
        seed: of the model's inputs.
        deadline: ``time.monotonic()`` after which no measurement is begun.
        patience_s: how long to wait for quiet moments for each operator.
        boards: as of ``survey``.
    """
    keys = {op: signature(graph, op) for op in ops}
    known = store.find(keys.values())
    with suppress(CrashError):
        child.ask(
            "repeat",
            store=str(store.path),
            work=[[op, *v] for v in variants for op, key in keys.items() if (key, *v) in known],
            seed=seed,
            deadline=deadline,
            patience_s=patience_s,
            boards=boards,
        )


def tune_kernels(
    graph: Graph,
    child: Child,
    targets: Sequence[str],
    counts: Sequence[int],
    store: RecordStore,
    *,
    trials: int,
    seed: int,
    patience_s: float = PATIENCE_S,
) -> tuple[Tuned, ...]:
    """Tune kernels of operators that have been surveyed; see ``tdse.tuning``.

    What is found is kept for all later compilations; operators that gained are measured again.

    Args:
        graph: the model.
        child: its process.
        targets: names.
        counts: thread counts to measure with.
        store: gives the times of operators, and takes those of tuned ones.
        trials: ways to build each kernel that are tried.
        seed: of the model's inputs.
        patience_s: how long to wait for quiet moments for each operator that is measured again.

    Returns:
        What was tuned, in this run or an earlier one.

    Raises:
        TdseError: the child was killed from outside, or ended in a way that no kernel explains.
    """
    without: list[str] = []
    while True:
        try:
            tuned = child.ask(
                "tune",
                store=str(store.path),
                targets=list(targets),
                counts=list(counts),
                trials=trials,
                seed=seed,
                patience_s=patience_s,
                without=without,
            )
        except CrashError as crash:
            if not crash.keys:
                raise _failure(graph, crash) from None
            # It stays as it is without tuning.
            without.extend(crash.keys)
        else:
            return tuple(Tuned(tuple(each.pop("ops")), **each) for each in tuned)


def count_trials(
    graph: Graph, child: Child, targets: Sequence[str], store: RecordStore, trials: int
) -> tuple[int, int]:
    """Kernels that ``tune_kernels`` would tune by what is known now, and ways it would try.

    Raises:
        TdseError: the child was killed from outside, or did not survive it.
    """
    kernels, ways = _ask(graph, child, store, "count_trials", targets=list(targets), trials=trials)
    return kernels, ways


def _ask(graph: Graph, child: Child, store: RecordStore, job: str, **arguments: Any) -> Any:
    """The answer to a job, without the operators at which the child does not survive it."""
    while True:
        try:
            return child.ask(job, store=str(store.path), **arguments)
        except CrashError as crash:
            if len(crash.keys) > 1:
                arguments["one_by_one"] = True
            elif crash.keys and crash.stage != RUNNING:
                why = f"{crash.stage} it {crash.why}"
                store.add_support([(key, crash.target, False, why) for key in crash.keys])
            else:
                raise _failure(graph, crash) from None


def _failure(graph: Graph, crash: CrashError) -> TdseError:
    if not crash.stage:
        return TdseError("finding out about the operators failed", where=graph.name, why=crash.why)
    # Results are held against LiteRT's, so what it does not survive cannot be placed elsewhere.
    ops = [graph.ops[op].label for op in graph.placed_ops if signature(graph, op) in crash.keys]
    return ModelError(
        f"LiteRT cannot run {f'op {ops[0]}' if ops else 'the model'}",
        where=graph.name,
        why=f"{crash.stage} it {crash.why}",
        hint="the file is damaged or its converter at fault, convert the model again",
    )
