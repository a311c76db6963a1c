"""Candidates that use cores which one region at a time leaves free: regions side by side.

For throughput, every region has a copy on each lane, and the runs of a stream take the copies in
turns. For anything else, branches of one run are placed side by side where that is predicted to
pay, with the slowdown of the model when it runs beside itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tdse.candidates import SEARCH_S, contestant_of
from tdse.child import CrashError, Progress
from tdse.contest import Builder, Contestant, is_streamed, plan_entry
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.measure.activations import random_inputs
from tdse.measure.race import race
from tdse.search import Objective, Problem, search

# Side by side must be predicted to be this much better, with no slowdown, to be looked into.
_PROMISING = 0.95
# Seconds of a launch that times the model alone and beside itself. A core that somebody else takes
# for a second must not decide: the best of several launches counts.
_SECONDS = 0.6
_LAUNCHES = 3
_ALONE, _BESIDE = "alone", "beside itself"


def lane_contestants(
    graph: Graph,
    problems: Mapping[int, Problem],
    contestants: Sequence[Contestant],
    goals: Sequence[Objective],
    cores: int,
    builder: Builder,
    *,
    seed: int,
    say: Progress,
) -> list[Contestant]:
    """Candidates on as many lanes as cores suffice for.

    Args:
        graph: a model that can be cut.
        problems: thread count to the problem of placing the model, one region at a time.
        contestants: candidates on one lane.
        goals: what is to be small.
        cores: of the CPU.
        builder: builds what is timed here.
        seed: of the search and of inputs.
        say: progress.
    """
    found: list[Contestant] = []
    for threads, problem in problems.items():
        lanes = cores // threads
        of_threads = [one for one in contestants if one.threads == threads]
        if lanes < 2 or not of_threads:
            continue
        say("search", len(found), len(contestants), f"{lanes} lanes of {threads} threads")
        of_threads.sort(key=lambda one: one.expected_worth(goals[0]))
        if is_streamed(goals):
            if not graph.why_stateful:
                slowdown = _slowdown(graph, of_threads, lanes, builder, seed)
                idle_w = float(problem.idle_w.sum())
                found += [copies(one, lanes, slowdown, idle_w) for one in of_threads]
        else:
            found += _side_by_side(graph, problem, of_threads, lanes, goals, builder, seed)
    return found


def copies(
    contestant: Contestant, lanes: int, slowdown: float | None = None, idle_w: float = 0.0
) -> Contestant:
    """The contestant with a copy of every region on each of some lanes.

    Args:
        contestant: on one lane.
        lanes: number of lanes.
        slowdown: factor by which a run takes longer while all lanes are busy; None if not known.
        idle_w: watts that the contestant's power has whatever runs.
    """
    alone_us, power_w = contestant.predicted_us, contestant.power_w
    period_us = None if alone_us is None or slowdown is None else alone_us * slowdown / lanes
    return dataclasses.replace(
        contestant,
        name=_name(contestant.name, lanes),
        regions=tuple(
            dataclasses.replace(region, lanes=tuple(range(lanes))) for region in contestant.regions
        ),
        predicted_period_us=period_us,
        power_w=None if power_w is None else idle_w + lanes * (power_w - idle_w),
    )


def _side_by_side(
    graph: Graph,
    problem: Problem,
    contestants: Sequence[Contestant],
    lanes: int,
    goals: Sequence[Objective],
    builder: Builder,
    seed: int,
) -> list[Contestant]:
    """The best candidate whose branches run side by side; none where that would not pay."""
    best = contestants[0]
    least_worth = best.expected_worth(goals[0])
    at_best = _found(graph, _on_lanes(problem, lanes, 1.0), best, lanes, goals, seed)
    if at_best.expected_worth(goals[0]) > _PROMISING * least_worth:
        return []
    slowdown = _slowdown(graph, contestants, lanes, builder, seed)
    if slowdown is None:
        return []
    real = _found(graph, _on_lanes(problem, lanes, slowdown), best, lanes, goals, seed)
    return [real] if real.lanes > 1 and real.expected_worth(goals[0]) < least_worth else []


def _found(
    graph: Graph,
    problem: Problem,
    best: Contestant,
    lanes: int,
    goals: Sequence[Objective],
    seed: int,
) -> Contestant:
    found = search(problem, goals, seed=seed, seconds=SEARCH_S)
    name = _name(f"placed x{best.threads}", lanes)
    return contestant_of(graph, problem, name, best.threads, found.candidates[0].genes)


def _on_lanes(problem: Problem, lanes: int, slowdown: float) -> Problem:
    """The problem with a core for each lane."""
    # The factor is of all other lanes together, the problem's of one other region.
    each = 1.0 + (slowdown - 1.0) / (lanes - 1)
    return dataclasses.replace(problem, device_cores=np.array([lanes]), slowdown=np.array([[each]]))


def _slowdown(
    graph: Graph, contestants: Sequence[Contestant], lanes: int, builder: Builder, seed: int
) -> float | None:
    """By what factor a run takes longer while every lane has one; None if none can be timed.

    Args:
        graph: the model.
        contestants: the first of these that can be built and run is timed.
        lanes, builder, seed: as of ``lane_contestants``.
    """
    for contestant in contestants:
        both = {_ALONE: contestant, _BESIDE: copies(contestant, lanes)}
        entries = []
        try:
            for name, one in both.items():
                entries.append(plan_entry(name, builder.build(one), streamed=name == _BESIDE))
            results = race(
                entries, random_inputs(graph, seed), launches=_LAUNCHES, seconds=_SECONDS, seed=seed
            )
        except (TdseError, CrashError):
            continue
        # Operators are timed in quiet moments, and so is what they are multiplied with.
        beside_us, alone_us = (min(results[name].medians_us) for name in (_BESIDE, _ALONE))
        return max(1.0, lanes * beside_us / alone_us)
    return None


def _name(name: str, lanes: int) -> str:
    return f"{name} on {lanes} lanes"
