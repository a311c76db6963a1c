"""Find a placement: legal targets, costs, search, and the race that has the last word."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from tdse.candidates import (
    Searched,
    placed_contestants,
    search_each,
    whole_contestants,
)
from tdse.carrying import Carrying
from tdse.child import Child, Progress, unheard
from tdse.contest import Builder, Contest, Contestant, distinct, run_contest
from tdse.cost.library import VariantModels, needed_models
from tdse.cost.table import CostTable, cost_table
from tdse.errors import PlacementError, PlatformError, UsageError
from tdse.goals import active_w, demand_power, goals_of, idle_w
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.in_place import learn_in_place, switches_left, time_in_place
from tdse.lanes import lane_contestants
from tdse.legality import Legality, chosen_targets, demand_all_supported, device_names
from tdse.measure.conditions import current_conditions
from tdse.measure.launch import measure_launch
from tdse.measure.records import Record, RecordStore
from tdse.measure.switches import Switches, measure_switches
from tdse.measure.timing import QUIET
from tdse.measure.transfers import TransferTimes, device_transfers
from tdse.measure.turn import measuring
from tdse.platform import Device, Platform, discover_devices, load_platform
from tdse.search import Objective, Problem
from tdse.search.given import Given, given_placement
from tdse.search.placement import Placement, make_placement, parse_pins
from tdse.survey import Survey, Tuned, survey, tune_kernels
from tdse.targets import cpu_thread_counts, get_target, target_threads, target_variants

# Share of the budget for measuring operators; the rest is for building and timing candidates.
MEASURE_SHARE = 0.6


@dataclass(frozen=True)
class Options:
    """What a user may ask of a placement.

    Attributes:
        platform: ``host``, a preset, or a platform file.
        targets: use these only; None for all of the platform's.
        threads: thread count of regions; None to try 1 up to the number of cores.
        budget_s: seconds for measuring and timing.
        pins: ``OP=TARGET`` texts.
        seed: of everything random.
        objective: what is to be small, one of ``goals.GOALS``.
        tune: ways to build each kernel that are tried where that may pay; 0 for none.
        one_lane: what runs the regions runs them one after the other.

    Raises:
        UsageError: ``threads`` or ``budget_s`` is not positive, or there is no such objective.
    """

    platform: str = "host"
    targets: tuple[str, ...] | None = None
    threads: int | None = None
    budget_s: float = 60.0
    pins: tuple[str, ...] = ()
    seed: int = 0
    objective: str = "latency"
    tune: int = 0
    one_lane: bool = False

    def __post_init__(self) -> None:
        demand_positive(self.threads, self.budget_s)
        goals_of(self.objective)

    @property
    def goals(self) -> tuple[Objective, ...]:
        """What is minimised."""
        return goals_of(self.objective)


@dataclass(frozen=True)
class Elsewhere:
    """What a placement for a machine that is not this one rests on; nothing of it was timed.

    Attributes:
        why: what makes this machine another one.
        times_of: processor or board whose times were used; empty if none were needed.
        is_its_own: whether that is the machine that was placed on; else this one stands in for it.
        why_not_its_own: why not its own, where that was looked for.
    """

    why: str
    times_of: str
    is_its_own: bool = False
    why_not_its_own: str = ""


@dataclass(frozen=True)
class Decision:
    """A placement and how it came about.

    Attributes:
        placement: the winner's.
        contest: all candidates and what they measured.
        table: costs of the winner's thread count; None for a model that is placed whole.
        legality: why each operator may or may not run on each target.
        measured: operators measured in this run.
        disturbed: records of the model's operators that were measured, now or earlier, while
            something else slowed the machine down.
        searches: how each search ended; none for a model that is placed whole.
        elsewhere: of a machine that is not this one: what was searched by.
        tuned: kernels that were tuned, in this run or an earlier one.
    """

    placement: Placement
    contest: Contest
    table: CostTable | None
    legality: Legality
    measured: int = 0
    disturbed: int = 0
    searches: tuple[Searched, ...] = ()
    elsewhere: Elsewhere | None = None
    tuned: tuple[Tuned, ...] = ()

    @property
    def search(self) -> Searched | None:
        """The last search for the winner's thread count."""
        threads = self.contest.winner.threads
        return next((one for one in reversed(self.searches) if one.threads == threads), None)


