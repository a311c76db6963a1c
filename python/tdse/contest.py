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
from tdse.measure.deadline import Stop
from tdse.measure.race import Entry, Result, race
from tdse.measure.stats import Ratio, ratio
from tdse.outputs import OutputGap
from tdse.search.objectives import Objective, uses_energy, value
from tdse.search.placement import Windows

_LAUNCHES = 3
# As many more, where these do not tell whether the best is faster than LiteRT.
_MORE_LAUNCHES = 5
# Timed seconds of a launch: at least enough for a median, at most what still sharpens it.
_LAUNCH_SECONDS = (0.6, 1.2)
# Share of what is left of the budget after which nothing more is built.
_BUILD_SHARE = 0.6
# A build for one target alone that is predicted to be this many times worse than the best candidate
# is not built: regions are faster than the sum of their operators, but not by so much.
_NOT_BUILT = 5.0
# One that was this many times worse in the first launch is not raced further.
_HOPELESS = 2.0

# Wider intervals than this say that the machine is noisy, not that two candidates are equal.
_TIE = 1.02
# A stream on fewer threads a lane may be surely slower by so much. Threads wait for each other in
# every operator, copies for nobody: of EfficientNet-B0, two threads of LiteRT and two copies took
# the same while there were two cores, and threads 13 to 16 % longer than copies while one of them
# was gone (benchmarks/streams.py).
_TIE_WITH_FEWER_THREADS = 1.05


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
        outputs: its outputs beside LiteRT's; None if it was not built, or the model is not cut.
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
    outputs: OutputGap | None = None
    not_timed: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it uses, in order of first use."""
        return tuple(dict.fromkeys(region.device for region in self.regions))

    @property
    def is_close(self) -> bool:
        """Whether its outputs are not further from LiteRT's than they may be, if that is known."""
        return self.outputs is None or self.outputs.is_allowed

    @property
    def lanes(self) -> int:
        """The number of lanes that it uses."""
        return len({lane for region in self.regions for lane in region.lanes})

    def checked(self, made: Mapping[str, Any]) -> Contestant:
        """The contestant as ``Builder.build`` made and checked it: regions may have been cut."""
        outputs = made["outputs"]
        return dataclasses.replace(
            self,
            regions=tuple(map(Region.from_json, made["regions"])),
            difference=Difference(**made["difference"]),
            outputs=None if outputs is None else OutputGap.from_json(outputs),
        )

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
        results: name of a contestant to what it measured; none of a machine that is not this one.
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

    Attributes:
        stop: asked for where as few as possible are to be built and timed.
    """

    def __init__(self, child: Child, seed: int) -> None:
        self.stop = child.stop
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

    One whose outputs are too far from LiteRT's is not timed, unless all are.

    What is not surely faster than the model on LiteRT alone, by the upper end of its interval, does
    not win against it.

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
    far: list[Entry] = []
    deadline = time.monotonic() + _BUILD_SHARE * seconds
    # What users run today is always timed; then the most promising come first.
    order = sorted(
        contestants,
        key=lambda c: (c.targets != ("litert",), c.expected_worth(goals[0])),
    )
    for i, contestant in enumerate(order):
        say("build", i, len(order), contestant.name)
        why_not = _far_behind(contestant, contestants, goals)
        if not why_not and i > len(contestants) // 2 and time.monotonic() > deadline:
            why_not = "the budget ended before it was built"
        # Two are enough to choose from: what users run today, and the most promising.
        if not why_not and len(built) > 1 and builder.stop.is_asked:
            why_not = "it was ended early, before it was built"
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
        contestant = contestant.checked(made)
        entry = plan_entry(contestant.name, made, streamed=is_streamed(goals))
        (built if contestant.is_close else far).append(entry)
        entered.append(contestant)
    if built:
        # What is close to LiteRT is preferred to what is not, however fast.
        entered = [one if one.is_close else _refused(one) for one in entered]
    else:
        built = far
    if not built:
        raise PlacementError(
            "no candidate could be built", where=graph.name, why=entered[0].not_timed
        )
    races = _Races(graph, seed, seconds, say, builder.stop)
    results, out = races.first(built)
    timed = [contestant for contestant in entered if contestant.name in results]
    out |= _hopeless(timed, results, goals)
    timed = [contestant for contestant in timed if contestant.name not in out]
    entered = [
        dataclasses.replace(c, not_timed=out[c.name]) if c.name in out else c for c in entered
    ]
    left = [entry for entry in built if entry.name not in out]
    results = races.more(left, results, _LAUNCHES - 1)
    if len(goals) == 1 and not _is_settled(timed, results, goals[0]):
        results = races.more(left, results, _MORE_LAUNCHES)
    front = _front(timed, results, goals) if len(goals) > 1 else ()
    winner = front[0] if front else _winner(timed, results, goals[0])
    if not graph.whole_reason:
        for contestant in {one.name: one for one in (winner, *front)}.values():
            check_regions(graph, contestant.regions)
    return Contest(winner, tuple(entered), results, tuple(goals), front)


def _refused(contestant: Contestant) -> Contestant:
    return dataclasses.replace(
        contestant, not_timed=f"its outputs differ from LiteRT's by {contestant.outputs}"
    )


def plan_entry(
    name: str, made: Mapping[str, Any], *, streamed: bool = False, traced: bool = False
) -> Entry:
    """What the child has built, to be timed; as a stream, or run by run, with its regions or not"""
    plan = {"plan": made["plan"], "libraries": made["libraries"]}
    return Entry(name, "plan", {**plan, "streamed": streamed, "traced": traced})


def is_streamed(goals: Sequence[Objective]) -> bool:
    """Whether a stream of runs is timed, and not one after the other."""
    return tuple(goals) == ("throughput",)


def _far_behind(
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
    if min(behind) <= _NOT_BUILT:
        return ""
    if not any(map(uses_energy, goals)):
        return f"its operators alone take {behind[0]:.1f} times as long as the best candidate"
    least = f"{min(behind):.1f} times that of the best candidate"
    return f"its {' and '.join(goals)} by its operators alone is at least {least}"


def _hopeless(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goals: Sequence[Objective]
) -> dict[str, str]:
    """Builds for one target, other than LiteRT, that are far behind for each of the objectives.

    Returns:
        Their names, and by how much.
    """
    behind: dict[str, str] = {}
    worths = {
        c.name: [c.worth(goal, results[c.name].median_us) for goal in goals] for c in contestants
    }
    least = [min(values) for values in zip(*worths.values(), strict=True)]
    for one in contestants:
        if one.targets == ("litert",) or len(one.targets) > 1:
            continue
        times = min(mine / best for mine, best in zip(worths[one.name], least, strict=True))
        if times > _HOPELESS:
            behind[one.name] = f"its {' and '.join(goals)} was {times:.1f} times that of the best"
    return behind


class _Races:
    """Launches of a race, one set after another.

    Args:
        graph: the model.
        seed: of inputs and order.
        seconds: about what may be spent.
        say: progress.
        stop: once it is asked for, launches after the first are left out.
    """

    def __init__(self, graph: Graph, seed: int, seconds: float, say: Progress, stop: Stop) -> None:
        low, high = _LAUNCH_SECONDS
        self._seconds = min(max(seconds / 2 / _LAUNCHES, low), high)
        self._inputs = random_inputs(graph, seed)
        self._seed = seed
        self._say = say
        self._stop = stop
        self._launches = 0

    def first(self, entries: Sequence[Entry]) -> tuple[dict[str, Result], dict[str, str]]:
        """The results of one launch, and why some have none: their process failed."""
        try:
            return self._run(entries, 1), {}
        except TdseError:
            failed = {}
            for entry in entries:
                try:
                    self._run([entry], 1)
                except TdseError as error:
                    failed[entry.name] = error.why
            left = [entry for entry in entries if entry.name not in failed]
            if not failed or not left:
                raise
            return self._run(left, 1), failed

    def more(
        self, entries: Sequence[Entry], results: Mapping[str, Result], launches: int
    ) -> dict[str, Result]:
        """The results of the entries with those of more launches, unless told to stop."""
        if self._stop.is_asked:
            return dict(results)
        more = self._run(entries, launches)
        return {
            entry.name: Result(entry.name, results[entry.name].laps + more[entry.name].laps)
            for entry in entries
        }

    def _run(self, entries: Sequence[Entry], launches: int) -> dict[str, Result]:
        first, self._launches = self._launches, self._launches + launches
        return race(
            entries,
            self._inputs,
            launches=launches,
            seconds=self._seconds,
            seed=self._seed + first,
            progress=lambda done, total: self._say("race", first + done, first + total, ""),
            stop=self._stop,
        )


def _is_settled(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goal: Objective
) -> bool:
    """Whether the best is known to be faster than LiteRT, or is LiteRT."""
    plain = _on_litert(contestants, goal)
    best = _fastest(contestants, results, goal)
    return not plain or best in plain or _beats(best, plain, results, goal)


def _on_litert(contestants: Sequence[Contestant], goal: Objective) -> list[Contestant]:
    """Those who run as LiteRT does by itself; for a stream also copies of it."""
    return [
        c
        for c in contestants
        if c.targets == ("litert",)
        and len(c.regions) == 1
        and (c.lanes == 1 or goal == "throughput")
    ]


def _fastest(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goal: Objective
) -> Contestant:
    return min(contestants, key=lambda c: _merit(c, results, goal))


def _beats(
    one: Contestant,
    others: Sequence[Contestant],
    results: Mapping[str, Result],
    goal: Objective,
) -> bool:
    """Whether one is surely better than the best of the others."""
    return _is_better(one, _fastest(others, results, goal), results, goal)


def _is_better(
    one: Contestant, other: Contestant, results: Mapping[str, Result], goal: Objective
) -> bool:
    """Whether the upper end of the interval of what one is worth is below the other's."""
    return _against(one, other, results, goal).high < 1.0


