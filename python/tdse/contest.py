"""The contest: the best candidates and the simplest, built, checked and timed; one is kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress
from tdse.errors import PlacementError, TargetError, TdseError
from tdse.graph.model import Graph
from tdse.graph.regions import Region, check_regions
from tdse.measure.accuracy import Difference
from tdse.measure.activations import random_inputs
from tdse.measure.race import Entry, Result, race
from tdse.measure.stats import ratio
from tdse.search.objectives import Objective, uses_energy, value
from tdse.search.placement import Windows

_LAUNCHES = 3
# Timed seconds of a launch: at least enough for a median, at most what still sharpens it.
_LAUNCH_SECONDS = (0.6, 1.2)
# Share of what is left of the budget after which nothing more is built.
_BUILD_SHARE = 0.6
# A build for one target alone that is predicted to be this many times worse than the best candidate
# has lost before it starts, and is not built.
_HOPELESS = 2.0

# Wider intervals than this say that the machine is noisy, not that two candidates are equal.
_TIE = 1.02


@dataclass(frozen=True)
class Contestant:
    """A placement that may win.

    Attributes:
        name: shown to the user, unique in the contest.
        threads: thread count of its regions.
        regions: in the order they run.
        predicted_us: microseconds of one run; None where nothing is known of its operators.
        predicted_period_us: microseconds between two results of a stream, likewise.
        power_w: watts that it draws on average while it runs, modelled; None where the platform
            has no power figures.
        windows_us: when its regions are predicted to run, those of which something is known.
        difference: largest difference of a region from LiteRT's; None if it was not built.
        not_timed: why it was not built, or empty.
    """

    name: str
    threads: int
    regions: tuple[Region, ...]
    predicted_us: float | None
    predicted_period_us: float | None
    power_w: float | None = None
    windows_us: Windows = field(default_factory=dict)
    difference: Difference | None = None
    not_timed: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it uses, in order of first use."""
        return tuple(dict.fromkeys(region.device for region in self.regions))

    @property
    def lanes(self) -> int:
        """The number of lanes that it uses."""
        return len({lane for region in self.regions for lane in region.lanes})

    def energy_mj(self, latency_us: float) -> float | None:
        """Millijoules of a run that takes so long, modelled; None without power figures."""
        # A microsecond of a watt is a thousandth of a millijoule.
        return None if self.power_w is None else self.power_w * latency_us / 1e3

    def worth(self, goal: Objective, time_us: float) -> float:
        """What a time is worth for an objective; small is good.

        Args:
            goal: the objective.
            time_us: what counts for it: the time between two results of a stream for throughput,
                the time of one run for the others.
        """
        return value(goal, time_us, time_us, (self.power_w or 0.0) * time_us)

    def expected_us(self, goal: Objective) -> float | None:
        """The predicted time that counts for an objective; None where it is not known."""
        return self.predicted_period_us if goal == "throughput" else self.predicted_us

    def expected_worth(self, goal: Objective) -> float:
        """What is predicted for an objective; 0 where nothing is known."""
        return self.worth(goal, self.expected_us(goal) or 0.0)


@dataclass(frozen=True)
class Contest:
    """All contestants, what they measured, and who won.

    Attributes:
        winner: the best.
        contestants: all, also those that were not timed.
        results: name of a contestant to what it measured.
        goals: what was to be small.
        front: for several objectives, those that no other beats in all of them, by what was
            measured, the best for the first objective first; empty for one objective.
    """

    winner: Contestant
    contestants: tuple[Contestant, ...]
    results: Mapping[str, Result]
    goals: tuple[Objective, ...]
    front: tuple[Contestant, ...] = ()


class Builder:
    """Builds contestants in the model's process, each once.

    Args:
        child: that process.
        seed: of the activations that contestants are checked with.
    """

    def __init__(self, child: Child, seed: int) -> None:
        self._child = child
        self._seed = seed
        self._made: dict[tuple[int, tuple[Region, ...]], Mapping[str, Any]] = {}

    def build(self, contestant: Contestant) -> Mapping[str, Any]:
        """What the child says of a contestant that it has built and checked.

        Raises:
            TargetError: it cannot be compiled, or its results are off.
            CrashError: the child did not survive it.
        """
        key = (contestant.threads, contestant.regions)
        if key not in self._made:
            directory = self._child.directory / f"build{len(self._made)}"
            self._made[key] = self._child.ask(
                "build",
                silent_s=BUILD_SILENT_S,
                regions=[dataclasses.astuple(region) for region in contestant.regions],
                threads=contestant.threads,
                seed=self._seed,
                directory=str(directory),
            )
        return self._made[key]


def distinct(contestants: Sequence[Contestant]) -> list[Contestant]:
    """The contestants without those that equal an earlier one but for the name."""
    seen: dict[tuple[int, tuple[Region, ...]], Contestant] = {}
    for contestant in contestants:
        # A build for one target is worth its plain name.
        key = (contestant.threads, contestant.regions)
        if key not in seen or len(contestant.targets) == 1:
            seen[key] = contestant
    return list(seen.values())


