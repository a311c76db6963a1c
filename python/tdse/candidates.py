"""From problems to candidates: what the search finds, and the whole model on each target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.child import Progress
from tdse.contest import Contestant
from tdse.graph.merge import topological
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.search import Candidate, Found, Problem, search
from tdse.search.checker import check
from tdse.search.native import Evaluator
from tdse.search.objectives import Objective
from tdse.search.schedule import Genes, Outcome, ScheduledRegion
from tdse.targets import target_threads

# Most searches settle earlier, or reach the bound.
SEARCH_S = 1.0
# Candidates of the front that are raced, for each of these.
_MOST_OF_FRONT = 3


@dataclass(frozen=True)
class Searched:
    """How a search ended.

    Attributes:
        threads: of the regions.
        in_place: whether regions of an earlier placement, timed in place, were learnt from.
        gap: by what share the best found may be above the optimum of the first objective, at
            most, within the cost model; None where the bound is 0.
        ended: ``optimal``, the bound was reached; ``settled``, nothing better was found for long;
            ``budget``, the time was spent.
        evaluations: placements that were evaluated.
        seconds: that it took.
    """

    threads: int
    in_place: bool
    gap: float | None
    ended: str
    evaluations: int
    seconds: float

    @classmethod
    def of(cls, found: Found, threads: int, *, in_place: bool = False) -> Searched:
        """That of a search which has found this."""
        gap = found.gap if math.isfinite(found.gap) else None
        return cls(threads, in_place, gap, found.ended, found.evaluations, found.seconds)


def search_each(
    problems: Mapping[int, Problem],
    goals: Sequence[Objective],
    *,
    seed: int,
    say: Progress,
) -> dict[int, Found]:
    """What the search finds for each thread count.

    Args:
        problems: thread count to the problem of placing the model.
        goals: what is to be small.
        seed: of the search.
        say: progress.

    Raises:
        PlacementError: no placement obeys the pins.
    """
    found: dict[int, Found] = {}
    for threads, problem in problems.items():
        say("search", len(found), len(problems), f"{threads} threads")
        found[threads] = search(problem, goals, seed=seed, seconds=SEARCH_S)
    return found


def placed_contestants(
    graph: Graph,
    problems: Mapping[int, Problem],
    found: Mapping[int, Found],
    goals: Sequence[Objective],
    *,
    suffix: str = "",
) -> list[Contestant]:
    """The best that was found for each thread count.

    For several objectives, a few of the front of all thread counts together.

    Args:
        graph: a model that can be cut.
        problems: thread count to the problem of placing the model, which says what to expect.
        found: what a search found, for these problems or for others of the same model.
        goals: what was to be small.
        suffix: of the contestants' names.
    """
    if len(goals) == 1:
        picks = [
            (f"placed x{threads}{suffix}", threads, one.candidates[0])
            for threads, one in found.items()
        ]
    else:
        picks = [
            (f"placed x{threads}{suffix} #{number}", threads, candidate)
            for number, (threads, candidate) in enumerate(_of_fronts(found), 1)
        ]
    return [
        contestant_of(graph, problems[threads], name, threads, candidate.genes)
        for name, threads, candidate in picks
    ]


def whole_contestants(graph: Graph, problems: Mapping[int, Problem]) -> list[Contestant]:
    """The whole model on each target, for each thread count, where that is legal.

    Args:
        graph: a model that can be cut.
        problems: thread count to the problem of placing it.
    """
    return [
        contestant_of(
            graph, problem, f"{name} x{threads}", threads, Genes((column,) * problem.n_ops)
        )
        for threads, problem in problems.items()
        for column, name in enumerate(problem.variants)
        if threads in target_threads(name, list(problems))
        and all(column in choices for choices in problem.choices)
    ]


def placed_regions(graph: Graph, problem: Problem, outcome: Outcome) -> tuple[Region, ...]:
    """The regions of a schedule for the graph's operators, in the order in which they start.

    Each is on the lane of a core that is free then; a core that has just made what the region
    reads is taken first.
    """
    scheduled = {region.ops[0]: region for region in outcome.schedule.regions}
    # Regions that take no time start together with what they read.
    ordered = topological([list(region.ops) for region in scheduled.values()], problem.links)
    assert ordered is not None, "the evaluation makes no circles"
    regions = sorted((scheduled[rows[0]] for rows in ordered), key=lambda one: one.start_us)
    lanes = _lanes(problem, regions)
    return tuple(
        Region(
            index,
            problem.variants[region.variant],
            tuple(graph.placed_ops[row] for row in region.ops),
            (lane,),
        )
        for index, (region, lane) in enumerate(zip(regions, lanes, strict=True))
    )


def _lanes(problem: Problem, regions: Sequence[ScheduledRegion]) -> list[int]:
    """The lane of each region; regions that overlap have different ones, numbered from 0 on."""
    region_of = {op: region for region, one in enumerate(regions) for op in one.ops}
    reads: list[set[int]] = [set() for _ in regions]
    for u, v in problem.links:
        if region_of[u] != region_of[v]:
            reads[region_of[v]].add(region_of[u])
    lane_of: list[int] = []
    last: list[int] = []
    for region, one in enumerate(regions):
        free = [lane for lane, before in enumerate(last) if regions[before].end_us <= one.start_us]
        near = [lane for lane in free if last[lane] in reads[region]]
        lane = min(near or free, default=len(last))
        last[lane : lane + 1] = [region]
        lane_of.append(lane)
    return lane_of


def _of_fronts(found: Mapping[int, Found]) -> list[tuple[int, Candidate]]:
    """A few of what no thread count's candidate beats in all objectives, evenly from end to end."""
    import moocore

    every = [(threads, one) for threads, search in found.items() for one in search.candidates]
    points = np.array([one.values for _, one in every])
    kept = np.flatnonzero(moocore.is_nondominated(points))
    front = sorted((every[i] for i in kept.tolist()), key=lambda pair: pair[1].values)
    count = min(len(front), _MOST_OF_FRONT)
    return [front[i] for i in np.linspace(0, len(front) - 1, count).round().astype(int).tolist()]


def contestant_of(
    graph: Graph, problem: Problem, name: str, threads: int, genes: Genes
) -> Contestant:
    """What the genes make of the model, checked.

    Args:
        graph: the model.
        problem: of placing it.
        name: of the contestant.
        threads: of its regions.
        genes: valid ones.
    """
    outcome = Evaluator(problem).outcome(genes)
    variants = [int(variant) for variant in genes.variants]
    check(problem, variants, [region.ops for region in outcome.schedule.regions])
    latency_us, regions = outcome.makespan_us, placed_regions(graph, problem, outcome)
    has_power = bool(problem.active_w.any()) and latency_us > 0
    return Contestant(
        name,
        threads,
        regions,
        latency_us,
        # On one lane, a run ends before the next begins; of others' streams nothing is known.
        latency_us if all(region.lanes == (0,) for region in regions) else None,
        # A microjoule in a microsecond is a watt.
        outcome.energy_uj / latency_us if has_power else None,
        {
            tuple(graph.placed_ops[row] for row in region.ops): (region.start_us, region.end_us)
            for region in outcome.schedule.regions
        },
    )
