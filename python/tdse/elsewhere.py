"""Place a model on a machine that is not this one, where nothing of it can be timed.

The times are the machine's own records, where these are enough, or else those of this machine,
which stand in for them. Whichever they are, what is placed by them is predicted, and says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.candidates import Searched, placed_contestants, search_each, whole_contestants
from tdse.child import Child, CrashError, Progress
from tdse.contest import Builder, Contest, Contestant, distinct
from tdse.cost.library import VariantModels, needed_models, variant_models
from tdse.cost.table import MEASURED, PREDICTED, CostTable
from tdse.doors import RELAX
from tdse.errors import TargetError, TdseError, UsageError
from tdse.goals import PARETO, demand_power
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.legality import Legality, chosen_targets, demand_all_supported
from tdse.measure.conditions import compiled_for, current_conditions
from tdse.measure.launch import find_launch, measure_launch
from tdse.measure.records import Record, RecordStore
from tdse.measure.switches import Switches, find_switches, measure_switches
from tdse.measure.turn import measuring
from tdse.place import (
    MEASURE_SHARE,
    Decision,
    Elsewhere,
    Options,
    contestant_placement,
    cost_problem,
    demand_whole_on_litert,
    parsed_pins,
    thread_counts,
)
from tdse.platform import Device, Platform, discover_devices, load_platform
from tdse.search import Problem
from tdse.survey import ask_targets, survey
from tdse.targets import target_threads, target_variants

# A candidate must be predicted to be so many times as fast as LiteRT alone to be taken instead.
_WORTH_IT = 1.05
NOT_HERE = "it is for another machine"


def processor_elsewhere(platform: Platform) -> Device | None:
    """The CPU of a platform that is not this machine, to compile for.

    None if it is this machine, or emulated, or if there is only a TVM of the door into Relay, which
    compiles for this machine.

    Raises:
        PlatformError: tdse cannot compile for such a processor.
    """
    is_here = platform.source == "found" or platform.is_host(discover_devices())
    if is_here or platform.is_emulated or RELAX.why_not():
        return None
    # It comes with TVM.
    from tdse.targets.llvm_isa import isa_of_device

    device = platform.devices[0]
    isa_of_device(device)
    return device


def why_elsewhere(platform: Platform) -> str:
    """What makes a platform another machine than this."""
    host = discover_devices()
    cpu, here = platform.devices[0], host.devices[0]
    if platform.is_emulated:
        return f"{cpu.name} is {cpu.isa}, this machine is {here.isa}"
    return platform.differs_from(host)


def ask_for(graph: Graph, processor: Device, targets: Sequence[str], child: Child) -> Legality:
    """What targets that compile for a processor say of the operators of a model."""
    with contextlib.closing(RecordStore(compiled_for(processor))) as words:
        return ask_targets(graph, child, targets, words, processor=processor)


def decide_elsewhere(
    graph: Graph, options: Options, processor: Device, *, child: Child, say: Progress
) -> Decision:
    """Search by records or predictions; the best, unless it is hardly better than LiteRT alone.

    Its regions are checked on this machine, as compiled for this machine.

    Args:
        graph: the model.
        options: what is asked for.
        processor: of the platform.
        child: the model's process.
        say: progress.

    Raises:
        PlatformError: the platform has no power figures though the objective needs them.
        ModelError: an operator runs on no target.
        PlacementError: a pin cannot be obeyed.
        UsageError: a pin or target is unknown, or a front is asked for.
        TargetError: no candidate can be built.
    """
    platform = load_platform(options.platform)
    if options.objective == PARETO:
        raise UsageError(
            "a front is made of measured times",
            where=f"platform {platform.name}",
            why=why_elsewhere(platform),
            hint="choose another objective, or run tdsec on the board",
        )
    targets = chosen_targets(platform, options.targets)
    demand_power(platform, options.objective, targets)
    pins = parsed_pins(graph, options, targets)
    counts = thread_counts(options.threads, processor.cores)
    why = why_elsewhere(platform)
    legality = ask_for(graph, processor, targets, child)
    if graph.whole_reason:
        return _whole(graph, options, legality, pins, max(counts), Elsewhere(why, ""))
    with contextlib.closing(RecordStore(current_conditions())) as here:
        own = its_own_store(here, processor)
        if own is not None:
            with contextlib.closing(own):
                legality = legality.corrected(own)
                known_there = known_counts(own, legality, counts)
                if known_there:
                    known = _its_own(own, graph, legality, known_there, why)
                    return _search(graph, known, processor, options, pins, child, say)
        basis = Elsewhere(
            why, here.conditions.cpu, why_not_its_own=_why_not_its_own(own, processor)
        )
        with measuring(say):
            known = _stand_in(here, graph, legality, counts, options, pins, child, basis)
    return _search(graph, known, processor, options, pins, child, say)


def its_own_store(here: RecordStore, processor: Device) -> RecordStore | None:
    """The records of the machine with a processor, in the file of this machine's, if any."""
    try:
        conditions = here.conditions_for(processor)
    except TdseError:
        return None
    return RecordStore(conditions, here.path)


