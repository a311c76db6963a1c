"""What is stated for Z3, against the evaluations: nothing valid is excluded."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instances import SHAPES, make_genes, make_instance
from problems import simple_problem, two_devices

from tdse.search.demands import LIMITS, Demand, Kind, demands_of, without
from tdse.search.native import Evaluator
from tdse.search.reference import assess
from tdse.search.schedule import Genes
from tdse.search.solver import GaveUpError, Solver
from tdse.search.statement import Statement
from tdse.search.through import least_through_us

instances = st.builds(
    make_instance,
    st.integers(0, 10**9),
    st.integers(2, 25),
    st.integers(1, 4),
    shape=st.sampled_from(SHAPES),
    variants_per_cpu=st.integers(1, 3),
    n_models=st.integers(1, 2),
    tight=st.booleans(),
    slowed=st.booleans(),
    shared_memory=st.booleans(),
)


def solved(problem):
    return Solver(Statement(problem), 0, tracked=False).solve(conflicts=30_000)


def untimed(problem):
    """The problem without what depends on the schedule."""
    timed = set(LIMITS) - {Kind.PARAMETERS}
    return without(problem, [one for one in demands_of(problem) if one.kind in timed])


def just_kept(problem, outcome):
    """The problem with the figures of a placement as its limits."""
    slack = 1 + 1e-12
    return dataclasses.replace(
        problem,
        deadline_us=np.array(outcome.latency_us) * slack,
        period_us=np.full(problem.n_models, max(outcome.period_us, 1e-9) * slack),
        energy_budget_uj=outcome.energy_uj * slack,
        memory_bytes=np.array(outcome.peak_bytes, float),
    )


@settings(max_examples=250, deadline=None)
@given(instances, st.integers(0, 10**9), st.booleans())
def test_no_valid_placement_is_excluded(problem, seed, clustered):
    genes = make_genes(seed, problem, clustered=clustered)
    free = untimed(problem)
    outcome = assess(free, genes)
    limited = just_kept(free, outcome)
    kept = assess(limited, genes)
    assume(kept.is_valid)
    # Pinned to it, nothing else is left.
    assert solved(dataclasses.replace(limited, pins=genes.variants)) == tuple(genes.variants)


@settings(max_examples=200, deadline=None)
@given(instances, st.integers(0, 10**9))
def test_no_run_is_faster_than_its_bound(problem, seed):
    genes = make_genes(seed, problem, clustered=True)
    outcome = assess(problem, genes)
    bound_us = least_through_us(problem)
    for op, variant in enumerate(genes.variants):
        if variant in problem.choices[op]:
            latency_us = outcome.latency_us[problem.model_of[op]]
            assert bound_us[op, variant] <= latency_us * (1 + 1e-9)


def test_the_bound_of_a_chain_by_hand():
    problem = two_devices(
        [[1, 10], [math.inf, 2], [1, 10]],
        [(0, 1), (1, 2)],
        launch_us=[3, 3],
        border_us=np.full((2, 2), 0.5),
        link_latency_us=np.full((2, 2), 4.0),
    )
    # 0 on cpu: 3 + 1; 1 on npu: 4 + 3 + 0.5 + 2; 2 on cpu: 4 + 3 + 0.5 + 1.
    assert least_through_us(problem)[[0, 2], 0].tolist() == [22.0, 22.0]
    # 0 on npu: 3 + 10 + 2, and 2 as above.
    assert least_through_us(problem)[0, 1] == 3 + 10 + 2 + 8.5
    assert least_through_us(problem)[1, 1] == 22.0


def valid_variants(problem):
    """All variants with which some cuts break no rule, by trying all of both."""
    evaluator, n_links = Evaluator(problem), len(problem.links)
    cuts = np.array(list(itertools.product([False, True], repeat=n_links)), bool)
    cuts = cuts.reshape(2**n_links, n_links)
    return {
        variants
        for variants in itertools.product(range(problem.n_variants), repeat=problem.n_ops)
        if not evaluator.evaluate([variants] * len(cuts), cuts).violations.any(axis=1).all()
    }


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 3), st.sampled_from(SHAPES),
    st.integers(0, 2),
)  # fmt: skip
def test_what_does_not_depend_on_time_is_exact(seed, n_ops, n_devices, shape, n_singles):
    problem = untimed(make_instance(seed, n_ops, n_devices, shape=shape, tight=True))
    chance = np.random.default_rng(seed)
    singles = np.arange(problem.n_variants) >= problem.n_variants - n_singles
    capacity = chance.choice([np.inf, 2e5, 4e5], problem.n_devices)
    problem = dataclasses.replace(problem, single_region=singles, parameter_capacity_bytes=capacity)
    valid = valid_variants(problem)
    for variants in itertools.product(range(problem.n_variants), repeat=n_ops):
        legal = all(v in choices for v, choices in zip(variants, problem.choices, strict=True))
        if legal:
            fixed = dataclasses.replace(problem, pins=variants)
            assert (solved(fixed) is not None) == (variants in valid)
    found = solved(problem)
    assert found in valid if valid else found is None


def test_constants_of_many_gigabytes_are_counted_to_the_byte():
    sizes = [2**40 + 1, 2**40 + 3, 2**39]
    problem = simple_problem([[1]] * 3, [], devices=["npu"], parameter_bytes=sizes)
    for capacity, fits in ((sum(sizes), True), (sum(sizes) - 1, False)):
        limited = dataclasses.replace(problem, parameter_capacity_bytes=[float(capacity)])
        assert (solved(limited) is not None) == fits
        assert Evaluator(limited).outcome(Genes([0, 0, 0])).is_valid == fits


def test_demands_that_are_not_tracked_are_not_asked_for():
    problem = simple_problem([[1, math.inf]], [], pins=[1])
    solver = Solver(Statement(problem), 0, tracked=True)
    pin, legality = Demand(Kind.PIN, 0), Demand(Kind.LEGALITY, 0)
    assert solver.solve([pin], conflicts=100) == (1,)
    assert solver.solve([legality], conflicts=100) == (0,)
    assert solver.solve([pin, legality], conflicts=100) is None
    assert solver.core() == {pin, legality}


def test_z3_gives_up():
    problem = make_instance(27, 200, shape="branches", tight=True)
    with pytest.raises(GaveUpError):
        Solver(Statement(problem), 0, tracked=False).solve(conflicts=1)
