"""Regions: the plain sum where nothing is known, else what measured chains say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tdse.cost.region import MINIMUM_CHAINS, SUM, Floats, RegionModel, fit_region
from tdse.graph.workload import Workload
from works import drawn_works

LAUNCH_US = 0.8
Chain = tuple[list[Workload], Floats, float]


def _chain(truth: RegionModel, generator: np.random.Generator) -> Chain:
    """Operators, the time of each by itself, and that of all by ``truth``."""
    drawn = drawn_works()
    works = [drawn[i] for i in generator.choice(len(drawn), generator.integers(3, 20))]
    times = LAUNCH_US + generator.uniform(5.0, 200.0, len(works))
    return works, times, truth.predict_us(works, times, LAUNCH_US)


def _faster() -> RegionModel:
    """Each factor a little smaller than in the plain sum."""
    factors = np.linspace(0.7, 0.95, len(SUM.weights)).tolist()
    named = zip(SUM.weights.items(), factors, strict=True)
    return RegionModel({name: plain * factor for (name, plain), factor in named}, 0.0, 0)


def _chains(truth: RegionModel, count: int, seed: int = 0) -> list[Chain]:
    generator = np.random.default_rng(seed)
    return [_chain(truth, generator) for _ in range(count)]


def test_nothing_known_is_the_plain_sum() -> None:
    for works, times, _ in _chains(SUM, 10):
        expected = LAUNCH_US + np.sum(times - LAUNCH_US)
        assert SUM.predict_us(works, times, LAUNCH_US) == pytest.approx(expected)
        shares = SUM.shares_us(works, times, LAUNCH_US)
        np.testing.assert_allclose(shares, times - LAUNCH_US)


def test_too_few_chains_are_the_plain_sum() -> None:
    assert fit_region([], LAUNCH_US) is SUM
    assert fit_region(_chains(_faster(), MINIMUM_CHAINS - 1), LAUNCH_US) is SUM
    assert fit_region(_chains(_faster(), MINIMUM_CHAINS), LAUNCH_US) is not SUM


def test_known_weights_predict_other_chains() -> None:
    truth = _faster()
    found = fit_region(_chains(truth, 150), LAUNCH_US)
    assert found.chains == 150
    held = _chains(truth, 40, seed=1)
    errors = [found.predict_us(w, t, LAUNCH_US) / measured - 1 for w, t, measured in held]
    plain = [SUM.predict_us(w, t, LAUNCH_US) / measured - 1 for w, t, measured in held]
    assert np.max(np.abs(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.2 * np.min(np.abs(plain))
    # The chains fit almost exactly, and the interval says so.
    assert 0 <= found.margin < 0.03


def test_the_interval_follows_the_noise() -> None:
    generator = np.random.default_rng(2)
    noisy = [(w, t, m * np.exp(generator.normal(0, 0.1))) for w, t, m in _chains(_faster(), 150)]
    # 90 % of a normal distribution lie within 1.645 deviations.
    assert fit_region(noisy, LAUNCH_US).margin == pytest.approx(0.1645, rel=0.35)


@pytest.mark.parametrize("kind", ["conv2d", "relu"])
def test_nothing_is_learnt_of_what_no_chain_has(kind: str) -> None:
    """Also where the weights of what the chains have are at their bounds."""
    generator = np.random.default_rng(3)
    few = [work for work in drawn_works() if work.kind == kind and work.input_bytes < 1 << 15]
    chains = []
    for factor in generator.choice([0.02, 8.0], 30):
        times = LAUNCH_US + generator.uniform(5.0, 50.0, 3)
        chains.append(([few[0]] * 3, times, LAUNCH_US + factor * float(np.sum(times))))
    found = fit_region(chains, LAUNCH_US)
    seen = {name for name, value in found.weights.items() if value != SUM.weights[name]}
    # A time and the number of operators; no bytes, as the cache holds all of these.
    assert len(seen) <= 2
    others = [work for work in drawn_works() if work.kind == "depthwise_conv2d"]
    times = np.full(len(others), 30.0)
    shift = found.weights["operators"]
    np.testing.assert_allclose(
        found.shares_us(others, times, LAUNCH_US),
        np.maximum(SUM.shares_us(others, times, LAUNCH_US) + shift, 0.02),
    )


def test_operators_without_a_time_do_no_harm_to_the_others() -> None:
    found = fit_region(_chains(_faster(), 40), LAUNCH_US)
    for model in (SUM, found):
        for works, times, _ in _chains(SUM, 5, seed=4):
            full = model.shares_us(works, times, LAUNCH_US)
            some = times.copy()
            some[::3] = np.nan
            shares = model.shares_us(works, some, LAUNCH_US)
            known = ~np.isnan(some)
            assert np.array_equal(shares[known], full[known])


def test_no_operator_is_free() -> None:
    for works, times, _ in _chains(SUM, 5):
        shares = SUM.shares_us(works, np.zeros_like(times), LAUNCH_US)
        assert (shares > 0).all()


def test_equal_after_json() -> None:
    found = fit_region(_chains(_faster(), 20), LAUNCH_US)
    assert RegionModel.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert RegionModel.from_json(json.loads(json.dumps(SUM.to_json()))) == SUM


def test_the_formula_leaves_out_what_has_no_weight() -> None:
    assert SUM.formula().startswith("time_us = launch + ")
    for name, weight in SUM.weights.items():
        assert (name in SUM.formula()) == (weight != 0)