def known_counts(store: RecordStore, legality: Legality, counts: Sequence[int]) -> tuple[int, ...]:
    """The thread counts with which each operator was measured, or can be predicted.

    Args:
        store: of the machine.
        legality: where operators may run there.
        counts: thread counts to choose from.
    """
    variants = target_variants(legality.targets, counts)
    records = store.find(legality.signatures.values())
    models = variant_models(store, variants)

    def is_known(target: str, threads: int) -> bool:
        if models[target, threads].operators is not None:
            return True
        may = (key for op, key in legality.signatures.items() if legality.support[target][op].ok)
        return all((key, target, threads) in records for key in may)

    return tuple(
        count
        for count in counts
        if all(is_known(t, n) for t, n in target_variants(legality.targets, [count]))
    )


def here_counts(here: RecordStore, counts: Sequence[int]) -> tuple[int, ...]:
    """The thread counts that can stand in for others: at most as many as this machine has cores."""
    return tuple(sorted({min(count, here.conditions.cores) for count in counts}))


def _why_not_its_own(own: RecordStore | None, processor: Device) -> str:
    if own is not None:
        return f"there are too few records of {own.conditions.cpu}"
    return f"there are no records of {processor.model_name or processor.name}"


@dataclass(frozen=True)
class _Known:
    """What the search is given.

    Attributes:
        legality: where operators may run.
        records: of ``RecordStore.find``.
        models: of each variant.
        launches_us: likewise.
        switches_us: of ``measure_switches``.
        threads: for each thread count to choose from, the most of which times are known.
        basis: for the user.
        measured: operators measured in this run.
    """

    legality: Legality
    records: Mapping[tuple[str, str, int], Record]
    models: Mapping[tuple[str, int], VariantModels]
    launches_us: Mapping[tuple[str, int], float]
    switches_us: Switches
    threads: Mapping[int, int]
    basis: Elsewhere
    measured: int = 0


def _its_own(
    store: RecordStore, graph: Graph, legality: Legality, counts: Sequence[int], why: str
) -> _Known:
    """What is on record of the machine."""
    demand_all_supported(graph, legality)
    variants = target_variants(legality.targets, counts)
    models = variant_models(store, variants)
    launches = find_launch(variants, store)
    return _Known(
        legality,
        store.find(legality.signatures.values()),
        models,
        {one: launches.get(one, models[one].launch_us) for one in variants},
        find_switches(variants, store),
        {count: count for count in counts},
        Elsewhere(why, store.conditions.cpu, is_its_own=True),
    )


def _stand_in(
    store: RecordStore,
    graph: Graph,
    legality: Legality,
    counts: Sequence[int],
    options: Options,
    pins: Mapping[int, str],
    child: Child,
    basis: Elsewhere,
) -> _Known:
    """What this machine takes; its operators that have no record are measured, within the budget.

    It has no times of more threads than it has cores; those of its cores are taken.
    """
    threads = {count: min(count, store.conditions.cores) for count in counts}
    here = here_counts(store, counts)
    found = survey(
        graph,
        child,
        legality.targets,
        here,
        store,
        pins={graph.placed_ops[row]: target for row, target in pins.items()},
        seed=options.seed,
        deadline=time.monotonic() + MEASURE_SHARE * options.budget_s,
    )
    both = legality.corrected(store)
    demand_all_supported(graph, both)
    records = store.find(both.signatures.values())
    variants = target_variants(both.targets, here)
    keys = {
        target: {both.signatures[op] for op, is_legal in ops.items() if is_legal}
        for target, ops in both.legal().items()
    }
    return _Known(
        both,
        records,
        needed_models(store, variants, keys, records),
        measure_launch(variants, store),
        measure_switches(variants, store),
        threads,
        basis,
        found.measured,
    )


