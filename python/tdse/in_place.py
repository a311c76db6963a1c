"""What regions cost in place: a placement is built and run, and each of its regions timed.

By themselves, operators and launches have all caches and threads to themselves. Within a network
other regions have had them in between, which on small regions costs more than they do. How much
depends on the model and the machine, so it is learnt from the model's own regions: the search's
first placement is run, what its regions took is fitted, and the search begins anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.child import CrashError, Progress
from tdse.contest import Builder, Contestant, plan_entry
from tdse.cost.library import VariantModels
from tdse.cost.region import fit_in_place
from tdse.cost.table import CostTable
from tdse.errors import TargetError, TdseError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.workload import workload
from tdse.measure.activations import random_inputs
from tdse.measure.race import Entry, race
from tdse.measure.switches import Switches

# A process may stay in a slow mode: the regions of several are timed. Seconds of each placement in
# each of them.
_LAUNCHES = 3
_SECONDS = 0.25


@dataclass(frozen=True)
class InPlace:
    """Times of a placement's regions while the whole of it ran.

    Attributes:
        regions: what was built.
        regions_us: microseconds of each, in the median run.
        whole_us: of a run of the whole model on LiteRT, timed in turns with it.
    """

    regions: tuple[Region, ...]
    regions_us: tuple[float, ...]
    whole_us: float


def time_in_place(
    graph: Graph,
    placed: Sequence[Contestant],
    wholes: Sequence[Contestant],
    builder: Builder,
    *,
    seed: int,
    say: Progress,
) -> dict[int, InPlace]:
    """Time the regions of placements in turns with the whole model on LiteRT.

    Args:
        graph: the model.
        placed: one contestant for each thread count.
        wholes: the model on LiteRT alone for each; a placement without one is left out, and so is
            one that is the same, or that cannot be built.
        builder: builds them.
        seed: of inputs.
        say: progress.

    Returns:
        By thread count; nothing if one of them fails while it runs.
    """
    whole_of = {one.threads: one for one in wholes if one.targets == ("litert",)}
    built: dict[int, tuple[Region, ...]] = {}
    entries: list[Entry] = []
    for one in placed:
        whole = whole_of.get(one.threads)
        if whole is None or one.regions == whole.regions:
            continue
        say("build", len(built), len(placed), one.name)
        try:
            made, made_whole = builder.build(one), builder.build(whole)
        except (TargetError, CrashError):
            continue
        built[one.threads] = tuple(map(Region.from_json, made["regions"]))
        entries.append(plan_entry(one.name, made, traced=True))
        entries.append(plan_entry(whole.name, made_whole))
    if not built:
        return {}
    try:
        results = race(
            entries,
            random_inputs(graph, seed),
            launches=_LAUNCHES,
            seconds=_SECONDS * len(entries),
            seed=seed,
            progress=lambda done, total: say("race", done, total, "regions in place"),
        )
    except TdseError:
        # Which of them fails, and how, is told by the contest, where they are timed again.
        return {}
    return {
        one.threads: InPlace(
            built[one.threads],
            tuple(np.median([lap.regions_us for lap in results[one.name].laps], axis=0).tolist()),
            results[whole_of[one.threads].name].median_us,
        )
        for one in placed
        if one.threads in built
    }


def switches_left(switches_us: Switches, timed: Mapping[int, InPlace]) -> Switches:
    """Those of targets that did not take turns in what was timed: launches in place have the rest.

    Args:
        switches_us: of ``measure_switches``.
        timed: of ``time_in_place``.
    """
    mixed = {threads: {region.device for region in one.regions} for threads, one in timed.items()}
    return {
        (first, second, threads): us
        for (first, second, threads), us in switches_us.items()
        if not {first, second} <= mixed.get(threads, set())
    }


def learn_in_place(
    graph: Graph,
    tables: Mapping[int, CostTable],
    timed: Mapping[int, InPlace],
    models: Mapping[tuple[str, int], VariantModels],
    launches_us: Mapping[tuple[str, int], float],
    untouched: frozenset[str],
) -> dict[tuple[str, int], VariantModels]:
    """The models of all variants, those of the timed regions with what these say.

    The machine may be slower or faster now than when operators were measured; the whole model on
    LiteRT, of which a time is predicted from the operators', tells by what factor.

    Args:
        graph: the model.
        tables: thread count to the costs that its regions were searched with.
        timed: of ``time_in_place``.
        models: what is known so far, by target and threads.
        launches_us: microseconds of a launch by itself, likewise.
        untouched: targets whose regions' times have transfers in them.
    """
    learnt = dict(models)
    works = [workload(graph, graph.ops[op]) for op in graph.placed_ops]
    row = {op: i for i, op in enumerate(graph.placed_ops)}
    for threads, one in timed.items():
        table = tables[threads]
        column = table.targets.index("litert")
        litert = "litert", table.threads[column]
        pace = one.whole_us / (float(table.cost_us[:, column].sum()) + launches_us[litert])
        if not np.isfinite(pace) or pace <= 0:
            continue
        for column, target in enumerate(table.targets):
            if target in untouched:
                continue
            variant = target, table.threads[column]
            regions = [
                ([row[op] for op in region.ops], time_us / pace)
                for region, time_us in zip(one.regions, one.regions_us, strict=True)
                if region.device == target
            ]
            if variant == litert:
                regions.append((list(range(len(works))), one.whole_us / pace))
            if regions:
                before = learnt[variant]
                fitted = fit_in_place(
                    before.regions,
                    works,
                    table.alone_us[:, column],
                    launches_us[variant],
                    regions,
                )
                learnt[variant] = dataclasses.replace(before, regions=fitted)
    return learnt