def decide(
    graph: Graph,
    options: Options,
    *,
    child: Child | None = None,
    progress: Progress | None = None,
) -> Decision:
    """Measure, search, and time the best candidates against each single-target build.

    Args:
        graph: the model.
        options: what is asked for.
        child: the model's process, if there is one already.
        progress: called with (stage, done, all, detail).

    Raises:
        PlatformError: the platform is not this machine, so that nothing can be measured, or has no
            power figures though the objective needs them.
        ModelError: an operator runs on no target.
        PlacementError: a pin cannot be obeyed.
        UsageError: a pin or target is unknown.
    """
    say = progress or unheard
    platform = load_platform(options.platform)
    demand_host(platform)
    device = platform.devices[0]
    targets = chosen_targets(platform, options.targets)
    demand_power(platform, options.objective, targets)
    demand_tunable(options.tune, targets)
    pins = parsed_pins(graph, options, targets)
    counts = thread_counts(options.threads, device.cores)
    with (
        measuring(say),
        contextlib.closing(RecordStore(current_conditions())) as store,
        contextlib.nullcontext(child) if child is not None else Child(graph, say) as worker,
    ):
        begun = time.monotonic()
        found = survey(
            graph,
            worker,
            targets,
            counts,
            store,
            pins={graph.placed_ops[row]: target for row, target in pins.items()},
            seed=options.seed,
            deadline=begun + MEASURE_SHARE * options.budget_s,
        )
        demand_all_supported(graph, found.legality)
        if graph.whole_reason:
            return _race_whole(graph, found.legality, worker, counts, device, options, pins, say)
        tuned: tuple[Tuned, ...] = ()
        if options.tune:
            before = time.monotonic()
            tuned = tune_kernels(
                graph, worker, targets, counts, store, trials=options.tune, seed=options.seed
            )
            # The budget is for all else.
            begun += time.monotonic() - before
        decision = _search_and_race(
            graph, found, worker, counts, device, store, options, pins, begun, say
        )
        return dataclasses.replace(decision, tuned=tuned)


def parsed_pins(graph: Graph, options: Options, targets: Sequence[str]) -> dict[int, str]:
    """The pins: position of an operator in ``graph.placed_ops`` to the target it must run on.

    Raises:
        UsageError: an operator or target is not there.
        PlacementError: two pins contradict each other.
    """
    return parse_pins(
        options.pins,
        [graph.ops[op].label for op in graph.placed_ops],
        [graph.ops[op].kind for op in graph.placed_ops],
        targets,
    )


