"""Placements with what they are worth, and which of them are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.search.problem import Floats
from tdse.search.schedule import Genes


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

    def merit(self, mixture: Floats) -> tuple[float, float]:
        """What it is worth where the objectives have these shares; small is good."""
        return self.penalty, float(mixture @ np.log(positive(self.values)))

    @property
    def is_valid(self) -> bool:
        """No rule is broken."""
        return self.penalty == 0.0


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


def worst(individuals: Iterable[Individual]) -> Floats:
    """The largest of each objective's values among valid ones, float64 [n_objectives]."""
    corner: Floats = np.array([one.values for one in individuals if one.is_valid]).max(axis=0)
    return corner


def hypervolume(individuals: Iterable[Individual], corner: Floats) -> float:
    """The volume of what valid ones dominate below a corner, in logarithms of the values."""
    import moocore

    points = np.array([one.values for one in individuals if one.is_valid])
    return float(moocore.hypervolume(np.log(positive(points)), ref=np.log(positive(corner))))


def _by_fronts(valid: Sequence[Individual]) -> list[Individual]:
    # It takes a quarter of a second to import.
    import moocore

    points = np.log(positive(np.array([one.values for one in valid])))
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


def positive(values: Sequence[float] | Floats) -> Floats:
    """Values that have a logarithm: those of empty models are zero."""
    return np.maximum(np.asarray(values, np.float64), 1e-9)
