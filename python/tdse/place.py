"""Find a placement: legal targets, costs, search, and the race that has the last word."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.child import Child, Progress
from tdse.contest import Contest, Contestant, distinct, run_contest
from tdse.cost.library import VariantModels, needed_models
from tdse.cost.table import CostTable, cost_table
from tdse.errors import PlacementError, PlatformError, UsageError
from tdse.graph.model import Graph
from tdse.graph.regions import Region, form_regions
from tdse.legality import Legality, chosen_targets, demand_all_supported
from tdse.measure.conditions import current_conditions
from tdse.measure.launch import measure_launch
from tdse.measure.records import Record, RecordStore
from tdse.measure.timing import QUIET
from tdse.measure.turn import measuring
from tdse.platform import Platform, discover_host, load_platform
from tdse.search import Problem, evaluate, search
from tdse.search.checker import check
from tdse.search.placement import Placement, make_placement, parse_pins
from tdse.survey import Survey, survey
from tdse.targets import target_threads, target_variants

# The local improvement after the exact cut; it rarely finds more than a thousandth.
SEARCH_S = 1.0
# Share of the budget for measuring operators; the rest is for building and timing candidates.
_MEASURE_SHARE = 0.6
# Launches are measured alone, with all in cache. One search takes them as measured, another as
# dearer, which leads to fewer regions; the race tells which was right.
_LAUNCH_SCALES = (1.0, 5.0)


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

    Raises:
        UsageError: ``threads`` or ``budget_s`` is not positive.
    """

    platform: str = "host"
    targets: tuple[str, ...] | None = None
    threads: int | None = None
    budget_s: float = 60.0
    pins: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        demand_positive(self.threads, self.budget_s)


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
    """

    placement: Placement
    contest: Contest
    table: CostTable | None
    legality: Legality
    measured: int = 0
    disturbed: int = 0


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
        PlatformError: the platform is not this machine, so that nothing can be measured.
        ModelError: an operator runs on no target.
        PlacementError: a pin cannot be obeyed.
        UsageError: a pin or target is unknown.
    """
    say = progress or (lambda stage, done, total, detail: None)
    platform = load_platform(options.platform)
    demand_host(platform)
    targets = chosen_targets(platform, options.targets)
    pins = parse_pins(
        options.pins,
        [graph.ops[op].label for op in graph.placed_ops],
        [graph.ops[op].kind for op in graph.placed_ops],
        targets,
    )
    counts = thread_counts(options.threads, platform.devices[0].cores)
    with (
        measuring(lambda: say("wait", 0, 1, "for another tdse to finish measuring")),
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
            deadline=begun + _MEASURE_SHARE * options.budget_s,
        )
        demand_all_supported(graph, found.legality)
        if graph.whole_reason:
            return _race_whole(graph, found.legality, worker, counts, options, pins, say)
        return _search_and_race(graph, found, worker, counts, store, options, pins, begun, say)


def demand_positive(threads: int | None, budget_s: float) -> None:
    """Refuse a number of threads or a budget with which nothing can be done.

    Raises:
        UsageError: says which.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", hint="give 1 or more")
    if not budget_s > 0:
        raise UsageError(f"a budget of {budget_s} s is not positive", hint="give seconds above 0")


def demand_host(platform: Platform) -> None:
    """Refuse a platform whose times cannot be measured here.

    Raises:
        PlatformError: with the reason.
    """
    why = platform.differs_from(discover_host())
    if why:
        raise PlatformError(
            f"platform {platform.name} cannot be compiled for on this machine",
            why=why,
            hint="run tdsec on the board itself; --explain works on any machine",
        )


def thread_counts(asked: int | None, cores: int) -> tuple[int, ...]:
    """Thread counts to try: the one asked for, or powers of two up to the cores, and the cores."""
    if asked is not None:
        return (asked,)
    powers = [1 << i for i in range(cores.bit_length()) if 1 << i <= cores]
    return tuple(dict.fromkeys([*powers, cores]))


def cost_problem(
    graph: Graph,
    legality: Legality,
    *,
    threads: Mapping[str, int],
    launch_us: Mapping[str, float],
    records: Mapping[tuple[str, str, int], Record],
    models: Mapping[str, VariantModels],
    pins: Mapping[int, str],
) -> tuple[CostTable, Problem]:
    """What the operators cost, and the search's problem of them; arguments as of ``cost_table``."""
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
    return table, _problem(graph, table, launch_us, pins)