def run_contest(
    graph: Graph,
    contestants: Sequence[Contestant],
    builder: Builder,
    *,
    seed: int,
    seconds: float,
    say: Progress,
    goals: Sequence[Objective] = ("latency",),
) -> Contest:
    """Build, check and time the contestants; the best by median wins, ties to the simplest.

    Args:
        graph: the model.
        contestants: distinct placements.
        builder: builds them.
        seed: of inputs and order.
        seconds: about what may be spent on timing.
        say: progress.
        goals: what is to be small, energies from measured times and modelled power. With several,
            the best for the first wins, and there is a front.

    Raises:
        PlacementError: no contestant could be built.
    """
    entered: list[Contestant] = []
    built: list[Entry] = []
    deadline = time.monotonic() + _BUILD_SHARE * seconds
    # What users run today is always timed; then the most promising come first.
    order = sorted(
        contestants,
        key=lambda c: (c.targets != ("litert",), c.expected_worth(goals[0])),
    )
    for i, contestant in enumerate(order):
        say("build", i, len(order), contestant.name)
        why_not = _hopeless(contestant, contestants, goals)
        if not why_not and i > len(contestants) // 2 and time.monotonic() > deadline:
            why_not = "the budget ended before it was built"
        if why_not:
            entered.append(dataclasses.replace(contestant, not_timed=why_not))
            continue
        try:
            made = builder.build(contestant)
        except TargetError as error:
            entered.append(dataclasses.replace(contestant, not_timed=str(error)))
            continue
        except CrashError as crash:
            entered.append(dataclasses.replace(contestant, not_timed=f"building it {crash.why}"))
            continue
        built.append(plan_entry(contestant.name, made, streamed=is_streamed(goals)))
        entered.append(
            dataclasses.replace(
                contestant,
                regions=tuple(map(Region.from_json, made["regions"])),
                difference=Difference(**made["difference"]),
            )
        )
    if not built:
        raise PlacementError(
            "no candidate could be built", where=graph.name, why=entered[0].not_timed
        )
    results, failed = _race(graph, built, seed, seconds, say)
    entered = [
        dataclasses.replace(c, not_timed=failed[c.name]) if c.name in failed else c for c in entered
    ]
    timed = [contestant for contestant in entered if contestant.name in results]
    front = _front(timed, results, goals) if len(goals) > 1 else ()
    winner = front[0] if front else _winner(timed, results, goals[0])
    if not graph.whole_reason:
        for contestant in {one.name: one for one in (winner, *front)}.values():
            check_regions(graph, contestant.regions)
    return Contest(winner, tuple(entered), results, tuple(goals), front)


def plan_entry(
    name: str, made: Mapping[str, Any], *, streamed: bool = False, traced: bool = False
) -> Entry:
    """What the child has built, to be timed; as a stream, or run by run, with its regions or not"""
    plan = {"plan": made["plan"], "libraries": made["libraries"]}
    return Entry(name, "plan", {**plan, "streamed": streamed, "traced": traced})


def is_streamed(goals: Sequence[Objective]) -> bool:
    """Whether a stream of runs is timed, and not one after the other."""
    return tuple(goals) == ("throughput",)


def _hopeless(
    contestant: Contestant, contestants: Sequence[Contestant], goals: Sequence[Objective]
) -> str:
    """Why it is not built: it is far behind for each of the objectives; empty if it may win."""
    if contestant.targets == ("litert",) or len(contestant.targets) > 1:
        return ""
    behind = []
    for goal in goals:
        if contestant.expected_us(goal) is None:
            return ""
        worths = [c.expected_worth(goal) for c in contestants if c.expected_us(goal) is not None]
        behind.append(contestant.expected_worth(goal) / (min(worths) or math.inf))
    if min(behind) <= _HOPELESS:
        return ""
    if not any(map(uses_energy, goals)):
        return f"its operators alone take {behind[0]:.1f} times as long as the best candidate"
    least = f"{min(behind):.1f} times that of the best candidate"
    return f"its {' and '.join(goals)} by its operators alone is at least {least}"


def _race(
    graph: Graph, entries: Sequence[Entry], seed: int, seconds: float, say: Progress
) -> tuple[dict[str, Result], dict[str, str]]:
    """The results of the candidates, and why some have none: their process failed."""
    low, high = _LAUNCH_SECONDS
    inputs = random_inputs(graph, seed)

    def run(entries: Sequence[Entry], launches: int, seconds: float) -> dict[str, Result]:
        return race(
            entries,
            inputs,
            launches=launches,
            seconds=seconds,
            seed=seed,
            progress=lambda done, total: say("race", done, total, ""),
        )

    seconds = min(max(seconds / 2 / _LAUNCHES, low), high)
    try:
        return run(entries, _LAUNCHES, seconds), {}
    except TdseError:
        failed = {}
        for entry in entries:
            try:
                run([entry], 1, low)
            except TdseError as error:
                failed[entry.name] = error.why
        left = [entry for entry in entries if entry.name not in failed]
        if not failed or not left:
            raise
        return run(left, _LAUNCHES, seconds), failed


def _winner(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goal: Objective
) -> Contestant:
    """The best; among those that cannot be told from it, the one with the fewest regions."""
    worths = {
        c.name: [c.worth(goal, median_us) for median_us in results[c.name].medians_us]
        for c in contestants
    }
    merit = {c.name: c.worth(goal, results[c.name].median_us) for c in contestants}
    best = min(contestants, key=lambda c: merit[c.name])
    tied = []
    for contestant in contestants:
        against = ratio(worths[contestant.name], worths[best.name])
        if against.low <= 1.0 and against.value <= _TIE:
            tied.append(contestant)
    return min(tied, key=lambda c: (c.lanes, len(c.regions), c.threads, merit[c.name]))


def _front(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goals: Sequence[Objective]
) -> tuple[Contestant, ...]:
    """Those that no other beats in all objectives, the best for the first objective first."""
    # It takes a quarter of a second to import.
    import moocore

    points = [[c.worth(goal, results[c.name].median_us) for goal in goals] for c in contestants]
    kept = np.flatnonzero(moocore.is_nondominated(np.array(points))).tolist()
    return tuple(contestants[i] for i in sorted(kept, key=lambda i: points[i]))
