"""The time of a region of several operators, from those of its operators.

Operators are measured one by one, warm. In a region their weights have left the nearest cache since
the last run, the runtime fuses some of them with their neighbours, and threads that were woken for
one operator are still awake for the next. A sum of few terms, fitted to measured chains of
operators, says what that makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from tdse.cost.conformal import conformal_margin
from tdse.cost.features import Floats
from tdse.cost.robust import huber_fit
from tdse.graph.workload import Workload

# With fewer chains, a region is taken to be the sum of its operators.
MINIMUM_CHAINS = 12
_MATRIX = frozenset({"conv2d", "transpose_conv2d", "fully_connected", "batch_matmul"})
# Name of a term, the weight that stands for "no more than the sum", and the weight's bounds.
_TERMS: tuple[tuple[str, float, float, float], ...] = (
    ("matrix_us", 1.0, 0.5, 1.5),
    ("depthwise_us", 1.0, 0.5, 1.5),
    ("binary_us", 1.0, 0.3, 1.5),
    ("others_us", 1.0, 0.3, 1.5),
    ("operators", 0.0, -10.0, 10.0),
    ("cold_parameter_bytes", 0.0, 0.0, 1e-3),
    ("cold_activation_bytes", 0.0, 0.0, 1e-3),
    ("streamed_activation_bytes", 0.0, 0.0, 1e-3),
    ("far_parameter_bytes", 0.0, 0.0, 1e-3),
)
# No operator is free, even where its time is all launch.
_LEAST_US = 0.02
_GROUPS = [name for name, *_ in _TERMS if name.endswith("_us")]
# A core's own cache; that of the processors this was tried on, AMD Zen 4, and common on others.
_CACHE_BYTES = 1 << 20
# What a core may expect of the last cache, which it shares with others: half of the 32 MiB that the
# processor has on which this was tried.
_LAST_CACHE_BYTES = 16 << 20
# How many chains the weight that stands for "no more than the sum" is worth: of a factor of times,
# which is 1 but for what is fused, and of what is added.
_FACTOR_PRIOR = 3.0
_ADDED_PRIOR = 0.1
# Errors above this share count less.
_HUBER = 0.05
_ROUNDS = 5


@dataclass(frozen=True)
class RegionModel:
    """A sum of terms of a region.

    Attributes:
        weights: name of a term to its weight: a factor of a time, or microseconds for one operator
            or byte.
        margin: half width of the 90 % interval, in logarithms; 0 where nothing was learnt.
        chains: records that it was fitted to.
    """

    weights: Mapping[str, float]
    margin: float
    chains: int

    def shares_us(self, works: Sequence[Workload], times_us: Floats, launch_us: float) -> Floats:
        """What each operator adds to the time of the region it is in, microseconds.

        Args:
            works: all operators that run before the first of them runs again: a whole model's, or
                those of a region that is timed by itself.
            times_us: of each by itself, with its launch.
            launch_us: of one launch.
        """
        weights = [self.weights[name] for name, *_ in _TERMS]
        rows = _rows(works, times_us - launch_us)
        shares: Floats = np.maximum(rows @ np.asarray(weights), _LEAST_US)
        return shares

    def predict_us(self, works: Sequence[Workload], times_us: Floats, launch_us: float) -> float:
        """Microseconds of one region; arguments as of ``shares_us``."""
        return launch_us + float(np.sum(self.shares_us(works, times_us, launch_us)))

    def formula(self) -> str:
        """The sum as a person reads it."""
        terms = [f"{weight:.4g}*{name}" for name, weight in self.weights.items() if weight]
        return f"time_us = launch + {' + '.join(terms)}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, from which ``from_json`` makes an equal model."""
        return {"weights": dict(self.weights), "margin": self.margin, "chains": self.chains}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> RegionModel:
        """The model that ``to_json`` gave.

        Raises:
            KeyError: it has other terms.
        """
        weights = {name: fields["weights"][name] for name, *_ in _TERMS}
        return RegionModel(weights, fields["margin"], fields["chains"])


