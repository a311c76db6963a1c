"""Flydels find the sum that times were made of, and say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.cost.flydel import MOST_PARAMETERS, Floats, Flydel, fit_flydel
from tdse.cost.regressors import OF_KIND, regressor_row, regressors_of
from tdse.graph.workload import Workload
from works import sized_work

KINDS = sorted({*OF_KIND, "add"})
SEEDS = st.integers(0, 2**32)
COUNT = 80


def _works(kind: str, generator: np.random.Generator, count: int = COUNT) -> list[Workload]:
    return [sized_work(kind, generator) for _ in range(count)]


def _rows(kind: str, works: list[Workload]) -> Floats:
    return np.array([regressor_row(work, kind) for work in works])


def _truth(kind: str, rows: Floats, generator: np.random.Generator) -> dict[str, float]:
    """Weights of three regressors that vary, and of the launch, which add equally to the times."""
    names = regressors_of(kind)
    varying = [i for i, name in enumerate(names) if rows[:, i].std() > 0 and name != "launch"]
    chosen = generator.choice(varying, min(3, len(varying)), replace=False)
    weights = {names[i]: float(10.0 / rows[:, i].mean()) for i in chosen}
    return {"launch": 1.0, **weights}


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS)
def test_known_weights_are_found(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    works = _works(kind, generator)
    truth = _truth(kind, _rows(kind, works), generator)
    times = Flydel(kind, truth, 0).predict_us(_rows(kind, works))
    found = fit_flydel(kind, works, times.tolist())
    held = _rows(kind, _works(kind, generator))
    np.testing.assert_allclose(
        found.predict_us(held), Flydel(kind, truth, 0).predict_us(held), rtol=1e-3
    )
    assert found.samples == COUNT
    # Some regressors of a kind may say the same of these workloads; else there is one answer.
    scaled = _rows(kind, works) / np.maximum(_rows(kind, works).max(axis=0), 1.0)
    if np.linalg.cond(scaled[:, scaled.any(axis=0)]) < 1e4:
        weights = {name: found.weights.get(name, 0.0) for name in truth}
        assert weights == pytest.approx(truth, rel=1e-2)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS, count=st.integers(1, 60))
def test_any_times_give_a_short_sum(kind: str, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    works = _works(kind, generator, count)
    times = np.exp(generator.uniform(0, 9, count))
    found = fit_flydel(kind, works, times.tolist())
    assert len(found.weights) <= MOST_PARAMETERS
    assert set(found.weights) <= set(regressors_of(kind))
    assert all(np.isfinite(weight) and weight > 0 for weight in found.weights.values())
    assert (found.predict_us(_rows(kind, works)) >= 0).all()


@pytest.mark.parametrize("factor", [0.3, 4.0])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "add", ""])
def test_a_few_outliers_do_little(kind: str, factor: float) -> None:
    generator = np.random.default_rng(1)
    works = _works(kind, generator)
    rows = _rows(kind, works)
    times = Flydel(kind, _truth(kind, rows, generator), 0).predict_us(rows)
    disturbed = times.copy()
    disturbed[::16] *= factor
    found = fit_flydel(kind, works, disturbed.tolist())
    assert np.median(np.abs(found.predict_us(rows) / times - 1)) < 0.05


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=SEEDS)
def test_the_formula_is_what_is_predicted(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    works = _works(kind, generator, 30)
    found = fit_flydel(kind, works, generator.uniform(1, 100, 30).tolist())
    left, _, right = found.formula().partition(" = ")
    assert left == "time_us"
    for row in _rows(kind, works):
        values = dict(zip(regressors_of(kind), row.tolist(), strict=True))
        assert eval(right, {}, values) == pytest.approx(float(found.predict_us([row])[0]), rel=2e-3)


def test_the_formula_of_nothing() -> None:
    assert Flydel("add", {}, 0).formula() == "time_us = 0"
    assert Flydel("add", {"launch": 0.5, "rows": 2e-3}, 9).formula() == "time_us = 0.5 + 0.002*rows"
