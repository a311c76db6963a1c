"""Least squares in which what stands out counts less: Huber's loss, by reweighting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tdse.cost.features import Floats

# Errors are divided by; any that is well below the thresholds does.
_LEAST_ERROR = 1e-9


def huber_fit(
    solve: Callable[[Floats, Floats], Floats],
    rows: Floats,
    wanted: Floats,
    *,
    threshold: float,
    rounds: int,
) -> Floats:
    """Weights for which ``rows @ weights`` is near ``wanted``.

    Squared errors are minimised, but beyond the threshold errors count as they are (P. J. Huber,
    *Robust Estimation of a Location Parameter*, 1964).

    Args:
        solve: gives the weights with the least squared error, of rows and what they should make,
            within the bounds that the caller has for them.
        rows: ``[samples, weights]``.
        wanted: ``[samples]``.
        threshold: the error from which on a sample counts less.
        rounds: how often samples are weighed anew at most, at least 1.
    """
    trust = np.ones(len(rows))
    for _ in range(rounds):
        weights = solve(rows * trust[:, None], wanted * trust)
        errors = np.abs(rows @ weights - wanted)
        before = trust
        trust = np.sqrt(np.minimum(1.0, threshold / np.maximum(errors, _LEAST_ERROR)))
        if np.array_equal(trust, before):
            break
    return weights


def non_negative(rows: Floats, wanted: Floats) -> Floats:
    """Weights of 0 or more with the least squared error; a ``solve`` of ``huber_fit``."""
    from scipy.optimize import nnls

    weights: Floats = nnls(rows, wanted)[0]
    return weights
