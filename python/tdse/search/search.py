"""The search for placements: evolution with Z3's repair, held against a lower bound."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from tdse.errors import PlacementError
from tdse.search.bounds import lower_bound
from tdse.search.constraints import Constraints
from tdse.search.evolution import Evolution
from tdse.search.explain import UndecidedError, explain
from tdse.search.individual import Individual, front, hypervolume, worst
from tdse.search.native import Evaluator
from tdse.search.objectives import UNITS, Objective
from tdse.search.problem import Problem
from tdse.search.schedule import Genes, Outcome, Rule
from tdse.search.seeds import seed_genes

# Values that differ by less are equal.
_EQUAL = 1e-9
# Where costs are only known to within intervals, so are these: then the better one at the upper
# ends of the intervals is preferred.
_TIED = 1e-3
# The search ends where this share of its rounds, and so many, led to nothing better.
_SETTLED_SHARE, _SETTLED_ROUNDS = 0.6, 24
# Valid placements that Z3 is asked for where the rules leave few.
_REPAIRED_SEEDS = 8

_BROKEN: dict[Rule, str] = {
    Rule.ILLEGAL: "{:.0f} operators are where they cannot run",
    Rule.FORBIDDEN_PAIR: "{:.0f} forbidden pairs share a device",
    Rule.SINGLE_REGION: "there are {:.0f} regions too many of variants that may have one",
    Rule.PREFIX: "{:.0f} tensors enter a variant that must come first from elsewhere",
    Rule.NO_LINK: "{:.0f} tensors have no way to where they are read",
    Rule.PARAMETERS: "constants exceed what devices hold by {:.0f} bytes",
    Rule.MEMORY: "memories are exceeded by {:.0f} bytes",
    Rule.DEADLINE: "deadlines are missed by {:.1f} us",
    Rule.PERIOD: "devices and links are loaded with {:.2f} times more than they can keep up with",
    Rule.ENERGY: "the energy budget is exceeded by {:.1f} uJ",
}


@dataclass(frozen=True)
class Candidate:
    """A valid placement, with its schedule.

    Attributes:
        genes: what was decided.
        outcome: what follows from it.
        values: for each objective of the search, in the units of ``objectives.UNITS``.
    """

    genes: Genes
    outcome: Outcome
    values: tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        objectives: what was minimised.
        candidates: best first; for several objectives the front, by their values.
        bounds: for each objective, what no placement can be better than.
        evaluations: placements that were evaluated.
        seconds: that it took.
        ended: why: the bound was reached, nothing better was found for long, or the budget
            was spent.
    """

    objectives: tuple[Objective, ...]
    candidates: tuple[Candidate, ...]
    bounds: tuple[float, ...]
    evaluations: int
    seconds: float
    ended: Literal["optimal", "settled", "budget"]

    @property
    def gap(self) -> float:
        """By what share the best may be above the optimum of the first objective, at most."""
        best, bound = self.candidates[0].values[0], self.bounds[0]
        return max(0.0, best / bound - 1.0) if bound > 0 else (math.inf if best > 0 else 0.0)


def search(
    problem: Problem,
    objectives: Sequence[Objective] = ("latency",),
    *,
    seed: int = 0,
    seconds: float = math.inf,
    evaluations: float = math.inf,
    progress: Callable[[str], None] | None = None,
) -> Found:
    """Finds the best placements. All statements about them are within the problem's costs.

    Equal problems, seeds and evaluations give equal answers, on any number of cores, unless the
    seconds end the search.

    Args:
        problem: the placement problem.
        objectives: what is to be small; for several, the front is searched.
        seed: of everything random.
        seconds: after which no round is begun.
        evaluations: of placements, after which no round is begun.
        progress: called after each round with a line about the state of the search.

    Raises:
        PlacementError: no valid placement exists, with the reasons and the least change that
            would do; or none was found.
    """
    begun = time.monotonic()
    if not all(problem.choices):
        _demand_possible(problem)
    evolution = Evolution(problem, objectives, seed)
    evolution.start(seed_genes(problem))
    mender = _Mender(problem, seed, evolution)
    mender.mend()
    bounds: tuple[float, ...] | None = None
    best, improved = evolution.population, 0
    ended: Literal["optimal", "settled", "budget"] = "budget"
    while evolution.evaluations < evaluations and time.monotonic() - begun < seconds:
        evolution.step(evaluations - evolution.evaluations, begun + seconds)
        mender.mend()
        if bounds is None:
            # After the first round, which is often shorter than this.
            bounds = _bounds(problem, objectives)
        if math.isinf(bounds[0]):
            break
        if progress is not None:
            progress(_line(evolution, bounds))
        if _is_better(evolution.population, best):
            best, improved = evolution.population, evolution.round
        if _is_optimal(evolution.population[0], bounds):
            ended = "optimal"
            break
        if evolution.round - improved > max(_SETTLED_ROUNDS, _SETTLED_SHARE * evolution.round):
            ended = "settled"
            break
    if not evolution.population[0].is_valid:
        mender.give_up(proven=bounds is not None and math.isinf(bounds[0]))
    kept = [one for one in evolution.population if one.is_valid]
    kept = front(kept) if len(objectives) > 1 else _by_upper_ends(problem, kept)
    evaluator = Evaluator(problem)
    return Found(
        tuple(objectives),
        tuple(Candidate(one.genes, evaluator.outcome(one.genes), one.values) for one in kept),
        _bounds(problem, objectives) if bounds is None else bounds,
        evolution.evaluations,
        time.monotonic() - begun,
        ended,
    )


