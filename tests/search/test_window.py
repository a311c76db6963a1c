"""Windows: a part of a placement as a problem of its own, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instances import SHAPES, draw_variants, make_instance

from tdse.search.native import Evaluator
from tdse.search.reference import assess
from tdse.search.regions import regions_from
from tdse.search.schedule import Genes
from tdse.search.window import cut_out


def placement(seed, problem):
    chance = np.random.default_rng(seed)
    variants = draw_variants(chance, problem, 1, clustered=True)[0]
    legal = [v if v in c else c[0] for v, c in zip(variants.tolist(), problem.choices, strict=True)]
    cuts = (chance.random(len(problem.links)) < 0.2).astype(np.uint8)
    return Genes(np.array(legal, np.uint8), cuts, np.zeros(problem.n_ops))


@given(st.integers(0, 1000), st.sampled_from(SHAPES), st.integers(0, 18), st.integers(1, 12))
def test_applying_what_the_window_already_has_changes_nothing(seed, shape, first, length):
    problem = make_instance(seed, 30, 4, shape=shape)
    genes = placement(seed, problem)
    window = cut_out(problem, genes, np.arange(first, first + length, dtype=np.int32))
    back = window.apply(window.genes, genes)
    assert np.array_equal(back.variants, genes.variants)
    assert np.array_equal(back.cuts, genes.cuts)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_of_everything_is_the_whole(shape):
    problem = make_instance(3, 20, 4, shape=shape)
    genes = placement(4, problem)
    window = cut_out(problem, genes, np.arange(20, dtype=np.int32))
    whole, part = assess(problem, genes), assess(window.problem, window.genes)
    assert part.makespan_us == whole.makespan_us
    assert part.period_us == whole.period_us
    assert regions_from(window.problem, window.genes) == regions_from(problem, genes)


def test_only_the_windows_operators_and_links_change():
    problem = make_instance(5, 40, 4, shape="branches")
    genes = placement(6, problem)
    ops = np.arange(10, 20, dtype=np.int32)
    window = cut_out(problem, genes, ops)
    found = Genes(
        np.array([choices[-1] for choices in window.problem.choices], np.uint8),
        1 - np.asarray(window.genes.cuts),
        np.ones(window.problem.n_ops),
    )
    applied = window.apply(found, genes)
    outside = np.setdiff1d(np.arange(40), ops)
    assert np.array_equal(applied.variants[outside], genes.variants[outside])
    assert not applied.priority[outside].any()
    assert applied.priority[ops].all()
    touching = np.isin(problem.link_array, ops).any(axis=1)
    assert np.array_equal(applied.cuts != genes.cuts, touching)


def test_operators_around_are_held_where_they_are_and_cost_nothing():
    problem = make_instance(7, 30, 4, shape="chain")
    genes = placement(8, problem)
    window = cut_out(problem, genes, np.arange(10, 15, dtype=np.int32))
    assert window.ops.tolist() == list(range(9, 16))
    ends = [0, len(window.ops) - 1]
    for end in ends:
        assert window.problem.choices[end] == (genes.variants[window.ops[end]],)
        assert window.problem.cost_us[end, genes.variants[window.ops[end]]] == 0


def test_what_fills_a_device_outside_is_not_free_in_the_window():
    problem = make_instance(9, 30, 4, shape="branches", tight=True)
    genes = placement(10, problem)
    ops = np.arange(10, 20, dtype=np.int32)
    window = cut_out(problem, genes, ops)
    device = problem.variant_device[genes.variants]
    for index, capacity in enumerate(problem.parameter_capacity_bytes):
        held = problem.parameter_bytes[(device == index) & ~np.isin(np.arange(30), ops)].sum()
        left = window.problem.parameter_capacity_bytes[index]
        assert left == max(capacity - held, 0)


def test_single_regions_are_left_alone():
    problem = make_instance(11, 30, 4, shape="branches", tight=True)
    assert problem.single_region.any()
    single = int(np.flatnonzero(problem.single_region)[0])
    genes = placement(12, problem)
    window = cut_out(problem, genes, np.arange(5, 25, dtype=np.int32))
    for op, choices in zip(window.ops.tolist(), window.problem.choices, strict=True):
        held = genes.variants[op] == single
        assert (choices == (single,)) if held else (single not in choices)
    Evaluator(window.problem).assess(window.genes)
