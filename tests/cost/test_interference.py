"""Known weights are found again; what runs side by side is told from what does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.cost.interference import (
    TERMS,
    InterferenceModel,
    Load,
    Pair,
    fit_interference,
)
from tdse.errors import TdseError
from tdse.measure.interference import _Block, overlapping

PRIVATE = 1 << 20


def loads(seed: int, count: int) -> list[Load]:
    generator = np.random.default_rng(seed)
    return [
        Load(*(float(x) for x in np.exp(generator.uniform([8, 10, 10, 3], [16, 16, 16, 8]))))
        for _ in range(count)
    ]


def pairs(model: InterferenceModel, seed: int, count: int) -> list[Pair]:
    some = loads(seed, 2 * count)
    return [Pair(a, b, *model.slowdown(a, b)) for a, b in zip(some[::2], some[1::2], strict=True)]


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=len(TERMS), max_size=len(TERMS)))
def test_a_model_is_found_from_its_predictions(weights: list[float]) -> None:
    true = InterferenceModel(tuple(weights), PRIVATE, 0)
    found = fit_interference(pairs(true, 1, 60), PRIVATE)
    for pair in pairs(true, 2, 20):
        assert found.slowdown(pair.first, pair.second) == pytest.approx(
            (pair.first_slowdown, pair.second_slowdown), rel=1e-3
        )


def test_a_disturbed_pair_is_left_out() -> None:
    true = InterferenceModel((0.1, 0.2, 0.0, 0.0, 0.3, 0.05), PRIVATE, 0)
    given_pairs = pairs(true, 1, 60)
    given_pairs[7] = dataclasses.replace(given_pairs[7], first_slowdown=40.0)
    found = fit_interference(given_pairs, PRIVATE)
    pair = pairs(true, 2, 1)[0]
    assert found.slowdown(pair.first, pair.second)[0] == pytest.approx(pair.first_slowdown, 0.02)


def test_too_few_pairs() -> None:
    with pytest.raises(TdseError, match="2 pairs have been measured, 12 are needed"):
        fit_interference(pairs(InterferenceModel((0.1,) * 6, PRIVATE, 0), 1, 2), PRIVATE)


def test_only_blocks_beside_the_other_count() -> None:
    own = [_Block(i, i + 1.0, np.array([1.0])) for i in range(5)]
    other = [_Block(0.5, 2.0, np.array([1.0])), _Block(2.0, 4.5, np.array([1.0]))]
    assert overlapping(own, other) == own[1:4]
