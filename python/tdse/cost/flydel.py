"""Flydels: the time of one kind of operator as a short sum of named physical quantities.

The idea of many light models by system identification is that of Flydeling (ACM Transactions on
Modeling and Performance Evaluation of Computing Systems, 2023); the form of the sums is tdse's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from tdse.cost.regressors import regressor_row, regressors_of
from tdse.graph.workload import Workload

Floats = npt.NDArray[np.float64]

# More samples are not used: a sum of ten terms does not get better by them.
MOST_SAMPLES = 200
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

    def predict_us(self, rows: Sequence[Sequence[float]]) -> Floats:
        """Microseconds for rows of ``regressor_row``."""
        weights = [self.weights.get(name, 0.0) for name in regressors_of(self.kind)]
        times: Floats = np.asarray(rows, np.float64) @ np.asarray(weights)
        return times

    def formula(self) -> str:
        """The sum as a person reads it."""
        terms = [
            f"{weight:.4g}" if name == "launch" else f"{weight:.4g}*{name}"
            for name, weight in self.weights.items()
        ]
        return f"time_us = {' + '.join(terms) or '0'}"


def fit_flydel(kind: str, works: Sequence[Workload], times_us: Sequence[float]) -> Flydel:
    """The sum with the least relative error, errors of outliers weighted down.

    Args:
        kind: of all of ``works``.
        works: what was measured; the first ``MOST_SAMPLES`` count.
        times_us: of ``works``.
    """
    rows = np.array([regressor_row(work, kind) for work in works[:MOST_SAMPLES]])
    times = np.asarray(times_us[:MOST_SAMPLES], np.float64)
    scale = np.maximum(rows.max(axis=0), 1e-12)
    relative = rows / scale / times[:, None]
    trust = np.ones(len(times))
    weights = np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        weights, _ = nnls(relative * trust[:, None], trust)
        error = np.abs(relative @ weights - 1)
        trust = np.sqrt(np.minimum(1.0, _HUBER / np.maximum(error, 1e-9)))
    named = zip(regressors_of(kind), weights / scale, strict=True)
    return Flydel(kind, {name: float(w) for name, w in named if w > 0}, len(times))
