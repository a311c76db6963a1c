"""Timing discipline for one executor in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdse.runtime.model import Model

# An operator is timed for about this long after its warm-up, within the bounds of runs.
_TARGET_US = 6_000.0
_MINIMUM_RUNS = 5
_MAXIMUM_RUNS = 200
# A run this slow is not repeated more than needed for a median.
_SLOW_US = 20_000.0


@dataclass(frozen=True)
class Timing:
    """Median and spread (10th to 90th percentile) of ``runs`` runs, microseconds."""

    median_us: float
    spread_us: float
    runs: int


def time_model(model: Model, inputs: Sequence[npt.ArrayLike]) -> Timing:
    """Time ``model`` on ``inputs``: warm-up first, then enough runs for a steady median."""
    first = model.time_runs(inputs, 2)[-1]
    if first > _SLOW_US:
        return _timing(model.time_runs(inputs, 2))
    warm = float(np.median(model.time_runs(inputs, 3)))
    runs = int(np.clip(_TARGET_US / max(warm, 0.1), _MINIMUM_RUNS, _MAXIMUM_RUNS))
    return _timing(model.time_runs(inputs, runs))


def _timing(times: npt.NDArray[np.float64]) -> Timing:
    low, median, high = np.percentile(times, [10, 50, 90])
    return Timing(float(median), float(high - low), len(times))