SUM = RegionModel({name: plain for name, plain, _, _ in _TERMS}, 0.0, 0)


def fit_region(
    chains: Sequence[tuple[Sequence[Workload], Floats, float]], launch_us: float
) -> RegionModel:
    """The sum with the least relative error, drawn towards the plain sum of the operators.

    Args:
        chains: of each measured chain its operators, the times of each by itself, and its own
            time, microseconds.
        launch_us: of one launch.
    """
    if len(chains) < MINIMUM_CHAINS:
        return SUM
    rows = np.array([np.sum(_rows(works, times - launch_us), axis=0) for works, times, _ in chains])
    measured = np.array([time for *_, time in chains])
    weights = _fit(rows, measured - launch_us, measured)
    errors = np.empty(len(chains))
    for i in range(len(chains)):
        rest = np.arange(len(chains)) != i
        others = _fit(rows[rest], (measured - launch_us)[rest], measured[rest])
        errors[i] = np.log(measured[i] / max(1e-3, launch_us + rows[i] @ others))
    named = zip((name for name, *_ in _TERMS), weights.tolist(), strict=True)
    return RegionModel(dict(named), conformal_margin(np.abs(errors)), len(chains))


def _fit(rows: Floats, extra_us: Floats, scale_us: Floats) -> Floats:
    plain, low, high = (np.array([term[i] for term in _TERMS]) for i in (1, 2, 3))
    relative, wanted = rows / scale_us[:, None], extra_us / scale_us
    size = np.sqrt(np.mean(relative**2, axis=0))
    # Of a term that no chain has, the plain weight remains.
    has = size > 0
    relative, size = relative[:, has], size[has]
    strength = np.where(plain > 0, _FACTOR_PRIOR, _ADDED_PRIOR)[has]
    prior = np.diag(np.sqrt(strength) * size)

    def solve(rows: Floats, wanted: Floats) -> Floats:
        found = lsq_linear(
            np.vstack([rows, prior]) / size,
            np.concatenate([wanted, prior @ plain[has]]),
            bounds=(low[has] * size, high[has] * size),
        )
        solution: Floats = found.x / size
        return solution

    weights: Floats = plain.copy()
    weights[has] = huber_fit(solve, relative, wanted, threshold=_HUBER, rounds=_ROUNDS)
    return weights


def _rows(works: Sequence[Workload], extra_us: Floats) -> Floats:
    """The terms of each operator, given its time by itself without the launch.

    What is read again only after more bytes than the cache holds is cold by then. Operators that
    do not fit a core's own cache by themselves were measured with their activations streamed.
    """
    held = sum(work.parameter_bytes for work in works)
    held += max(work.input_bytes + work.output_bytes for work in works)
    cold = float(np.clip(held / _CACHE_BYTES - 1.0, 0.0, 1.0))
    far = float(np.clip(held / _LAST_CACHE_BYTES - 1.0, 0.0, 1.0))
    rows = np.zeros((len(works), len(_TERMS)))
    for row, work, time_us in zip(rows, works, extra_us.tolist(), strict=True):
        activations = work.input_bytes + work.output_bytes
        own = np.clip((activations + work.parameter_bytes) / _CACHE_BYTES - 1.0, 0.0, 1.0)
        row[_GROUPS.index(_group(work))] = max(0.0, time_us)
        row[len(_GROUPS) :] = (
            1.0,
            cold * work.parameter_bytes,
            cold * (1.0 - own) * activations,
            cold * own * activations,
            far * work.parameter_bytes,
        )
    return rows


def _group(work: Workload) -> str:
    if work.kind in _MATRIX:
        return "matrix_us"
    if work.kind == "depthwise_conv2d":
        return "depthwise_us"
    return "binary_us" if work.kind in ("add", "mul", "sub", "div") else "others_us"
