"""Statistics of times taken in several process launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(numerator: Sequence[float], denominator: Sequence[float], *, seed: int = 0) -> Ratio:
    """Ratio of the medians of two series that were taken launch by launch in pairs.

    The interval comes from resampling the launches: a process may stay in a slow mode throughout,
    so a launch, not a run, is the unit that repeats.

    Args:
        numerator: one median for each launch.
        denominator: likewise, of the same launches.
        seed: of the resampling.
    """
    a, b = np.asarray(numerator, float), np.asarray(denominator, float)
    picks = np.random.default_rng(seed).integers(0, len(a), (_RESAMPLES, len(a)))
    resampled = np.median(a[picks], axis=1) / np.median(b[picks], axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Ratio(float(np.median(a) / np.median(b)), float(low), float(high))
