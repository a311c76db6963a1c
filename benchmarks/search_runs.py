"""Runs of the search that note when it found what."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from tdse.errors import PlacementError
from tdse.search.evolution import Evolution
from tdse.search.individual import Individual
from tdse.search.objectives import Objective
from tdse.search.problem import Problem
from tdse.search.search import search

# Its name in the package is that of the function.
_MODULE = sys.modules["tdse.search.search"]


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        trail: (seconds since the start, value) of each better valid placement.
        seconds: that it took.
        evaluations: placements that were evaluated.
        ended: as in ``Found``; ``target`` if it was stopped there, ``none`` if it gave up.
    """

    trail: tuple[tuple[float, float], ...]
    seconds: float
    evaluations: int
    ended: str

    @property
    def value(self) -> float:
        """The best, inf if nothing was valid."""
        return self.trail[-1][1] if self.trail else math.inf

    def seconds_to(self, value: float) -> float:
        """When it had found something as good, inf if it never did."""
        return next((at for at, found in self.trail if found <= value), math.inf)


class _ReachedError(Exception):
    """What was looked for is found."""


def watched(
    problem: Problem,
    *,
    seconds: float,
    seed: int,
    target: float = -math.inf,
    objectives: Sequence[Objective] = ("latency",),
) -> Run:
    """A search as users get it, with its bounds and repairs, on a clock from its call on.

    Args:
        problem: the placement problem.
        seconds: after which no round is begun.
        seed: of everything random.
        target: it is stopped when something as good is found.
        objectives: of the search; the first is watched.
    """
    trail: list[tuple[float, float]] = []
    counts = [0]
    begun = time.perf_counter()

    class Watched(Evolution):
        def _keep(self, found: Iterable[Individual]) -> None:
            super()._keep(found)
            best, counts[0] = self.population[0], self.evaluations
            if best.is_valid and best.values[0] < (trail[-1][1] if trail else math.inf):
                trail.append((time.perf_counter() - begun, best.values[0]))
            if trail and trail[-1][1] <= target:
                raise _ReachedError

    with patch.object(_MODULE, "Evolution", Watched):
        try:
            found = search(problem, objectives, seed=seed, seconds=seconds)
            ended = str(found.ended)
        except _ReachedError:
            ended = "target"
        except PlacementError:
            ended = "none"
    return Run(tuple(trail), time.perf_counter() - begun, counts[0], ended)


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive values; nan of none."""
    logs = np.log(list(values))
    return float(np.exp(logs.mean())) if logs.size else math.nan
