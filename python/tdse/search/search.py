"""The search for placements: seeds by minimum cut, then local improvement by exact evaluation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tdse.errors import PlacementError
from tdse.search.constraints import Constraints
from tdse.search.cut import minimum_cut
from tdse.search.evaluate import Estimator, Evaluation, evaluate
from tdse.search.explain import explain
from tdse.search.problem import Problem

Assignment = tuple[int, ...]

# Borders are also weighted wrongly on purpose: the cut counts launches only roughly.
_CUT_SCALES = (1.0, 0.5, 2.0, 5.0)
# Local improvement gives up after this many disturbances in a row that led to nothing better.
_PATIENCE = 40
# A move is evaluated exactly if it looks no worse than this many launches.
_SLACK_LAUNCHES = 2.0
# Candidates predicted to take this many times the best one's time are not worth building.
_HOPELESS = 1.25
# Candidates are to differ in one operator of this many.
_DISTANT_SHARE = 50
# Placements by Z3 that are tried where no other fits.
_REPAIRED = 8
# Largest cluster of operators that a disturbance moves at once.
_DISTURBED_OPS = 8


@dataclass(frozen=True)
class Candidate:
    """A placement worth building.

    Attributes:
        assignment: device of each operator.
        predicted_us: microseconds of one run.
        n_regions: number of regions it leads to.
        origin: how it was found, for example ``minimum cut x2, improved``.
    """

    assignment: Assignment
    predicted_us: float
    n_regions: int
    origin: str


def search(
    problem: Problem,
    *,
    seed: int,
    budget_s: float,
    top: int = 4,
    progress: Callable[[str], None] | None = None,
) -> list[Candidate]:
    """Finds the best few placements, best first.

    Equal problems and seeds give equal answers, unless the budget ends the search early.

    Args:
        problem: the placement problem.
        seed: of the random disturbances.
        budget_s: seconds after which no further improvement is tried. The seeds themselves are
            always tried.
        top: how many placements are wanted at most. They are distinct and, where enough are
            known, differ from each other by more than a few operators.
        progress: called now and then with a line about the state of the search.

    Returns:
        At least one and at most ``top`` candidates.

    Raises:
        PlacementError: no placement obeys all rules; it says which operators and rules clash.
    """
    _refuse_impossible(problem)
    deadline = time.monotonic() + budget_s
    pool = _Pool(problem)
    for origin, assignment in _seeds(problem):
        pool.add(assignment, origin)
    if not pool.found:
        _add_repaired(problem, pool)
    climber = _Climber(problem, pool, deadline)
    for start in list(pool.ranked()):
        climber.climb(start.assignment, f"{start.origin}, improved")
        if progress is not None:
            progress(pool.summary())
    if len(problem.links) > 0 and any(len(choices) > 1 for choices in problem.choices):
        _disturb(problem, pool, climber, random.Random(seed), progress)
    return pool.select(top)


def _refuse_impossible(problem: Problem) -> None:
    if all(problem.choices):
        return
    if (conflict := explain(problem)) is not None:
        raise conflict.error()


def _seeds(problem: Problem) -> Iterator[tuple[str, Assignment]]:
    """Placements to start from, each with its origin."""
    costs, choices = problem.costs, problem.choices
    greedy = tuple(
        min(choices[op], key=lambda device: (costs[op][device], device))
        for op in range(problem.n_ops)
    )
    for device, name in enumerate(problem.variants):
        mostly = tuple(
            device if device in choices[op] else greedy[op] for op in range(problem.n_ops)
        )
        alone = all(device in allowed for allowed in choices)
        yield (f"all on {name}" if alone else f"{name} where legal"), mostly
    yield "fastest device of each op", greedy
    for scale in _CUT_SCALES:
        yield f"minimum cut x{scale:g}", minimum_cut(problem, greedy, scale=scale)


@dataclass
class _Pool:
    """All placements evaluated so far, and how each was found."""

    problem: Problem
    found: dict[Assignment, Candidate] = field(default_factory=dict)
    totals: dict[Assignment, float] = field(default_factory=dict)

    def add(self, assignment: Assignment, origin: str) -> bool:
        """Keeps a placement, made to fit the one-region rule; False if it cannot be kept."""
        for fitted in _fit_single_regions(self.problem, assignment):
            if fitted in self.found:
                return True
            result = self.evaluate(fitted)
            if not math.isinf(result.total_us):
                self.found[fitted] = Candidate(fitted, result.total_us, result.n_regions, origin)
                return True
        return False

    def evaluate(self, assignment: Assignment) -> Evaluation:
        """Evaluates exactly and remembers the total."""
        result = evaluate(self.problem, assignment)
        self.totals[assignment] = result.total_us
        return result

    def total_us(self, assignment: Assignment) -> float:
        """The exact total, evaluated at most once."""
        known = self.totals.get(assignment)
        return self.evaluate(assignment).total_us if known is None else known

    def ranked(self) -> list[Candidate]:
        """What was kept, best first; ties go to fewer regions, then to what was found first."""
        return sorted(self.found.values(), key=lambda one: (one.predicted_us, one.n_regions))

    def summary(self) -> str:
        """One line for a person who waits."""
        best = self.ranked()[0]
        return (
            f"{len(self.totals)} placements evaluated, best {best.predicted_us:.1f} us "
            f"in {best.n_regions} regions ({best.origin})"
        )

    def select(self, top: int) -> list[Candidate]:
        """The best, then the next best that differ from all chosen by more than a few ops.

        What was only passed through on the way to something better is taken where there are not
        enough others, and what is hopelessly slower than the best is not taken at all.
        """
        ranked = self.ranked()
        limit_us = _HOPELESS * ranked[0].predicted_us
        passed = sorted(
            (total_us, assignment)
            for assignment, total_us in self.totals.items()
            if total_us <= limit_us and assignment not in self.found
        )
        far = max(1, self.problem.n_ops // _DISTANT_SHARE)
        chosen: list[Candidate] = []
        for distance, known in ((far, True), (far, False), (1, True), (1, False)):
            near = ranked if known else map(self._passed, passed)
            for candidate in near:
                if len(chosen) >= max(1, top) or candidate.predicted_us > limit_us:
                    break
                if all(
                    _distance(candidate.assignment, one.assignment) >= distance for one in chosen
                ):
                    chosen.append(candidate)
        return sorted(chosen, key=lambda one: (one.predicted_us, one.n_regions))

    def _passed(self, visited: tuple[float, Assignment]) -> Candidate:
        n_regions = evaluate(self.problem, visited[1]).n_regions
        return Candidate(visited[1], visited[0], n_regions, "passed through")


class _Climber:
    """Hill climbing with moves of whole regions and of operators at their borders."""

    def __init__(self, problem: Problem, pool: _Pool, deadline: float) -> None:
        self._problem = problem
        self._pool = pool
        self._deadline = deadline
        self._estimator = Estimator(problem)
        self._slack_us = _SLACK_LAUNCHES * max(problem.launch_us.tolist(), default=0.0)
        self.near: list[list[int]] = [[] for _ in range(problem.n_ops)]
        for producer, consumer in problem.links:
            self.near[producer].append(consumer)
            self.near[consumer].append(producer)

    @property
    def out_of_time(self) -> bool:
        """The budget is spent."""
        return time.monotonic() >= self._deadline

    def climb(
        self, assignment: Assignment, origin: str, focus: frozenset[int] | None = None
    ) -> float:
        """Improves until no move helps; keeps the result in the pool and returns its total.

        ``focus`` limits the moves to those that touch the given operators or their regions.
        """
        current = assignment
        total_us = self._pool.total_us(current)
        improved = True
        while improved and not self.out_of_time:
            improved = False
            for ops, device in self._moves(current, focus):
                if self.out_of_time:
                    break
                moved = self._apply(current, ops, device)
                if moved == current:
                    continue
                moved_us = self._pool.total_us(moved)
                if moved_us < total_us:
                    current, total_us, improved = moved, moved_us, True
        if current != assignment:
            self._pool.add(current, origin)
        return total_us

    def _moves(
        self, assignment: Assignment, focus: frozenset[int] | None
    ) -> list[tuple[frozenset[int], int]]:
        """Moves that may help, the most promising first."""
        ranked = []
        for ops, device in self._neighbours(assignment, focus):
            change = self._estimator.delta(assignment, ops, device)
            # Flipping a region can save one launch for each region it touches.
            if change < self._slack_us * min(2, len(ops)):
                ranked.append((change, sorted(ops), device))
        return [(frozenset(ops), device) for _, ops, device in sorted(ranked)]

    def _neighbours(
        self, assignment: Assignment, focus: frozenset[int] | None
    ) -> set[tuple[frozenset[int], int]]:
        problem = self._problem
        moves: set[tuple[frozenset[int], int]] = set()
        for region in evaluate(problem, assignment).regions:
            if focus is not None and focus.isdisjoint(region):
                continue
            home = assignment[region[0]]
            for device in range(problem.n_variants):
                movable = frozenset(op for op in region if device in problem.choices[op])
                if device != home and movable:
                    moves.add((movable, device))
        for op in range(problem.n_ops) if focus is None else sorted(focus):
            home = assignment[op]
            around = {assignment[other] for other in self.near[op]}
            for device in problem.choices[op]:
                faster = problem.costs[op][device] < problem.costs[op][home]
                if device != home and (device in around or faster):
                    moves.add((frozenset((op,)), device))
                    moves.add((self._with_neighbours(assignment, op, device), device))
        return moves

    def _with_neighbours(self, assignment: Assignment, op: int, device: int) -> frozenset[int]:
        """The operator and those next to it that share its device and may follow it."""
        return frozenset(
            other
            for other in (op, *self.near[op])
            if assignment[other] == assignment[op] and device in self._problem.choices[other]
        )

    def _apply(self, assignment: Assignment, ops: frozenset[int], device: int) -> Assignment:
        moved = list(assignment)
        for op in ops:
            moved[op] = device
        return tuple(moved)


def _disturb(
    problem: Problem,
    pool: _Pool,
    climber: _Climber,
    chance: random.Random,
    progress: Callable[[str], None] | None,
) -> None:
    """Moves random clusters of the best placement and improves around them, while that helps."""
    movable = [op for op, choices in enumerate(problem.choices) if len(choices) > 1]
    fruitless = 0
    while fruitless < _PATIENCE and not climber.out_of_time:
        best = pool.ranked()[0]
        cluster = _cluster(climber.near, movable, chance)
        moved = list(best.assignment)
        device = chance.randrange(problem.n_variants)
        for op in cluster:
            if device in problem.choices[op]:
                moved[op] = device
        focus = frozenset(cluster) | {near for op in cluster for near in climber.near[op]}
        total_us = climber.climb(tuple(moved), f"{_stem(best.origin)}, disturbed", focus)
        if total_us < best.predicted_us:
            fruitless = 0
            if progress is not None:
                progress(pool.summary())
        else:
            fruitless += 1


def _stem(origin: str) -> str:
    return origin.removesuffix(", disturbed")


def _cluster(
    near: Sequence[Sequence[int]], movable: Sequence[int], chance: random.Random
) -> list[int]:
    """A random connected cluster of operators."""
    cluster = [chance.choice(movable)]
    for _ in range(chance.randrange(_DISTURBED_OPS)):
        around = sorted({other for op in cluster for other in near[op]} - set(cluster))
        if around:
            cluster.append(chance.choice(around))
    return cluster


def _fit_single_regions(problem: Problem, assignment: Assignment) -> Iterator[Assignment]:
    """The placement, and where it has too many regions on a device, those that keep one."""
    yield assignment
    for device, single in enumerate(problem.single_region.tolist()):
        if not single:
            continue
        regions = [
            region
            for region in evaluate(problem, assignment).regions
            if assignment[region[0]] == device
        ]
        for kept in sorted(regions, key=len, reverse=True) if len(regions) > 1 else ():
            moved = list(assignment)
            for op in {op for region in regions if region != kept for op in region}:
                others = [other for other in problem.choices[op] if other != device]
                if others:
                    moved[op] = min(others, key=lambda other: problem.costs[op][other])
            if tuple(moved) != assignment:
                yield tuple(moved)


def _add_repaired(problem: Problem, pool: _Pool) -> None:
    """Asks Z3 for valid placements, or for the reason why there are none."""
    if (conflict := explain(problem)) is not None:
        raise conflict.error()
    for genes in Constraints(problem, 0).seeds(_REPAIRED):
        pool.add(tuple(genes.variants), "repaired")
    if not pool.found:
        raise PlacementError(
            "no placement was found",
            why="none of those that were tried keeps to one region where only one is allowed",
            hint="pin fewer operators, or allow more targets",
        )


def _distance(first: Assignment, second: Assignment) -> int:
    return sum(one != other for one, other in zip(first, second, strict=True))