def _demand_possible(problem: Problem) -> None:
    conflict = explain(problem)
    if conflict is not None:
        raise conflict.error()


class _Mender:
    """Brings valid placements into a population that has none."""

    def __init__(self, problem: Problem, seed: int, evolution: Evolution) -> None:
        self._problem = problem
        self._seed = seed
        self._evolution = evolution
        self._constraints: Constraints | None = None

    def mend(self) -> None:
        """Repairs what the population has, as long as nothing in it is valid.

        Raises:
            PlacementError: nothing can be valid.
        """
        population = self._evolution.population
        if population[0].is_valid:
            return
        if self._constraints is None:
            # What Z3 cannot decide, the search may still find.
            with contextlib.suppress(UndecidedError):
                _demand_possible(self._problem)
            self._constraints = Constraints(self._problem, self._seed)
            self._evolution.start(self._constraints.seeds(_REPAIRED_SEEDS))
        repaired = [self._constraints.repair(one.genes) for one in population]
        self._evolution.start(genes for genes in repaired if genes is not None)

    def give_up(self, *, proven: bool) -> NoReturn:
        """Says what is wrong with the best that was found.

        Args:
            proven: that nothing can be valid.

        Raises:
            PlacementError: always.
        """
        evaluator = Evaluator(self._problem)
        violations = evaluator.assess(self._evolution.population[0].genes).violations[0]
        broken = [_BROKEN[rule].format(violations[rule]) for rule in Rule if violations[rule] > 0]
        why = f"in the best of {self._evolution.evaluations}, {'; '.join(broken)}"
        if proven:
            raise PlacementError("no placement is possible", why=why, hint="raise these limits")
        raise PlacementError(
            "no valid placement was found",
            why=f"{why}; it is not proven that there is none",
            hint="give the search more time, or raise these limits",
        )


def _bounds(problem: Problem, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(lower_bound(problem, objective) for objective in objectives)


def _is_optimal(best: Individual, bounds: Sequence[float]) -> bool:
    reached = best.is_valid and best.values[0] <= bounds[0] * (1 + _EQUAL)
    return reached and len(bounds) == 1


def _is_better(population: Sequence[Individual], than: Sequence[Individual]) -> bool:
    """The first is, or for several objectives the volume that they dominate."""
    if not (population[0].is_valid and than[0].is_valid):
        return population[0].penalty < than[0].penalty
    if len(population[0].values) == 1:
        return population[0].values[0] < than[0].values[0] * (1 - _EQUAL)
    corner = worst([*population, *than])
    return hypervolume(population, corner) > hypervolume(than, corner) * (1 + _EQUAL)


def _by_upper_ends(problem: Problem, valid: Sequence[Individual]) -> list[Individual]:
    """Best first; of about equal ones that first whose costs at the worst are least."""
    limit = valid[0].values[0] * (1 + _TIED)
    tied = [one for one in valid if one.values[0] <= limit]
    if len(tied) == 1 or (problem.cost_high_us == problem.cost_us).all():
        return list(valid)
    high = Evaluator(problem.at("high"))
    worst_us = {id(one): float(high.assess(one.genes).makespan_us[0]) for one in tied}
    return sorted(tied, key=lambda one: worst_us[id(one)]) + list(valid[len(tied) :])


def _line(evolution: Evolution, bounds: Sequence[float]) -> str:
    best = evolution.population[0]
    if not best.is_valid:
        return f"{evolution.evaluations} placements evaluated, none valid yet"
    named = ", ".join(
        f"{objective} {value:.1f} {UNITS[objective]} (bound {bound:.1f})"
        for objective, value, bound in zip(evolution.objectives, best.values, bounds, strict=True)
    )
    return f"{evolution.evaluations} placements evaluated, {named} in {best.n_regions} regions"
