"""Reweighted least squares minimise Huber's loss, as a general minimiser does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import huber

from tdse.cost.features import Floats
from tdse.cost.robust import huber_fit, non_negative

THRESHOLD = 0.1


def _problem(seed: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    rows = generator.uniform(0.0, 1.0, (30, 3))
    wanted = rows @ generator.uniform(0.0, 2.0, 3) + generator.normal(0.0, 0.05, 30)
    wanted[::7] += 2.0
    return rows, wanted


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_no_other_weights_have_less_loss(seed: int) -> None:
    rows, wanted = _problem(seed)

    def loss(weights: Floats) -> float:
        return float(np.sum(huber(THRESHOLD, rows @ weights - wanted)))

    found = huber_fit(non_negative, rows, wanted, threshold=THRESHOLD, rounds=200)
    other = minimize(loss, np.ones(3), bounds=[(0.0, None)] * 3)
    assert (found >= 0).all()
    assert loss(found) <= other.fun * (1 + 1e-4)


def test_without_errors_beyond_the_threshold_it_is_least_squares() -> None:
    rows, wanted = _problem(0)
    plain = non_negative(rows, wanted)
    found = huber_fit(non_negative, rows, wanted, threshold=10.0, rounds=3)
    assert found == pytest.approx(plain)
