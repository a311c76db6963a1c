"""Ways to search for a placement, from random ones up to tdse's search, at equal budgets.

All of them minimise latency, use one core, and get their figures from the same evaluation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from tdse.search.constraints import Constraints
from tdse.search.evolution import Evolution
from tdse.search.native import Evaluations, Evaluator
from tdse.search.objectives import penalties
from tdse.search.problem import Problem
from tdse.search.schedule import Genes, Rule
from tdse.search.seeds import seed_genes

_BATCH = 500
_POPULATION = 100
_CROSSOVER_SHARE = 0.9
# Rules that schedules play no part in.
_STATIC = [rule for rule in Rule if rule <= Rule.PARAMETERS]

Variants = NDArray[np.uint8]


@dataclass
class Tally:
    """What a strategy may spend, has spent, and has come to.

    Attributes:
        most_evaluations: placements that it may evaluate.
        most_seconds: that it may take, of the processor: what else the machine does is no matter.
        value: the best valid latency, inf if there was none.
        evaluations: placements that were evaluated.
        evaluating_s: seconds spent on that, where they were asked for.
        begun: on the processor's clock.
        finished_s: seconds that it took, once it is finished.
    """

    most_evaluations: float
    most_seconds: float
    value: float = math.inf
    evaluations: int = 0
    evaluating_s: float = 0.0
    begun: float = field(default_factory=time.process_time)

    finished_s: float | None = None

    @property
    def seconds(self) -> float:
        """Taken so far, or until it was finished."""
        if self.finished_s is not None:
            return self.finished_s
        return time.process_time() - self.begun

    def finish(self) -> None:
        """Stops the clock."""
        self.finished_s = self.seconds

    @property
    def left(self) -> int:
        """Evaluations left, 0 after the time."""
        if self.seconds > self.most_seconds:
            return 0
        return max(0, int(min(self.most_evaluations - self.evaluations, 2**40)))

    def evaluate(self, evaluator: Evaluator, variants: Variants) -> Evaluations:
        """Evaluates placements and takes note of the best."""
        begun = time.process_time()
        figures = evaluator.evaluate(variants)
        self.evaluating_s += time.process_time() - begun
        self.evaluations += len(variants)
        valid = ~figures.violations.any(axis=1)
        self.note(float(figures.makespan_us[valid].min(initial=math.inf)))
        return figures

    def note(self, value: float) -> None:
        """Takes note of a valid placement's value."""
        self.value = min(self.value, value)


Strategy = Callable[[Problem, int, Tally], None]


def draw_at_random(problem: Problem, seed: int, tally: Tally) -> None:
    """Variants drawn anew for each placement, of those each operator may run as."""
    chance, evaluator, choices = np.random.default_rng(seed), Evaluator(problem), _Choices(problem)
    while (left := tally.left) > 0:
        tally.evaluate(evaluator, choices.draw(chance, min(left, _BATCH)))


def evolve_variants(*, repair: bool = False, seeds: bool = False) -> Strategy:
    """An evolutionary algorithm as in textbooks, on the variants alone.

    Tournaments of two, one-point crossover, mutation of one operator on average, the best of
    parents and children survive; a broken rule costs what it costs in tdse's search.

    Args:
        repair: Z3 mends children that break rules that schedules play no part in.
        seeds: tdse's seeds are in the first population.
    """

    def run(problem: Problem, seed: int, tally: Tally) -> None:
        chance, evaluator = np.random.default_rng(seed), Evaluator(problem)
        choices, weights = _Choices(problem), penalties(problem)
        constraints = Constraints(problem, seed) if repair else None
        population = choices.draw(chance, _POPULATION)
        if seeds:
            given = np.unique([np.asarray(one.variants) for one in seed_genes(problem)], axis=0)
            population[: len(given)] = given[:_POPULATION]
        merits = _merits(tally.evaluate(evaluator, population), weights)
        while (left := tally.left) > 0:
            children = choices.children(chance, population, merits)[:left]
            if constraints is not None:
                children = _mended(evaluator, constraints, children, tally)
            found = _merits(tally.evaluate(evaluator, children), weights)
            population, merits = np.vstack([population, children]), np.append(merits, found)
            best = np.argsort(merits, kind="stable")[:_POPULATION]
            population, merits = population[best], merits[best]

    return run