def demand_positive(threads: int | None, budget_s: float) -> None:
    """Refuse a number of threads or a budget with which nothing can be done.

    Raises:
        UsageError: says which.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", hint="give 1 or more")
    if not budget_s > 0:
        raise UsageError(f"a budget of {budget_s} s is not positive", hint="give seconds above 0")


def demand_tunable(trials: int, targets: Sequence[str]) -> None:
    """Refuse to tune where there is nothing to be tuned.

    Raises:
        UsageError: says why.
    """
    if trials < 0:
        raise UsageError(f"{trials} trials cannot be made", where="--tune", hint="give 1 or more")
    if trials and "llvm" not in targets:
        raise UsageError(
            "there is nothing to tune without the target llvm",
            where="--tune",
            hint="leave it out, or add llvm to --targets",
        )


def demand_untuned(trials: int) -> None:
    """Refuse to tune where no operators are measured and placed.

    Raises:
        UsageError: it is asked for.
    """
    if trials:
        raise UsageError(
            "kernels are tuned where operators are measured and placed",
            where="--tune",
            hint="leave it out; what was tuned before is used anyway",
        )


def demand_host(platform: Platform) -> None:
    """Refuse a platform whose times cannot be measured here.

    Raises:
        PlatformError: with the reason.
    """
    here = platform if platform.source == "found" else discover_devices()
    why = platform.differs_from(here)
    if why:
        raise PlatformError(
            f"platform {platform.name} cannot be compiled for on this machine",
            why=why,
            hint="run it on the board itself; tdsec also compiles for other machines",
        )


def given_on(graph: Graph, platform: Platform, given: Placement | str | PathLike[str]) -> Given:
    """A placement that a user gives, if it is for such a platform; see ``given_placement``.

    Raises:
        PlacementError: the placement cannot be taken, or is for devices that are not there.
        TargetError: it is for targets that do not exist.
    """
    found = given_placement(graph, given)
    for region in found.placement.regions:
        if platform.device(region.device) is None:
            raise PlacementError(
                f"region {region.index} is on device {region.device!r}, which platform "
                f"{platform.name} does not have",
                where=found.placement.model_name,
                hint=f"it has {', '.join(device.name for device in platform.devices)}",
            )
        get_target(region.target)
    return found


def thread_counts(asked: int | None, cores: int) -> tuple[int, ...]:
    """Thread counts to try: the one asked for, or powers of two up to the cores, and the cores."""
    return cpu_thread_counts(cores) if asked is None else (asked,)


def cost_problem(
    graph: Graph,
    legality: Legality,
    *,
    threads: Mapping[str, int],
    launch_us: Mapping[str, float],
    records: Mapping[tuple[str, str, int], Record],
    models: Mapping[str, VariantModels],
    pins: Mapping[int, str],
    device: Device,
    switches_us: Switches,
    transfers: Mapping[str, TransferTimes] | None = None,
) -> tuple[CostTable, Problem]:
    """What the operators cost, and the search's problem of them.

    Regions run one after the other on one lane, which any of them has to itself. An operator whose
    time is modelled has no interval: its error is not known.

    Args:
        graph, legality, threads, launch_us, records, models, pins: as of ``cost_table``.
        device: has the power figures, if there are any.
        switches_us: of ``measure_switches``; each tensor that goes from one target to another
            costs half of a switch there and back.
        transfers: of targets whose devices have memory of their own.
    """
    table = cost_table(
        graph,
        signatures=legality.signatures,
        legal=legality.legal(),
        threads=threads,
        launch_us=launch_us,
        records=records,
        models=models,
        pins=pins,
    )
    carrying = Carrying(graph, table.targets, transfers) if transfers else None
    if carrying is not None:
        table = carrying.without(table)
    row = {op: i for i, op in enumerate(table.ops)}
    n, columns = len(table.targets), list(zip(table.targets, table.threads, strict=True))
    is_known = np.isfinite(table.high_us)
    low_us = np.where(is_known, np.minimum(table.low_us, table.cost_us), table.cost_us)
    high_us = np.where(is_known, np.maximum(table.high_us, table.cost_us), table.cost_us)
    problem = Problem(
        n_ops=len(table.ops),
        variants=table.targets,
        cost_us=table.cost_us,
        cost_low_us=low_us,
        cost_high_us=high_us,
        edges=np.array([(row[u], row[v], t) for u, v, t in graph.edges], np.int32).reshape(-1, 3),
        tensor_bytes=np.array([tensor.size_bytes for tensor in graph.tensors]),
        launch_us=np.array(
            [launch_us[t] + models[t].regions.launch_extra_us for t in table.targets]
        ),
        # Regions of one executor hand tensors over in place.
        copy_us_per_byte=np.zeros((n, n)),
        border_us=np.array([[_border_us(switches_us, a, b) for b in columns] for a in columns]),
        pins=np.array(
            [table.targets.index(pins[i]) if i in pins else -1 for i in range(len(table.ops))]
        ),
        labels=tuple(graph.ops[op].label for op in table.ops),
        devices=(device.name,),
        active_w=np.array([active_w(device, count) for count in table.threads]),
        idle_w=np.array([idle_w(device)]),
    )
    if carrying is not None:
        problem = carrying.charged(problem, row)
    return table, problem


def _border_us(switches_us: Switches, one: tuple[str, int], other: tuple[str, int]) -> float:
    (first, threads), (second, of_second) = sorted((one, other))
    if threads != of_second:
        return 0.0
    return switches_us.get((first, second, threads), 0.0) / 2


def _search_and_race(
    graph: Graph,
    found: Survey,
    child: Child,
    counts: Sequence[int],
    device: Device,
    store: RecordStore,
    options: Options,
    pins: Mapping[int, str],
    begun: float,
    say: Progress,
) -> Decision:
    legality = found.legality
    records = store.find(legality.signatures.values())
    variants = target_variants(legality.targets, counts)
    launches = measure_launch(variants, store)
    switches = measure_switches(variants, store)
    transfers = device_transfers(legality.targets, store)
    keys = {
        target: {legality.signatures[op] for op, is_legal in ops.items() if is_legal}
        for target, ops in legality.legal().items()
    }
    models = needed_models(store, variants, keys, records)

    def priced(
        models: Mapping[tuple[str, int], VariantModels], switches: Switches
    ) -> tuple[dict[int, CostTable], dict[int, Problem]]:
        tables, problems = {}, {}
        for threads in counts:
            given = {t: target_threads(t, [threads])[0] for t in legality.targets}
            tables[threads], problems[threads] = cost_problem(
                graph,
                legality,
                threads=given,
                launch_us={t: launches[t, given[t]] for t in legality.targets},
                records=records,
                models={t: models[t, given[t]] for t in legality.targets},
                pins=pins,
                device=device,
                switches_us=switches,
                transfers=transfers,
            )
        return tables, problems

    goals, seed = options.goals, options.seed
    tables, problems = priced(models, switches)
    first = search_each(problems, goals, seed=seed, say=say)
    searches = [Searched.of(one, threads) for threads, one in first.items()]
    builder = Builder(child, seed)
    best = placed_contestants(graph, problems, first, goals[:1])
    wholes = whole_contestants(graph, problems)
    stop = child.stop
    timed = {} if stop.is_asked else time_in_place(graph, best, wholes, builder, seed=seed, say=say)
    contestants = []
    if timed:
        learnt = learn_in_place(graph, tables, timed, models, launches, frozenset(transfers))
        tables, problems = priced(learnt, switches_left(switches, timed))
        second = search_each({n: problems[n] for n in timed}, goals, seed=seed, say=say)
        searches += [Searched.of(one, n, in_place=True) for n, one in second.items()]
        contestants += placed_contestants(graph, problems, second, goals, suffix=", in place")
    contestants += placed_contestants(graph, problems, first, goals)
    contestants += whole_contestants(graph, problems)
    if not stop.is_asked and not options.one_lane:
        contestants += lane_contestants(
            graph, problems, contestants, goals, device.cores, builder, seed=seed, say=say
        )
    contest = run_contest(
        graph,
        distinct(contestants),
        builder,
        seed=seed,
        seconds=options.budget_s - (time.monotonic() - begun),
        say=say,
        goals=goals,
    )
    return Decision(
        placement=contestant_placement(graph, contest.winner, options),
        contest=contest,
        table=tables[contest.winner.threads],
        legality=legality,
        measured=found.measured,
        disturbed=sum(record.contention > QUIET for record in records.values()),
        searches=tuple(searches),
    )


def _race_whole(
    graph: Graph,
    legality: Legality,
    child: Child,
    counts: Sequence[int],
    device: Device,
    options: Options,
    pins: Mapping[int, str],
    say: Progress,
) -> Decision:
    """Place a model that cannot be cut whole on LiteRT, with the best thread count."""
    demand_whole_on_litert(graph, legality, pins)
    whole = (Region(0, "litert", graph.placed_ops),)
    has_power = device.active_w_per_core is not None
    contestants = [
        Contestant(
            f"litert x{n}",
            n,
            whole,
            None,
            None,
            idle_w(device) + active_w(device, n) if has_power else None,
        )
        for n in counts
    ]
    contest = run_contest(
        graph,
        contestants,
        Builder(child, options.seed),
        seed=options.seed,
        seconds=options.budget_s,
        say=say,
        goals=options.goals,
    )
    placement = contestant_placement(graph, contest.winner, options)
    return Decision(placement, contest, None, legality)


def demand_whole_on_litert(graph: Graph, legality: Legality, pins: Mapping[int, str]) -> None:
    """Refuse what keeps a model that cannot be cut off LiteRT.

    Raises:
        PlacementError: a pin does, or LiteRT is not among the targets.
    """
    for row, target in pins.items():
        if target != "litert":
            raise PlacementError(
                f"op {graph.ops[graph.placed_ops[row]].label} cannot be pinned to {target}",
                where=graph.name,
                why=f"the model is placed whole on litert: {graph.whole_reason}",
            )
    if "litert" not in legality.targets:
        raise PlacementError(
            "the model can only be placed whole on litert",
            where=graph.name,
            why=graph.whole_reason,
            hint="add litert to --targets",
        )


def contestant_placement(graph: Graph, contestant: Contestant, options: Options) -> Placement:
    """The placement of a contestant of a contest with these options."""
    return make_placement(
        graph,
        contestant.regions,
        contestant.threads,
        contestant.predicted_us,
        options.seed,
        device_names(load_platform(options.platform)),
        predicted_period_us=contestant.predicted_period_us,
        windows_us=contestant.windows_us,
    )
