"""A population of placements that cross over and are annealed, side by side on all cores."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdse.search.native import Evaluations, Evaluator
from tdse.search.objectives import Objective, exponents, penalties, values
from tdse.search.problem import Floats, Problem
from tdse.search.schedule import Genes

# Annealings of one round. It is no matter of the machine, so that results are none either.
_ISLANDS = 4
# Placements that are kept from round to round: for one objective, and for several.
_KEPT, _KEPT_ON_FRONT = 12, 60
# Evaluations of the first round's annealings for each operator, and their growth with each round.
_EVALUATIONS_PER_OP = 40
_GROWTH = 1.15
# Start temperatures of what starts afresh and of children; end temperatures, which islands take
# in turns: the lower ones suit chains, the higher ones graphs in which regions block each other.
_FRESH, _CHILD = 0.05, 0.02
_ENDS = (5e-4, 2e-3, 1e-3)
# Share of annealings that start from a seed again.
_FRESH_SHARE = 0.25


@dataclass(frozen=True)
class Individual:
    """A placement and what it is worth.

    Attributes:
        genes: what is decided.
        values: for each objective; small is good.
        penalty: of the rules that are broken, 0 if it is valid.
        n_regions: number of regions.
    """

    genes: Genes
    values: tuple[float, ...]
    penalty: float
    n_regions: int

    @property
    def is_valid(self) -> bool:
        """No rule is broken."""
        return self.penalty == 0.0


@dataclass(frozen=True)
class _Task:
    genes: Genes
    weights: Floats
    evaluations: int
    temperatures: tuple[float, float]
    seed: int


class Evolution:
    """Rounds of crossing over and annealing.

    What a round does depends on the seed and the rounds before, not on time or on the number of
    cores.
    """

    def __init__(self, problem: Problem, objectives: Sequence[Objective], seed: int) -> None:
        self.problem = problem
        self.objectives = tuple(objectives)
        self.evaluations = 0
        self.population: list[Individual] = []
        self.round = 0
        self._seed = seed
        self._penalties = penalties(problem)
        self._weights = np.stack([exponents(objective) for objective in self.objectives])
        self._evaluators = [Evaluator(problem) for _ in range(_ISLANDS)]
        self._starts: list[Genes] = []
        links = np.array(problem.links, np.int64).reshape(-1, 2)
        self._sources, self._targets = links[:, 0], links[:, 1]

    def start(self, seeds: Iterable[Genes]) -> None:
        """Evaluates what the evolution starts from, and goes back to now and then."""
        found = [self._filled(genes) for genes in seeds]
        self._starts += found
        self._keep(self._individual(genes, self._evaluators[0].assess(genes)) for genes in found)
        self.evaluations += len(found)

    def step(self, most_evaluations: int | None = None) -> None:
        """One round.

        Args:
            most_evaluations: how many there may be at most, None for as many as are usual.
        """
        usual = int(_EVALUATIONS_PER_OP * self.problem.n_ops * _GROWTH**self.round)
        count = usual if most_evaluations is None else min(usual, most_evaluations // _ISLANDS)
        chances = [
            np.random.default_rng((self._seed, self.round, island)) for island in range(_ISLANDS)
        ]
        tasks = [self._task(island, chance, max(1, count)) for island, chance in enumerate(chances)]
        with ThreadPoolExecutor(min(_ISLANDS, os.cpu_count() or 1)) as pool:
            found = list(pool.map(self._anneal, self._evaluators, tasks))
        self._keep(found)
        self.evaluations += _ISLANDS * max(1, count)
        self.round += 1

    def ranked(self) -> list[Individual]:
        """What is kept, best first: valid ones, then fronts, then those in sparse places."""
        return self.population

    def _anneal(self, evaluator: Evaluator, task: _Task) -> Individual:
        genes, figures = evaluator.improve(
            task.genes,
            task.weights,
            self._penalties,
            evaluations=task.evaluations,
            temperatures=task.temperatures,
            seed=task.seed,
        )
        return self._individual(genes, figures)

    def _individual(self, genes: Genes, figures: Evaluations) -> Individual:
        return Individual(
            genes,
            tuple(values(figures, self.objectives)[0].tolist()),
            float(figures.violations[0] @ self._penalties),
            int(figures.n_regions[0]),
        )

    def _task(self, island: int, chance: np.random.Generator, evaluations: int) -> _Task:
        number = self.round * _ISLANDS + island
        n_objectives = len(self.objectives)
        # Each objective by itself first, then any mixture.
        mixture = np.eye(n_objectives)[number % n_objectives]
        if n_objectives > 1 and number >= n_objectives:
            mixture = chance.dirichlet(np.ones(n_objectives))
        if number < len(self._starts) or chance.random() < _FRESH_SHARE:
            genes, start = self._starts[number % len(self._starts)], _FRESH
        else:
            genes, start = self._child(chance, mixture), _CHILD
        return _Task(
            genes,
            mixture @ self._weights,
            evaluations,
            (start, _ENDS[number % len(_ENDS)]),
            int(chance.integers(2**63)),
        )

    def _child(self, chance: np.random.Generator, mixture: Floats) -> Genes:
        """One parent with a part of the other: operators in a row of the topological order."""
        one, other = self._parent(chance, mixture).genes, self._parent(chance, mixture).genes
        n_ops = self.problem.n_ops
        first, end = np.sort(chance.integers(0, n_ops + 1, 2))
        taken = np.zeros(n_ops, bool)
        taken[first:end] = True
        cuts = np.where(
            taken[self._sources] & taken[self._targets], _array(other.cuts), _array(one.cuts)
        )
        return Genes(
            np.where(taken, _array(other.variants), _array(one.variants)),
            cuts,
            np.where(taken, _array(other.priority), _array(one.priority)),
            one.strict,
        )

    def _parent(self, chance: np.random.Generator, mixture: Floats) -> Individual:
        """The better of two."""
        pair = [self.population[i] for i in chance.integers(0, len(self.population), 2)]
        return min(
            pair, key=lambda one: (one.penalty, float(mixture @ np.log(_positive(one.values))))
        )

    def _filled(self, genes: Genes) -> Genes:
        n_ops, n_links = self.problem.n_ops, len(self.problem.links)
        cuts = np.zeros(n_links, np.uint8) if genes.cuts is None else np.array(genes.cuts, np.uint8)
        priority = np.zeros(n_ops) if genes.priority is None else np.array(genes.priority, float)
        return Genes(np.array(genes.variants, np.uint8), cuts, priority, genes.strict)

    def _keep(self, found: Iterable[Individual]) -> None:
        most = _KEPT if len(self.objectives) == 1 else _KEPT_ON_FRONT
        self.population = select([*self.population, *found], most)


def select(individuals: Sequence[Individual], most: int) -> list[Individual]:
    """The best, by the ranks of NSGA-II with Deb's rule for broken rules; equal ones once.

    Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II,
    IEEE TEC 6(2), 2002.
    """
    distinct = {(one.values, one.penalty, one.n_regions): one for one in reversed(individuals)}
    valid = [one for one in distinct.values() if one.is_valid]
    broken = [one for one in distinct.values() if not one.is_valid]
    broken.sort(key=lambda one: (one.penalty, one.values, one.n_regions))
    if not valid:
        return broken[:most]
    if len(valid[0].values) == 1:
        ranked = sorted(valid, key=lambda one: (one.values, one.n_regions))
    else:
        ranked = _by_fronts(valid)
    return [*ranked, *broken][:most]


def front(individuals: Iterable[Individual]) -> list[Individual]:
    """The valid ones that no other valid one beats in all objectives, by their values."""
    valid = [one for one in individuals if one.is_valid]
    if not valid:
        return []
    import moocore

    kept = moocore.is_nondominated(np.array([one.values for one in valid]))
    return sorted(
        (one for one, keep in zip(valid, kept, strict=True) if keep), key=lambda one: one.values
    )


def _by_fronts(valid: Sequence[Individual]) -> list[Individual]:
    # It takes a quarter of a second to import.
    import moocore

    points = np.log(_positive(np.array([one.values for one in valid])))
    ranks = moocore.pareto_rank(points)
    crowding = np.zeros(len(valid))
    for rank in np.unique(ranks):
        rows = np.flatnonzero(ranks == rank)
        crowding[rows] = _crowding(points[rows])
    order = np.lexsort((-crowding, ranks))
    return [valid[i] for i in order.tolist()]


def _crowding(points: Floats) -> Floats:
    """How far each point's neighbours on its front are from each other; inf at the ends."""
    distance = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        spread = float(column[order[-1]] - column[order[0]]) or 1.0
        distance[order[[0, -1]]] = math.inf
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def _array(genes: Sequence[float] | None) -> NDArray[np.generic]:
    assert genes is not None, "the population's genes are complete"
    return np.asarray(genes)


def _positive(values: Sequence[float] | Floats) -> Floats:
    return np.maximum(np.asarray(values, np.float64), 1e-9)