def _search(
    graph: Graph,
    known: _Known,
    processor: Device,
    options: Options,
    pins: Mapping[int, str],
    child: Child,
    say: Progress,
) -> Decision:
    tables: dict[int, CostTable] = {}
    problems: dict[int, Problem] = {}
    for count, threads in known.threads.items():
        given = {t: target_threads(t, [threads])[0] for t in known.legality.targets}
        tables[count], problems[count] = cost_problem(
            graph,
            known.legality,
            threads=given,
            launch_us={target: known.launches_us[target, n] for target, n in given.items()},
            records=known.records,
            models={target: known.models[target, n] for target, n in given.items()},
            pins=pins,
            device=processor,
            switches_us=known.switches_us,
        )
    found = search_each(problems, options.goals, seed=options.seed, say=say)
    contestants = distinct(
        [
            *placed_contestants(graph, problems, found, options.goals),
            *whole_contestants(graph, problems),
        ]
    )
    winner = _checked_best(graph, contestants, options, child, say)
    table = tables[winner.threads]
    return Decision(
        placement=contestant_placement(graph, winner, options),
        contest=_untimed(winner, contestants, options),
        table=table if known.basis.is_its_own else _as_predicted(table),
        legality=known.legality,
        measured=known.measured,
        searches=tuple(Searched.of(one, threads) for threads, one in found.items()),
        elsewhere=known.basis,
    )


def _checked_best(
    graph: Graph, contestants: Sequence[Contestant], options: Options, child: Child, say: Progress
) -> Contestant:
    """The first by what is expected of it that can be built and whose results are LiteRT's.

    It has the regions as they were checked, some of which may have been cut.

    Raises:
        TargetError: there is none.
    """
    builder = Builder(child, options.seed)
    reasons: list[str] = []
    far: list[Contestant] = []
    for contestant in _by_promise(contestants, options):
        say("check", len(reasons), len(contestants), contestant.name)
        try:
            made = builder.build(contestant)
        except (TargetError, CrashError) as error:
            reasons.append(f"{contestant.name}: {error}")
            continue
        checked = contestant.checked(made)
        if checked.is_close:
            return checked
        far.append(checked)
    if far:
        return far[0]
    raise TargetError("no candidate can be built", where=graph.name, why="; ".join(reasons))


def _by_promise(contestants: Sequence[Contestant], options: Options) -> list[Contestant]:
    """The contestants, the best first; LiteRT alone before what is hardly better."""
    goal = options.goals[0]

    def rank(contestant: Contestant) -> tuple[float, int, int]:
        advantage = 1.0 if contestant.targets == ("litert",) else _WORTH_IT
        worth = advantage * contestant.expected_worth(goal)
        return worth, len(contestant.regions), contestant.threads

    return sorted(contestants, key=rank)


def _whole(
    graph: Graph,
    options: Options,
    legality: Legality,
    pins: Mapping[int, str],
    threads: int,
    basis: Elsewhere,
) -> Decision:
    """The model as one region of LiteRT: it cannot be cut, and nothing is known of its time."""
    demand_whole_on_litert(graph, legality, pins)
    demand_all_supported(graph, legality)
    whole = (Region(0, "litert", graph.placed_ops),)
    winner = Contestant(f"litert x{threads}", threads, whole, None, None)
    return Decision(
        placement=contestant_placement(graph, winner, options),
        contest=_untimed(winner, [winner], options),
        table=None,
        legality=legality,
        elsewhere=basis,
    )


def _untimed(winner: Contestant, contestants: Sequence[Contestant], options: Options) -> Contest:
    """A contest that has nothing measured."""
    rows = [winner if one.name == winner.name else one for one in contestants]
    untimed = tuple(dataclasses.replace(one, not_timed=NOT_HERE) for one in rows)
    return Contest(winner, untimed, {}, options.goals)


def _as_predicted(table: CostTable) -> CostTable:
    """The table of another machine's times: they were measured, but not there."""
    source = tuple(
        tuple(PREDICTED if one == MEASURED else one for one in row) for row in table.source
    )
    return dataclasses.replace(table, source=source)
