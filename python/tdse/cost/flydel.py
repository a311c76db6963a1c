"""Flydels: the time of one kind of operator as a short sum of named physical quantities.

The idea of many light models by system identification is that of Flydeling (ACM Transactions on
Modeling and Performance Evaluation of Computing Systems, 2023); the form of the sums is tdse's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tdse.cost.features import Floats, Quantities
from tdse.cost.regressors import REGRESSORS, regressors_of
from tdse.cost.robust import huber_fit, non_negative

# More samples are not used: a sum of ten terms does not get better by them.
MOST_SAMPLES = 200
# A person can read as many, and few samples determine them.
MOST_PARAMETERS = 10
# Errors above this share count less: the model may be wrong about them, or they mismeasured.
_HUBER = 0.15
_ROUNDS = 8


@dataclass(frozen=True)
class Flydel:
    """A sum of regressors with weights of 0 or more.

    Attributes:
        kind: of the operators.
        weights: name of a regressor to microseconds for one of it; without those of weight 0.
        samples: records that it was fitted to.
    """

    kind: str
    weights: Mapping[str, float]
    samples: int

    def predict_us(self, sizes: Quantities) -> Floats:
        """Microseconds of workloads."""
        times = np.zeros(len(sizes))
        for name, weight in self.weights.items():
            times += weight * REGRESSORS[name](sizes)
        return times

    def formula(self) -> str:
        """The sum as a person reads it."""
        terms = [
            f"{weight:.4g}" if name == "launch" else f"{weight:.4g}*{name}"
            for name, weight in self.weights.items()
        ]
        return f"time_us = {' + '.join(terms) or '0'}"


def fit_flydel(kind: str, sizes: Quantities, times_us: Floats) -> Flydel:
    """The sum with the least relative error, errors of outliers weighted down.

    Args:
        kind: of all the workloads, or empty for any.
        sizes: of what was measured; the first ``MOST_SAMPLES`` count.
        times_us: of the same.
    """
    sizes, times = sizes.take(range(min(len(sizes), MOST_SAMPLES))), times_us[:MOST_SAMPLES]
    rows = np.column_stack([REGRESSORS[name](sizes) for name in regressors_of(kind)])
    scale = np.maximum(rows.max(axis=0), 1e-12)
    relative = rows / scale / times[:, None]
    weights = _solve(relative)
    while np.count_nonzero(weights) > MOST_PARAMETERS:
        share = np.mean(relative, axis=0) * weights
        relative[:, np.argmin(np.where(share > 0, share, np.inf))] = 0.0
        weights = _solve(relative)
    named = zip(regressors_of(kind), weights / scale, strict=True)
    return Flydel(kind, {name: float(w) for name, w in named if w > 0}, len(times))


def _solve(relative: Floats) -> Floats:
    """Weights whose sums of columns are nearest to 1, outliers weighted down."""
    ones = np.ones(len(relative))
    return huber_fit(non_negative, relative, ones, threshold=_HUBER, rounds=_ROUNDS)
