"""Split-conformal prediction: intervals that hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

COVERAGE = 0.9


def conformal_margin(scores: npt.NDArray[np.float64]) -> float:
    """What the score of a further sample stays below with a probability of ``COVERAGE``.

    Args:
        scores: how far off predictions were of samples that they had not been fitted to.
    """
    rank = min(len(scores), math.ceil(COVERAGE * (len(scores) + 1)))
    return float(np.sort(scores)[rank - 1])