def _problem(
    graph: Graph,
    table: CostTable,
    launch_us: Mapping[str, float],
    pins: Mapping[int, str],
) -> Problem:
    row = {op: i for i, op in enumerate(table.ops)}
    n = len(table.targets)
    return Problem(
        n_ops=len(table.ops),
        variants=table.targets,
        cost_us=table.cost_us,
        edges=np.array([(row[u], row[v], t) for u, v, t in graph.edges], np.int32).reshape(-1, 3),
        tensor_bytes=np.array([tensor.size_bytes for tensor in graph.tensors]),
        launch_us=np.array([launch_us[target] for target in table.targets]),
        # Regions of one executor hand tensors over in place.
        copy_us_per_byte=np.zeros((n, n)),
        border_us=np.zeros((n, n)),
        pins=np.array(
            [table.targets.index(pins[i]) if i in pins else -1 for i in range(len(table.ops))]
        ),
        labels=tuple(graph.ops[op].label for op in table.ops),
    )


def _search_and_race(
    graph: Graph,
    found: Survey,
    child: Child,
    counts: Sequence[int],
    store: RecordStore,
    options: Options,
    pins: Mapping[int, str],
    begun: float,
    say: Progress,
) -> Decision:
    legality = found.legality
    records = store.find(legality.signatures.values())
    contestants: list[Contestant] = []
    tables: dict[int, CostTable] = {}
    variants = target_variants(legality.targets, counts)
    launches = measure_launch(variants, store)
    keys = {
        target: {legality.signatures[op] for op, is_legal in ops.items() if is_legal}
        for target, ops in legality.legal().items()
    }
    models = needed_models(store, variants, keys, records)
    for threads in counts:
        given = {t: target_threads(t, [threads])[0] for t in legality.targets}
        table, problem = cost_problem(
            graph,
            legality,
            threads=given,
            launch_us={t: launches[t, given[t]] for t in legality.targets},
            records=records,
            models={t: models[t, given[t]] for t in legality.targets},
            pins=pins,
        )
        tables[threads] = table
        say("search", 0, 1, f"{threads} threads")
        wanted = []
        for scale in _LAUNCH_SCALES:
            scaled = dataclasses.replace(problem, launch_us=problem.launch_us * scale)
            best = search(scaled, seed=options.seed, budget_s=SEARCH_S, top=1)[0]
            name = f"placed x{threads}" + (", few regions" if scale > 1.0 else "")
            wanted.append((name, best.assignment))
        wanted += [
            (f"{name} x{threads}", (column,) * problem.n_ops)
            for column, name in enumerate(problem.variants)
            if threads in target_threads(name, counts)
        ]
        for name, assignment in wanted:
            contestant = _contestant(graph, problem, name, threads, assignment)
            if contestant is not None:
                contestants.append(contestant)
    contest = run_contest(
        graph,
        distinct(contestants),
        child,
        seed=options.seed,
        seconds=options.budget_s - (time.monotonic() - begun),
        say=say,
    )
    decision = _decision(
        graph, contest, options, legality, tables[contest.winner.threads], found.measured
    )
    disturbed = sum(record.contention > QUIET for record in records.values())
    return dataclasses.replace(decision, disturbed=disturbed)


def _race_whole(
    graph: Graph,
    legality: Legality,
    child: Child,
    counts: Sequence[int],
    options: Options,
    pins: Mapping[int, str],
    say: Progress,
) -> Decision:
    """Place a model that cannot be cut whole on LiteRT, with the best thread count."""
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
    whole = (Region(0, "litert", graph.placed_ops),)
    contestants = [Contestant(f"litert x{n}", n, whole, None) for n in counts]
    contest = run_contest(
        graph, contestants, child, seed=options.seed, seconds=options.budget_s, say=say
    )
    return _decision(graph, contest, options, legality, None, 0)


def _decision(
    graph: Graph,
    contest: Contest,
    options: Options,
    legality: Legality,
    table: CostTable | None,
    measured: int,
) -> Decision:
    winner = contest.winner
    return Decision(
        placement=make_placement(
            graph, winner.regions, winner.threads, winner.predicted_us, options.seed
        ),
        contest=contest,
        table=table,
        legality=legality,
        measured=measured,
    )


def _contestant(
    graph: Graph, problem: Problem, name: str, threads: int, assignment: Sequence[int]
) -> Contestant | None:
    """The candidate as regions, checked, or None if a target cannot run an operator."""
    if any(d not in problem.choices[op] for op, d in enumerate(assignment)):
        return None
    regions = form_regions(
        graph,
        {op: problem.variants[d] for op, d in zip(graph.placed_ops, assignment, strict=True)},
    )
    row = {op: i for i, op in enumerate(graph.placed_ops)}
    check(problem, assignment, [[row[op] for op in region.ops] for region in regions])
    return Contestant(name, threads, regions, evaluate(problem, assignment).total_us)
