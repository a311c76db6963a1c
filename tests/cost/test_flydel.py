"""Flydels find the sum that times were made of, and say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.cost.features import Floats, Quantities, quantities
from tdse.cost.flydel import MOST_PARAMETERS, Flydel, fit_flydel
from tdse.cost.regressors import REGRESSORS, regressors_of
from works import NAMED_KINDS, sized_work

KINDS = ("", *NAMED_KINDS)
SEEDS = st.integers(0, 2**32)
COUNT = 80


def _sizes(kind: str, generator: np.random.Generator, count: int = COUNT) -> Quantities:
    return quantities([sized_work(kind, generator) for _ in range(count)])


def _rows(kind: str, sizes: Quantities) -> Floats:
    return np.column_stack([REGRESSORS[name](sizes) for name in regressors_of(kind)])


def _truth(kind: str, sizes: Quantities, generator: np.random.Generator) -> Flydel:
    """The launch, and three regressors that vary, which add equally to the times."""
    names, rows = regressors_of(kind), _rows(kind, sizes)
    varying = [i for i, name in enumerate(names) if rows[:, i].std() > 0 and name != "launch"]
    chosen = generator.choice(varying, min(3, len(varying)), replace=False)
    return Flydel(kind, {"launch": 1.0, **{names[i]: 10.0 / rows[:, i].mean() for i in chosen}}, 0)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS)
def test_known_sums_are_found(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = _sizes(kind, generator)
    truth = _truth(kind, sizes, generator)
    found = fit_flydel(kind, sizes, truth.predict_us(sizes))
    assert found.samples == COUNT
    np.testing.assert_allclose(found.predict_us(sizes), truth.predict_us(sizes), rtol=1e-3)
    # Several regressors of a kind may say nearly the same of some workloads; else the weights are
    # the only ones.
    scaled = _rows(kind, sizes)[:, _rows(kind, sizes).any(axis=0)]
    if np.linalg.cond(scaled / scaled.max(axis=0)) < 1e3:
        weights = {name: found.weights.get(name, 0.0) for name in truth.weights}
        assert weights == pytest.approx(dict(truth.weights), rel=1e-2)


def test_known_weights_are_found() -> None:
    """One kind whose regressors differ enough on these workloads."""
    generator = np.random.default_rng(0)
    sizes = _sizes("softmax", generator)
    truth = _truth("softmax", sizes, generator)
    found = fit_flydel("softmax", sizes, truth.predict_us(sizes))
    large = {name: weight for name, weight in found.weights.items() if name in truth.weights}
    assert large == pytest.approx(dict(truth.weights), rel=1e-2)
    held = _sizes("softmax", generator)
    np.testing.assert_allclose(found.predict_us(held), truth.predict_us(held), rtol=1e-3)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS, count=st.integers(1, 60))
def test_any_times_give_a_short_sum(kind: str, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = _sizes(kind, generator, count)
    found = fit_flydel(kind, sizes, np.exp(generator.uniform(0, 9, count)))
    assert len(found.weights) <= MOST_PARAMETERS
    assert set(found.weights) <= set(regressors_of(kind))
    assert all(np.isfinite(weight) and weight > 0 for weight in found.weights.values())
    assert (found.predict_us(sizes) >= 0).all()


@pytest.mark.parametrize("factor", [0.3, 4.0])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "add", ""])
def test_a_few_outliers_do_little(kind: str, factor: float) -> None:
    generator = np.random.default_rng(1)
    sizes = _sizes(kind, generator)
    times = _truth(kind, sizes, generator).predict_us(sizes)
    disturbed = times.copy()
    disturbed[::16] *= factor
    found = fit_flydel(kind, sizes, disturbed)
    assert np.median(np.abs(found.predict_us(sizes) / times - 1)) < 0.05


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS)
def test_the_formula_is_what_is_predicted(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = _sizes(kind, generator, 30)
    found = fit_flydel(kind, sizes, generator.uniform(1, 100, 30))
    left, _, right = found.formula().partition(" = ")
    assert left == "time_us"
    values = {name: regressor(sizes) for name, regressor in REGRESSORS.items()}
    np.testing.assert_allclose(eval(right, {}, values), found.predict_us(sizes), rtol=2e-3)


def test_the_formula_of_nothing() -> None:
    assert Flydel("add", {}, 0).formula() == "time_us = 0"
    assert Flydel("add", {"launch": 0.5, "rows": 2e-3}, 9).formula() == "time_us = 0.5 + 0.002*rows"