def _against(
    one: Contestant, other: Contestant, results: Mapping[str, Result], goal: Objective
) -> Ratio:
    mine, others = (
        [c.worth(goal, median_us) for median_us in results[c.name].medians_us] for c in (one, other)
    )
    return ratio(mine, others)


def _merit(contestant: Contestant, results: Mapping[str, Result], goal: Objective) -> float:
    return contestant.worth(goal, results[contestant.name].median_us)


def _winner(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goal: Objective
) -> Contestant:
    """The simplest of the best; LiteRT, where that is not surely better."""
    winner = _simplest(contestants, results, goal)
    plain = _on_litert(contestants, goal)
    if not plain or winner in plain or _beats(winner, plain, results, goal):
        return winner
    return _simplest(plain, results, goal)


def _simplest(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goal: Objective
) -> Contestant:
    """Among those that cannot be told from the best, the one with the fewest regions.

    Of streams the one with the fewest threads a lane.
    """
    best = _fastest(contestants, results, goal)
    is_stream = goal == "throughput"
    tied = []
    for contestant in contestants:
        has_fewer = is_stream and contestant.threads < best.threads
        against = _against(contestant, best, results, goal)
        if (has_fewer and against.value <= _TIE_WITH_FEWER_THREADS) or (
            against.low <= 1.0 and against.value <= _TIE
        ):
            tied.append(contestant)

    def rank(one: Contestant) -> tuple[float, ...]:
        simple = one.lanes, len(one.regions), one.threads
        first = one.threads if is_stream else 0
        return first, *simple, _merit(one, results, goal)

    return min(tied, key=rank)


def _front(
    contestants: Sequence[Contestant], results: Mapping[str, Result], goals: Sequence[Objective]
) -> tuple[Contestant, ...]:
    """Those that no other beats in all objectives, the best for the first objective first."""
    # It takes a quarter of a second to import.
    import moocore

    points = [[c.worth(goal, results[c.name].median_us) for goal in goals] for c in contestants]
    kept = np.flatnonzero(moocore.is_nondominated(np.array(points))).tolist()
    return tuple(contestants[i] for i in sorted(kept, key=lambda i: points[i]))
