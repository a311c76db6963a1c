"""Margins hold as often as they say, whatever the errors are distributed like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdse.cost.conformal import COVERAGE, conformal_margin

Floats = npt.NDArray[np.float64]


def _uniform(generator: np.random.Generator, count: int) -> Floats:
    return generator.uniform(size=count)


def _heavy(generator: np.random.Generator, count: int) -> Floats:
    return np.abs(generator.standard_cauchy(count))


def _few_values(generator: np.random.Generator, count: int) -> Floats:
    return generator.integers(0, 5, count).astype(float)


@pytest.mark.parametrize("draw", [_uniform, _heavy, _few_values])
@pytest.mark.parametrize("count", [9, 20, 100])
def test_margins_cover_what_they_say(
    draw: Callable[[np.random.Generator, int], Floats], count: int
) -> None:
    generator = np.random.default_rng(count)
    covered = [
        float(np.mean(draw(generator, 200) <= conformal_margin(draw(generator, count))))
        for _ in range(1000)
    ]
    assert np.mean(covered) >= COVERAGE - 0.01


@pytest.mark.parametrize("count", [9, 20, 100])
def test_margins_are_not_wider_than_they_need_to_be(count: int) -> None:
    generator = np.random.default_rng(count)
    # Of numbers between 0 and 1, the share below the margin is the margin.
    covered = [conformal_margin(_uniform(generator, count)) for _ in range(2000)]
    assert np.mean(covered) <= COVERAGE + 1 / (count + 1) + 0.01


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (5, 5), (9, 9), (10, 10), (19, 18), (99, 90)])
def test_the_margin_by_hand(count: int, rank: int) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal_margin(scores) == rank


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_only_the_order_of_the_scores_matters(values: list[float]) -> None:
    scores = np.array(values)
    margin = conformal_margin(scores)
    assert margin in scores
    assert conformal_margin(np.sqrt(scores)) == np.sqrt(margin)
    assert conformal_margin(scores[::-1]) == margin
