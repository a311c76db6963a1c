"""The evaluation in C++ against its specification."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, draw_variants, make_genes, make_instance
from problems import simple_problem

from tdse.errors import TdseError
from tdse.search import native
from tdse.search.native import Evaluator
from tdse.search.reference import assess
from tdse.search.schedule import Genes, Rule


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**9), st.integers(1, 40), st.integers(1, 5), st.sampled_from(SHAPES),
    st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_equal_to_the_reference_to_the_last_bit(
    seed, n_ops, n_devices, shape, cpu, tight, slowed, clustered
):
    problem = make_instance(
        seed, n_ops, n_devices, shape=shape, variants_per_cpu=cpu,
        n_models=1 + seed % min(3, n_ops), tight=tight, slowed=slowed,
    )  # fmt: skip
    genes = make_genes(seed + 1, problem, clustered=clustered, legal=seed % 2 == 0)
    assert Evaluator(problem).outcome(genes) == assess(problem, genes)


@pytest.mark.parametrize("clustered", [True, False])
@pytest.mark.parametrize("shape", ["layered", "random"])
def test_equal_where_many_regions_wait_in_circles(shape, clustered):
    for seed in range(5):
        problem = make_instance(seed, 120, shape=shape)
        genes = make_genes(seed, problem, clustered=clustered)
        assert Evaluator(problem).outcome(genes) == assess(problem, genes)


def test_equal_where_memories_are_shared():
    for seed in range(40):
        problem = make_instance(seed, 20, shared_memory=True)
        assert problem.n_memories < problem.n_devices
        genes = make_genes(seed, problem)
        assert Evaluator(problem).outcome(genes) == assess(problem, genes)


def test_a_batch_gives_what_its_placements_give_alone():
    problem = make_instance(3, 30, n_models=2)
    chance = np.random.default_rng(0)
    variants = draw_variants(chance, problem, 50, clustered=True)
    cuts = chance.random((50, len(problem.links))) < 0.3
    priority = chance.random((50, 30))
    evaluator = Evaluator(problem)
    many = evaluator.evaluate(variants, cuts, priority, details=True)
    for row in range(50):
        genes = Genes(variants[row].tolist(), cuts[row].tolist(), priority[row].tolist())
        one = assess(problem, genes)
        assert many.makespan_us[row] == one.makespan_us
        assert many.period_us[row] == one.period_us
        assert many.active_uj[row] == one.active_uj
        assert many.energy_uj[row] == one.energy_uj
        assert many.n_regions[row] == len(one.schedule.regions)
        assert tuple(many.latency_us[row]) == one.latency_us
        assert tuple(many.peak_bytes[row]) == one.peak_bytes
        assert tuple(many.violations[row]) == one.violations
        for index, region in enumerate(one.schedule.regions):
            assert set(many.region_of[row, list(region.ops)]) == {index}


@pytest.mark.parametrize("tight", [True, False])
def test_details_change_no_figure(tight):
    problem = make_instance(5, 40, shape="random", n_models=2, tight=tight)
    variants = draw_variants(np.random.default_rng(0), problem, 50, clustered=True)
    evaluator = Evaluator(problem)
    plain = evaluator.evaluate(variants)
    assert plain.region_of is None and plain.peak_bytes is None
    detailed = evaluator.evaluate(variants, details=True)
    for name in ("makespan_us", "period_us", "active_uj", "energy_uj", "n_regions"):
        assert np.array_equal(getattr(plain, name), getattr(detailed, name))
    assert np.array_equal(plain.latency_us, detailed.latency_us)
    assert np.array_equal(plain.violations, detailed.violations)
    assert (plain.violations[:, Rule.MEMORY] > 0).any() == tight


def test_threads_with_an_evaluator_each_give_equal_answers():
    problem = make_instance(4, 60)
    variants = draw_variants(np.random.default_rng(1), problem, 400, clustered=True)
    expected = Evaluator(problem).evaluate(variants).makespan_us
    found = {}

    def work(name):
        found[name] = Evaluator(problem).evaluate(variants).makespan_us

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[name] == expected).all() for name in range(3))


def test_no_operators_and_no_placements():
    assert Evaluator(simple_problem([], [])).evaluate(np.zeros((2, 0))).makespan_us.tolist() == [
        0,
        0,
    ]
    assert Evaluator(simple_problem([[1, 1]], [])).evaluate(np.zeros((0, 1))).violations.size == 0


@pytest.mark.parametrize(
    ("genes", "where", "why"),
    [
        (([0, 1],), "variants", "have shape (2,), not n x 2"),
        (([[0, 2]],), "variants", "name one outside 0 to 1"),
        (([[0, -1]],), "variants", "name one outside 0 to 1"),
        (([[0, 1]], [[0, 0]]), "cuts", "have shape (1, 2), not 1 x 1"),
        (([[0, 1]], [[0], [0]]), "cuts", "have shape (2, 1), not 1 x 1"),
        (([[0, 1]], None, [[0, np.nan]]), "priority", "are not all numbers"),
        (([[0, 1]], None, [[0]]), "priority", "have shape (1, 1), not 1 x 2"),
    ],
)
def test_wrong_genes_are_named(genes, where, why):
    with pytest.raises(TdseError) as caught:
        Evaluator(simple_problem([[1, 1], [1, 1]], [(0, 1)])).evaluate(*genes)
    assert (caught.value.where, caught.value.why) == (where, f"they {why}")


def test_a_library_that_is_not_built(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "libtdse_evaluate.so")
    native._library.cache_clear()
    with pytest.raises(TdseError, match="the native library is not built"):
        Evaluator(simple_problem([[1, 1]], []))
    assert native._library.cache_info().currsize == 0


def test_more_variants_than_a_gene_can_name():
    names = [f"v{index}" for index in range(257)]
    with pytest.raises(TdseError, match="257 variants, more than 256"):
        Evaluator(simple_problem([[1] * 257], [], devices=names))
