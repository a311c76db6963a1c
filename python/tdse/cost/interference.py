"""Slowdown of two regions that run side by side on two cores, from what they ask of the machine.

Cores share memory and the last cache, and with some hypervisors execution units as well. A region
suffers in proportion to what it asks of a shared part and to what the other one asks of it, so the
model is a sum of products: ``slowdown = 1 + sum(weight * demand of a * demand of b)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdse.cost.features import Floats
from tdse.cost.robust import non_negative
from tdse.errors import TdseError
from tdse.graph.model import Graph

# Rates are counted in these, so that weights are near 1: a core of a server reaches about this
# many multiply-accumulates, and moves this many bytes, in a microsecond.
_MACS_PER_US = 20_000.0
_BYTES_PER_US = 20_000.0
MINIMUM_PAIRS = 12

TERMS = (
    "arithmetic",
    "traffic",
    "arithmetic_by_traffic",
    "traffic_by_arithmetic",
    "spill",
    "share",
)


@dataclass(frozen=True)
class Load:
    """What a region asks of the machine.

    Attributes:
        macs: multiply-accumulates of one run.
        traffic_bytes: bytes that its operators read and write in one run, parameters included.
        working_set_bytes: of its largest operator.
        alone_us: microseconds of one run with nothing beside it.
    """

    macs: float
    traffic_bytes: float
    working_set_bytes: float
    alone_us: float


@dataclass(frozen=True)
class Pair:
    """Two loads that were run side by side, with the measured slowdown of each."""

    first: Load
    second: Load
    first_slowdown: float
    second_slowdown: float
    contention: float = 1.0


@dataclass(frozen=True)
class InterferenceModel:
    """Weights of ``TERMS``.

    Attributes:
        weights: not negative.
        private_bytes: cache that a core has for itself.
        pairs: number it was fitted to.
    """

    weights: tuple[float, ...]
    private_bytes: float
    pairs: int

    def slowdown(self, a: Load, b: Load) -> tuple[float, float]:
        """Time of ``a`` beside ``b``, times its time alone, and the same of ``b``."""
        return self._one(a, b), self._one(b, a)

    def _one(self, a: Load, b: Load) -> float:
        return 1.0 + float(np.dot(self.weights, terms(a, b, self.private_bytes)))


def load_of(graph: Graph, ops: Sequence[int], alone_us: float) -> Load:
    """The load of a region of ``graph``."""
    members = [graph.ops[index] for index in ops]
    sizes = [op.input_bytes + op.output_bytes + op.parameter_bytes for op in members]
    return Load(sum(op.macs for op in members), sum(sizes), max(sizes), alone_us)


def terms(a: Load, b: Load, private_bytes: float) -> tuple[float, ...]:
    """What ``a`` suffers from ``b``, one number for each of ``TERMS``."""
    arithmetic = [load.macs / load.alone_us / _MACS_PER_US for load in (a, b)]
    traffic = [load.traffic_bytes / load.alone_us / _BYTES_PER_US for load in (a, b)]
    # Only what does not fit the caches of a core reaches what cores share.
    spill = [
        rate * max(0.0, 1.0 - private_bytes / load.working_set_bytes)
        for rate, load in zip(traffic, (a, b), strict=True)
    ]
    return (
        arithmetic[0] * arithmetic[1],
        traffic[0] * traffic[1],
        arithmetic[0] * traffic[1],
        traffic[0] * arithmetic[1],
        spill[0] * spill[1],
        1.0,
    )


def fit_interference(pairs: Sequence[Pair], private_bytes: float) -> InterferenceModel:
    """Non-negative weights with the least squared relative error over both sides of ``pairs``.

    Pairs that stand out by far, because a neighbour came in between, are left out on a second look.

    Raises:
        TdseError: there are too few pairs.
    """
    if len(pairs) < MINIMUM_PAIRS:
        raise TdseError(
            "interference cannot be predicted",
            why=f"{len(pairs)} pairs have been measured, {MINIMUM_PAIRS} are needed",
        )
    sides = [
        side
        for pair in pairs
        for side in (
            (pair.first, pair.second, pair.first_slowdown),
            (pair.second, pair.first, pair.second_slowdown),
        )
    ]
    rows = np.array([terms(a, b, private_bytes) for a, b, _ in sides])
    measured = np.array([slowdown for _, _, slowdown in sides])
    weights = _fit(rows, measured)
    errors = np.abs((1.0 + rows @ weights) / measured - 1.0)
    kept = errors <= max(4.0 * float(np.median(errors)), 0.02)
    weights = _fit(rows[kept], measured[kept])
    return InterferenceModel(tuple(weights.tolist()), private_bytes, len(pairs))


def _fit(rows: Floats, measured: Floats) -> Floats:
    return non_negative(rows / measured[:, None], (measured - 1.0) / measured)
