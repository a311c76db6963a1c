"""Known weights are found again; what runs side by side is told from what does not."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any, cast

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
from tdse.measure.interference import Contender, _Block, measure_pair, overlapping
from tdse.measure.timing import Reference
from tdse.runtime.model import Model

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


class Shared:
    """Regions and references of a machine that is made up: each run takes 100 us."""

    def __init__(self, contentions: list[float]) -> None:
        self._contentions = contentions

    def contention(self) -> float:
        return self._contentions.pop(0) if self._contentions else 1.0

    def time_runs(self, inputs: Any, runs: int) -> np.ndarray[Any, Any]:
        time.sleep(0.0005)
        return np.full(runs, 100.0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process may use one core only")
def test_rounds_on_cores_that_are_one_do_not_count() -> None:
    region = Contender(cast(Model, Shared([])), ())
    # The second core's reference tells of the first round that the two were one.
    references = cast(tuple[Reference, Reference], (Shared([]), Shared([1.0, 1.6])))
    found = measure_pair(region, region, references, patience_s=30.0)
    assert found.contention == 1.0
    # With no patience left, the disturbed round is all there is, and it says so.
    references = cast(tuple[Reference, Reference], (Shared([]), Shared([1.6])))
    found = measure_pair(region, region, references, patience_s=0.0)
    assert found.contention == 1.6
    assert (found.first_us, found.first) == (100.0, 1.0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process may use one core only")
def test_a_reference_that_fails_is_heard() -> None:
    region = Contender(cast(Model, Shared([])), ())
    broken = cast(Reference, object())
    working = cast(Reference, Shared([]))
    with pytest.raises(AttributeError):
        measure_pair(region, region, (working, broken), patience_s=0.0)