def evolve_with_pymoo(problem: Problem, seed: int, tally: Tally) -> None:
    """The same operators in pymoo's NSGA-II, with its rule for broken constraints."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem as Stated
    from pymoo.operators.crossover.pntx import SinglePointCrossover
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    choices, evaluator, weights = _Choices(problem), Evaluator(problem), penalties(problem)

    class Placing(Stated):  # type: ignore[misc]
        def __init__(self) -> None:
            top = choices.count - 1
            super().__init__(
                n_var=problem.n_ops, n_obj=1, n_ieq_constr=1, xl=0 * top, xu=top, vtype=int
            )

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            figures = tally.evaluate(evaluator, choices.named(x.astype(np.int64)))
            out["F"] = np.log(figures.makespan_us)[:, None]
            out["G"] = (figures.violations @ weights)[:, None]

    class Redraw(Mutation):  # type: ignore[misc]
        def _do(self, problem: Any, x: Any, *_: Any, random_state: Any, **__: Any) -> Any:
            changed = random_state.random(x.shape) < 1 / x.shape[1]
            drawn = (random_state.random(x.shape) * choices.count).astype(x.dtype)
            return np.where(changed, drawn, x)

    algorithm = NSGA2(
        pop_size=_POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SinglePointCrossover(prob=_CROSSOVER_SHARE),
        mutation=Redraw(prob=1.0),
    )
    algorithm.setup(Placing(), seed=seed, termination=("n_eval", 2**40))
    while tally.left > 0:
        algorithm.next()


def evolve(
    kind: type[Evolution] = Evolution,
    starts: Callable[[Problem, int], Iterable[Genes]] = lambda problem, _: seed_genes(problem),
) -> Strategy:
    """tdse's rounds, without its bounds.

    Args:
        kind: which may leave out a part of it.
        starts: what it starts from, of the problem and the seed.
    """

    def run(problem: Problem, seed: int, tally: Tally) -> None:
        with patch("os.cpu_count", return_value=1):
            evolution = kind(problem, ("latency",), seed)
            evolution.start(starts(problem, seed))
            while (left := tally.left) > 0:
                evolution.step(left if math.isfinite(tally.most_evaluations) else math.inf)
                if evolution.population[0].is_valid:
                    tally.note(evolution.population[0].values[0])
                tally.evaluations = evolution.evaluations

    return run


class WithoutCrossover(Evolution):
    """Children are copies of a parent."""

    def _child(self, chance: np.random.Generator, mixture: NDArray[np.float64]) -> Genes:
        return self._parent(chance, mixture).genes


class WithoutWindows(Evolution):
    """Placements are always annealed as a whole."""

    def _is_swept(self, number: int) -> bool:
        return False


class AnnealingAlone(WithoutCrossover, WithoutWindows):
    """Neither; what is annealed is still the best so far, or a seed."""


def start_at_random(problem: Problem, seed: int) -> list[Genes]:
    """As many placements as there are seeds, drawn at random."""
    variants = _Choices(problem).draw(np.random.default_rng(seed), len(seed_genes(problem)))
    return [Genes(row) for row in variants]


STRATEGIES: Mapping[str, Strategy] = {
    "random placements": draw_at_random,
    "plain evolution": evolve_variants(),
    "  with Z3's repair": evolve_variants(repair=True),
    "  with seeds": evolve_variants(seeds=True),
    "pymoo's NSGA-II": evolve_with_pymoo,
    "annealing from seeds": evolve(AnnealingAlone),
    "the search": evolve(),
}


class _Choices:
    """What each operator may run as, for drawing many at once."""

    def __init__(self, problem: Problem) -> None:
        self.count = np.array([len(one) for one in problem.choices])
        self._table = np.zeros((problem.n_ops, int(self.count.max())), np.uint8)
        for op, one in enumerate(problem.choices):
            self._table[op, : len(one)] = one

    def named(self, places: NDArray[np.int64]) -> Variants:
        """The variants at these places among the operators' choices, [count, n_ops]."""
        return self._table[np.arange(len(self.count)), places]

    def draw(self, chance: np.random.Generator, count: int) -> Variants:
        """Placements drawn evenly, [count, n_ops]."""
        places = chance.random((count, len(self.count))) * self.count
        return self.named(places.astype(np.int64))

    def children(
        self, chance: np.random.Generator, parents: Variants, merits: NDArray[np.float64]
    ) -> Variants:
        """As many as there are parents, [count, n_ops]."""
        count, n_ops = parents.shape
        drawn = chance.integers(0, count, (2, count, 2))
        one, other = np.where(
            merits[drawn[..., 0]] <= merits[drawn[..., 1]], drawn[..., 0], drawn[..., 1]
        )
        point = np.where(
            chance.random(count) < _CROSSOVER_SHARE, chance.integers(0, n_ops + 1, count), n_ops
        )
        children = np.where(np.arange(n_ops) < point[:, None], parents[one], parents[other])
        changed = chance.random(children.shape) < 1 / n_ops
        return np.where(changed, self.draw(chance, count), children)


def _merits(figures: Evaluations, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(figures.makespan_us) + figures.violations @ weights)


def _mended(
    evaluator: Evaluator, constraints: Constraints, children: Variants, tally: Tally
) -> Variants:
    """The children, with those that break static rules repaired as long as there is time."""
    broken = evaluator.evaluate(children).violations[:, _STATIC].any(axis=1)
    for row in np.flatnonzero(broken).tolist():
        if not tally.left:
            break
        genes = constraints.repair(Genes(children[row]))
        if genes is not None:
            children[row] = genes.variants
    return children
