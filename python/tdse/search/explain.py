"""Why no placement obeys the rules: which demands clash, and the smallest change that would do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tdse.errors import PlacementError
from tdse.search.demands import (
    LIMITS,
    OF_OPERATORS,
    OF_USERS,
    Demand,
    Kind,
    demands_of,
    limit_of,
    with_limit,
    without,
)
from tdse.search.problem import Problem, listed
from tdse.search.solver import GaveUpError, Solver
from tdse.search.statement import Statement
from tdse.search.words import change, reason

# Dead ends after which Z3 gives up: on the first question, which needs an answer; and on each that
# follows, of which there are many.
_FIRST_CONFLICTS = 30_000
_MORE_CONFLICTS = 2_000
# Conflicts that are told at once.
_MOST_CORES = 4
# How exactly a limit that could be met is told, as a factor.
_EXACTNESS = 1.01
# Limits that are this many times too low are not looked at more closely.
_MOST = 2.0**40

_OF_MODELS = (Kind.LEGALITY,)
_OF_PLATFORMS = tuple(kind for kind in Kind if kind not in (*OF_USERS, *_OF_MODELS))


class UndecidedError(PlacementError):
    """It takes too long to find out whether the rules can be obeyed."""


@dataclass(frozen=True)
class Conflict:
    """Demands that cannot all be met.

    Attributes:
        cores: each holds demands of which all but any one can be met. There is one for each
            operator that can run nowhere, or else a few that share at most what operators can run
            as.
        why: the same, as a sentence with the operators' labels.
        drop: the fewest demands without which all others can be met; no more of them of models and
            platforms than must be.
        hint: the same, as what the user can do. Of a limit it says how much is too little.
    """

    cores: tuple[tuple[Demand, ...], ...]
    why: str
    drop: tuple[Demand, ...]
    hint: str

    def error(self) -> PlacementError:
        """The conflict as an error."""
        return PlacementError("no placement is possible", why=self.why, hint=self.hint)


def explain(problem: Problem) -> Conflict | None:
    """Why no placement obeys the rules, or None if there may be one.

    Of limits on time, energy and memory only what is necessary is looked at, as ``statement`` says:
    with None, these may still not be met by any placement.

    Raises:
        UndecidedError: it takes too long to find out.
    """
    solver = Solver(Statement(problem), 0, tracked=True)
    demands = demands_of(problem)
    cores = _cores(problem, solver, demands)
    if not cores:
        return None
    drop = _fewest(solver, demands)
    least = {demand: _too_little(problem, demand, drop) for demand in drop if demand.kind in LIMITS}
    told = list(dict.fromkeys(reason(problem, core) for core in cores))
    why = listed(told) if not all(problem.choices) else "; besides, ".join(told)
    return Conflict(tuple(map(tuple, cores)), why, tuple(drop), change(problem, drop, least))


def _cores(problem: Problem, solver: Solver, demands: Sequence[Demand]) -> list[list[Demand]]:
    """All operators that can run nowhere; if there are none, a few conflicts that share nothing.

    Raises:
        PlacementError: Z3 gives up before it finds any.
    """
    stuck = [op for op, choices in enumerate(problem.choices) if not choices]
    if stuck:
        about = [one for one in demands if one.kind in OF_OPERATORS]
        return [_core(solver, [one for one in about if one.index == op]) for op in stuck]
    cores: list[list[Demand]] = []
    left = list(demands)
    while len(cores) < _MOST_CORES:
        try:
            core = _core(solver, left)
        except GaveUpError as error:
            if cores:
                break
            raise UndecidedError(
                "the rules of the placement could not be decided",
                why=f"Z3 gave up: {error}",
                hint="pin fewer operators, or allow more targets",
            ) from error
        # What operators can run as may be a part of several conflicts.
        told = {one for one in core if one.kind is not Kind.LEGALITY}
        left = [one for one in left if one not in told]
        cores += [core] if core else []
        if not told:
            break
    return cores


def _core(solver: Solver, demands: Sequence[Demand]) -> list[Demand]:
    """Demands that cannot all be met, of which none can be left out; none if all can be met.

    Demands about everything are left out first, if they can be, as they say less about what is
    wrong. One stays where Z3 gives up on the others.

    Raises:
        GaveUpError: on all of them.
    """
    if solver.solve(demands, conflicts=_FIRST_CONFLICTS) is not None:
        return []
    found = solver.core()
    core = [demand for demand in demands if demand in found]
    for demand in reversed(core):
        rest = [one for one in core if one != demand]
        if len(rest) == len(core):
            continue
        try:
            if solver.solve(rest, conflicts=_MORE_CONFLICTS) is None:
                found = solver.core()
                core = [one for one in rest if one in found]
        except GaveUpError:
            continue
    return core


def _fewest(solver: Solver, demands: Sequence[Demand]) -> list[Demand]:
    """The fewest demands to drop: of what users say, if that suffices.

    Else as few as can be of what models, then what platforms are like, and then of users.
    """
    tiers = [[one for one in demands if one.kind in kinds] for kinds in (_OF_MODELS, _OF_PLATFORMS)]
    users = [one for one in demands if one.kind in OF_USERS]
    drop = solver.fewest([*tiers[0], *tiers[1]], users, conflicts=_MORE_CONFLICTS)
    if drop is not None:
        return drop
    kept: list[Demand] = []
    all_dropped: list[Demand] = []
    for tier in (*tiers, users):
        dropped = solver.fewest(kept, tier, conflicts=_MORE_CONFLICTS)
        all_dropped += tier if dropped is None else dropped
        kept += [one for one in tier if one not in all_dropped]
    return all_dropped


def _too_little(problem: Problem, demand: Demand, drop: Iterable[Demand]) -> float:
    """A limit that is too low to be met once the other demands are dropped, but only just."""
    others = without(problem, [one for one in drop if one != demand])

    def suffices(limit: float) -> bool:
        solver = Solver(Statement(with_limit(others, demand, limit)), 0, tracked=False)
        try:
            return solver.solve(conflicts=_MORE_CONFLICTS) is not None
        except GaveUpError:
            return True

    low = limit_of(problem, demand)
    # A limit of nothing has no multiples.
    start = low or 1.0
    factor = _EXACTNESS
    while factor < _MOST and not suffices(start * factor):
        low, factor = start * factor, factor * factor
    high = start * factor
    while low and high / low > _EXACTNESS:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return low
