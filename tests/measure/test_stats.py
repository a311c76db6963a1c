"""Ratios and differences, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tdse.measure.accuracy import Difference, difference, worst
from tdse.measure.stats import ratio


def test_a_constant_ratio_has_no_spread() -> None:
    found = ratio([4.0, 8.0, 2.0], [2.0, 4.0, 1.0])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


def test_one_slow_launch_widens_the_interval() -> None:
    found = ratio([2.0, 2.0, 2.0, 2.0, 6.0], [1.0] * 5)
    assert found.value == 2.0
    assert found.low == 2.0
    assert found.high > 2.0


def test_integer_differences_do_not_wrap() -> None:
    low, high = np.array([-128], np.int8), np.array([127], np.int8)
    assert difference([low], [high]) == Difference(steps=255)


def test_float_differences_are_relative_to_the_peak() -> None:
    reference = np.array([0.0, -10.0, 1.0], np.float32)
    result = np.array([0.001, -10.0, 1.0], np.float32)
    assert difference([result], [reference]).relative == pytest.approx(1e-4, rel=1e-4)
    assert not difference([result * 1.01], [reference]).is_allowed


def test_nan_and_infinity_must_stand_in_the_same_places() -> None:
    reference = np.array([np.nan, 1.0, np.inf], np.float32)
    assert difference([reference.copy()], [reference]).is_exact
    other = np.array([0.0, 1.0, np.inf], np.float32)
    assert difference([other], [reference]).relative == np.inf


def test_the_bound_of_a_region() -> None:
    assert Difference(steps=1).is_allowed
    assert not Difference(steps=2).is_allowed
    assert worst([Difference(1, 0.0), Difference(0, 2e-5)]) == Difference(1, 2e-5)
    assert str(Difference(3, 1e-5)) == "3 LSB, 1.0e-05 of the peak"
    assert str(Difference()) == "exact"
