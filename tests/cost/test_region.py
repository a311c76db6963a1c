"""Regions: the plain sum where nothing is known, else what measured chains say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tdse.cost.region import MINIMUM_CHAINS, SUM, Floats, RegionModel, fit_region
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.workload import Workload, workload
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


def _padded(kind: str, numbers: tuple[int, ...]) -> list[Workload]:
    """A PAD, the convolution that reads it, and one that reads that."""
    window = Layer(kind, (1,), channels=8, kernel=(3, 3), padding="valid")
    layers = (Layer("pad", numbers=numbers), window, replace(window, inputs=(2,)))
    graph = build_graph(Configuration((Input((1, 12, 12, 8), "int8"),), layers))
    return [workload(graph, op) for op in graph.ops]


@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d"])
def test_a_pad_that_a_convolution_takes_over_has_a_factor_of_its_own(kind: str) -> None:
    works = _padded(kind, (0, 0, 1, 1, 1, 1, 0, 0))
    generator = np.random.default_rng(6)
    chains = _chains(SUM, 60)
    for _ in range(60):
        times = LAUNCH_US + generator.uniform(5.0, 200.0, 3)
        chains.append((works, times, LAUNCH_US + float(np.sum(times[1:] - LAUNCH_US))))
    found = fit_region(chains, LAUNCH_US)
    times = np.full(3, 100.0)
    expected = SUM.shares_us(works, times, LAUNCH_US)
    shares = found.shares_us(works, times, LAUNCH_US)
    assert shares[0] < 0.15 * expected[0]
    np.testing.assert_allclose(shares[1:], expected[1:], rtol=0.1)
    # Not where the next reads another form, where channels are padded too, or where it comes after.
    apart = [works[0], *_padded(kind, (0, 0, 0, 1, 0, 1, 0, 0))[1:]]
    wider = _padded(kind, (0, 0, 1, 1, 1, 1, 0, 8))
    for others in (apart, wider, works[::-1]):
        shares = found.shares_us(others, times, LAUNCH_US)
        np.testing.assert_allclose(shares, expected, rtol=0.1)


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


def _alone(layer: Layer, dtype: str = "int8") -> Workload:
    graph = build_graph(Configuration((Input((1, 8, 8, 8), dtype),), (layer,)))
    return workload(graph, graph.ops[0])


def test_sums_with_far_scales_count_by_themselves() -> None:
    # XNNPACK, which has others next to free, refuses these.
    works = [
        _alone(Layer("sub", constant=(8,))),
        _alone(Layer("sub", constant=(8,), rescaled=True)),
        _alone(Layer("logistic")),
    ]
    known = replace(SUM, weights={**SUM.weights, "binary_us": 0.5})
    shares = known.shares_us(works, np.full(3, LAUNCH_US + 10.0), LAUNCH_US)
    np.testing.assert_allclose(shares, [5.0, 10.0, 10.0])


def test_bytes_with_branches_count_by_themselves() -> None:
    layers = (Layer("relu"), Layer("average_pool2d", kernel=(2, 2)), Layer("logistic"))
    works = [_alone(layer, dtype) for dtype in ("int8", "float32") for layer in layers]
    known = replace(SUM, weights={**SUM.weights, "branching_us": 2.0})
    shares = known.shares_us(works, np.full(6, LAUNCH_US + 10.0), LAUNCH_US)
    np.testing.assert_allclose(shares, [20.0, 20.0, 10.0, 10.0, 10.0, 10.0])


def test_no_thread_is_woken_for_a_small_operator() -> None:
    works = [_alone(Layer("logistic"))] * 4
    known = replace(SUM, weights={**SUM.weights, "operators": 0.4})
    times = np.array([0.4, 0.75, 1.0, 7.0])
    shares = known.shares_us(works, LAUNCH_US + times, LAUNCH_US)
    np.testing.assert_allclose(shares, np.add(times, [0.0, 0.2, 0.4, 0.4]))


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
