"""A population of placements that cross over and are annealed, side by side on all cores."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tdse.search.individual import Individual, select
from tdse.search.native import Evaluations, Evaluator
from tdse.search.objectives import Objective, exponents, penalties, values
from tdse.search.problem import Floats, Ints, Problem
from tdse.search.schedule import Genes
from tdse.search.window import Window, cut_out

# Annealings of one round. It is no matter of the machine, so that results are none either.
_ISLANDS = 4
# Placements that are kept from round to round: for one objective, and for several.
_KEPT, _KEPT_ON_FRONT = 12, 60
# Evaluations of the first round's annealings for each operator, at most so many, and their growth
# with each round.
_EVALUATIONS_PER_OP, _MOST_EVALUATIONS = 40, 8000
_GROWTH = 1.15
# Start temperatures of what starts afresh and of children; end temperatures, which islands take
# in turns: the lower ones suit chains, the higher ones graphs in which regions block each other.
_FRESH, _CHILD = 0.03, 0.015
_ENDS = (5e-4, 1e-3)
# Share of annealings that start from a seed again.
_FRESH_SHARE = 0.25
# Problems of more operators than the first are improved window by window every other round, of
# more than the second in all rounds: the larger, the less is gained by annealing them whole.
_MEDIUM, _LARGE = 40, 150
# Operators of a window: a share of all, at most so many, in turns more and less; and evaluations
# for each of them.
_WINDOW_SHARE, _WINDOW = 0.35, 60
_WINDOW_FACTORS = (1.0, 0.75, 1.5)
_WINDOW_EVALUATIONS_PER_OP = 100


@dataclass(frozen=True)
class _Task:
    genes: Genes
    mixture: Floats
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
        self._sources, self._targets = problem.link_array.T

    def start(self, seeds: Iterable[Genes]) -> None:
        """Evaluates what the evolution starts from, and goes back to now and then."""
        filled = [genes.complete(len(self.problem.links)) for genes in seeds]
        found = [self._individual(one, self._evaluators[0].assess(one)) for one in filled]
        found.sort(key=lambda one: one.merit(np.ones(len(self.objectives))))
        self._starts += [one.genes for one in found]
        self._keep(found)
        self.evaluations += len(found)

    def step(self, evaluations: float = math.inf, deadline: float = math.inf) -> None:
        """One round.

        Args:
            evaluations: how many there may be at most.
            deadline: when no further window is begun, as of ``time.monotonic``.
        """
        most = max(evaluations, _ISLANDS)
        tasks = [self._task(island) for island in range(_ISLANDS)]
        with ThreadPoolExecutor(min(_ISLANDS, os.cpu_count() or 1)) as pool:
            if self._is_swept(self.round):
                best = min(self.population, key=lambda one: one.merit(tasks[0].mixture))
                task = dataclasses.replace(tasks[0], genes=best.genes)
                self._sweep(task, most, deadline, pool)
            else:
                usual = min(_EVALUATIONS_PER_OP * self.problem.n_ops, _MOST_EVALUATIONS)
                n_before = sum(not self._is_swept(before) for before in range(self.round))
                count = int(min(usual * _GROWTH**n_before, most // _ISLANDS))
                counts = [count] * _ISLANDS
                self._keep(list(pool.map(self._anneal, self._evaluators, tasks, counts)))
                self.evaluations += _ISLANDS * count
        self.round += 1

    def _is_swept(self, number: int) -> bool:
        """A round goes window by window."""
        return self.problem.n_ops > (_MEDIUM if number % 2 == 0 else _LARGE)

    def _anneal(self, evaluator: Evaluator, task: _Task, evaluations: int) -> Individual:
        genes, figures = evaluator.improve(
            task.genes,
            task.mixture @ self._weights,
            self._penalties,
            evaluations=evaluations,
            temperatures=task.temperatures,
            seed=task.seed,
        )
        return self._individual(genes, figures)

    def _sweep(
        self, task: _Task, evaluations: float, deadline: float, pool: ThreadPoolExecutor
    ) -> None:
        """Anneals all windows of one placement; what is found is taken where the whole gains."""
        evaluator = self._evaluators[0]
        genes, best = task.genes, self._individual(task.genes, evaluator.assess(task.genes))
        order = self._in_time(evaluator, genes)
        # Each sweep has its borders elsewhere.
        length = int(
            min(_WINDOW_SHARE * self.problem.n_ops, _WINDOW)
            * _WINDOW_FACTORS[self.round % len(_WINDOW_FACTORS)]
        )
        starts = range(-(task.seed % length), self.problem.n_ops, length)
        windows = [np.sort(order[max(start, 0) : start + length]) for start in starts]
        count = int(min(_WINDOW_EVALUATIONS_PER_OP * length, evaluations // len(windows)))

        def suggest(index: int) -> tuple[Window, Genes] | None:
            if time.monotonic() > deadline:
                return None
            window = cut_out(self.problem, genes, windows[index])
            found, _ = Evaluator(window.problem).improve(
                window.genes,
                task.mixture @ self._weights,
                penalties(window.problem),
                evaluations=count,
                temperatures=task.temperatures,
                seed=(task.seed + index) % 2**63,
            )
            return window, found

        for suggestion in pool.map(suggest, range(len(windows))):
            if suggestion is None:
                break
            window, found = suggestion
            changed = window.apply(found, best.genes)
            after = self._individual(changed, evaluator.assess(changed))
            if after.merit(task.mixture) < best.merit(task.mixture):
                best = after
        self._keep([best])
        self.evaluations += len(windows) * (count + 1)

    def _in_time(self, evaluator: Evaluator, genes: Genes) -> Ints:
        """The operators in the order in which they start."""
        start_us = np.zeros(self.problem.n_ops)
        for region in evaluator.outcome(genes).schedule.regions:
            start_us[list(region.ops)] = region.start_us
        return np.argsort(start_us, kind="stable").astype(np.int32)

    def _individual(self, genes: Genes, figures: Evaluations) -> Individual:
        return Individual(
            genes,
            tuple(values(figures, self.objectives)[0].tolist()),
            float(figures.violations[0] @ self._penalties),
            int(figures.n_regions[0]),
        )

    def _task(self, island: int) -> _Task:
        chance = np.random.default_rng((self._seed, self.round, island))
        number = self.round * _ISLANDS + island
        n_objectives = len(self.objectives)
        # Each objective by itself first, then any mixture.
        mixture = np.eye(n_objectives)[number % n_objectives]
        if n_objectives > 1 and number >= n_objectives:
            mixture = chance.dirichlet(np.ones(n_objectives))
        if self.round == 0:
            genes, start = self._starts[island % len(self._starts)], _FRESH
        elif chance.random() < _FRESH_SHARE:
            genes, start = self._starts[int(chance.integers(len(self._starts)))], _FRESH
        else:
            genes, start = self._child(chance, mixture), _CHILD
        return _Task(
            genes, mixture, (start, _ENDS[number % len(_ENDS)]), int(chance.integers(2**63))
        )

    def _child(self, chance: np.random.Generator, mixture: Floats) -> Genes:
        """One parent with a part of the other: operators in a row of the topological order."""
        one, other = self._parent(chance, mixture).genes, self._parent(chance, mixture).genes
        n_ops = self.problem.n_ops
        first, end = np.sort(chance.integers(0, n_ops + 1, 2))
        taken = np.zeros(n_ops, bool)
        taken[first:end] = True
        both = taken[self._sources] & taken[self._targets]
        return Genes(
            np.where(taken, np.asarray(other.variants), np.asarray(one.variants)),
            np.where(both, np.asarray(other.cuts), np.asarray(one.cuts)),
            np.where(taken, np.asarray(other.priority), np.asarray(one.priority)),
            one.strict,
        )

    def _parent(self, chance: np.random.Generator, mixture: Floats) -> Individual:
        """The better of two."""
        one, other = chance.integers(0, len(self.population), 2).tolist()
        # The population is in order of merit only for a single objective.
        pair: list[Individual] = [self.population[one], self.population[other]]
        return min(pair, key=lambda individual: individual.merit(mixture))

    def _keep(self, found: Iterable[Individual]) -> None:
        most = _KEPT if len(self.objectives) == 1 else _KEPT_ON_FRONT
        self.population = select([*self.population, *found], most)
