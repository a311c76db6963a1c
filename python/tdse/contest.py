"""The contest: the best candidates and the simplest, built, checked and timed; one is kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress
from tdse.errors import PlacementError, TargetError, TdseError
from tdse.graph.model import Graph
from tdse.graph.regions import Region, check_regions
from tdse.measure.accuracy import Difference
from tdse.measure.activations import random_inputs
from tdse.measure.race import Entry, Result, race
from tdse.measure.stats import ratio

_LAUNCHES = 3
# Timed seconds of a launch: at least enough for a median, at most what still sharpens it.
_LAUNCH_SECONDS = (0.6, 1.2)
# Share of what is left of the budget after which nothing more is built.
_BUILD_SHARE = 0.6
# A build for one target alone whose operators take this many times the best candidate's predicted
# time has lost before it starts, and is not built.
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
        difference: largest difference of a region from LiteRT's; None if it was not built.
        not_timed: why it was not built, or empty.
    """

    name: str
    threads: int
    regions: tuple[Region, ...]
    predicted_us: float | None
    difference: Difference | None = None
    not_timed: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it uses, in order of first use."""
        return tuple(dict.fromkeys(region.device for region in self.regions))


@dataclass(frozen=True)
class Contest:
    """All contestants, what they measured, and who won."""

    winner: Contestant
    contestants: tuple[Contestant, ...]
    results: Mapping[str, Result]


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
    child: Child,
    *,
    seed: int,
    seconds: float,
    say: Progress,
) -> Contest:
    """Build, check and time the contestants; the fastest by median wins, ties to the simplest.

    Args:
        graph: the model.
        contestants: distinct placements.
        child: builds them.
        seed: of inputs and order.
        seconds: about what may be spent on timing.
        say: progress.

    Raises:
        PlacementError: no contestant could be built.
    """
    predicted = [c.predicted_us for c in contestants if c.predicted_us is not None]
    best_us = min(predicted, default=0.0)
    entered: list[Contestant] = []
    built: list[Entry] = []
    deadline = time.monotonic() + _BUILD_SHARE * seconds
    # What users run today is always timed; then the most promising come first.
    order = sorted(contestants, key=lambda c: (c.targets != ("litert",), c.predicted_us or 0.0))
    for i, contestant in enumerate(order):
        say("build", i, len(order), contestant.name)
        why_not = _hopeless(contestant, best_us)
        if not why_not and i > len(contestants) // 2 and time.monotonic() > deadline:
            why_not = "the budget ended before it was built"
        if why_not:
            entered.append(dataclasses.replace(contestant, not_timed=why_not))
            continue
        try:
            made = child.ask(
                "build",
                silent_s=BUILD_SILENT_S,
                regions=[[r.index, r.device, r.ops] for r in contestant.regions],
                threads=contestant.threads,
                seed=seed,
                directory=str(child.directory / f"contestant{i}"),
            )
        except TargetError as error:
            entered.append(dataclasses.replace(contestant, not_timed=str(error)))
            continue
        except CrashError as crash:
            entered.append(dataclasses.replace(contestant, not_timed=f"building it {crash.why}"))
            continue
        built.append(_entry(contestant.name, made))
        entered.append(
            dataclasses.replace(
                contestant,
                regions=tuple(Region(i, device, tuple(ops)) for i, device, ops in made["regions"]),
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
    winner = _winner([c for c in entered if c.name in results], results)
    if not graph.whole_reason:
        check_regions(graph, winner.regions)
    return Contest(winner, tuple(entered), results)


def _hopeless(contestant: Contestant, best_us: float) -> str:
    predicted = contestant.predicted_us
    if predicted is None or contestant.targets == ("litert",) or len(contestant.targets) > 1:
        return ""
    if predicted <= _HOPELESS * best_us:
        return ""
    return f"its operators alone take {predicted / best_us:.1f} times as long as the best candidate"


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


def _entry(name: str, made: Mapping[str, Any]) -> Entry:
    return Entry(name, "plan", {"plan": made["plan"], "libraries": made["libraries"]})


def _winner(contestants: Sequence[Contestant], results: Mapping[str, Result]) -> Contestant:
    """The fastest; among those that cannot be told from it, the one with the fewest regions."""
    fastest = min(contestants, key=lambda c: results[c.name].median_us)
    reference = results[fastest.name].medians_us
    tied = []
    for contestant in contestants:
        against = ratio(results[contestant.name].medians_us, reference)
        if against.low <= 1.0 and against.value <= _TIE:
            tied.append(contestant)
    return min(tied, key=lambda c: (len(c.regions), c.threads, results[c.name].median_us))
