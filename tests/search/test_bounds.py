"""No valid placement beats the bounds, and where the bounds know everything they are reached."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, make_genes, make_instance
from problems import random_problem, simple_problem

from tdse.search import Problem, bounds
from tdse.search.bounds import lower_bound
from tdse.search.native import Evaluator

OBJECTIVES = ("latency", "throughput", "energy", "edp")


def figures(evaluations):
    """The figure of each objective, inf where a rule is broken: [objective, placement]."""
    makespan_us, energy_uj = evaluations.makespan_us, evaluations.energy_uj
    all_of_them = np.stack([makespan_us, evaluations.period_us, energy_uj, makespan_us * energy_uj])
    return np.where(evaluations.violations.any(axis=1), math.inf, all_of_them)


def best_of_all(problem, chance):
    """The best figures over all variants, cuts, and some priorities."""
    n_links = len(problem.links)
    rows = list(
        itertools.product(
            itertools.product(*problem.choices), itertools.product((0, 1), repeat=n_links)
        )
    )
    variants = np.array([row[0] for row in rows]).reshape(len(rows), problem.n_ops)
    cuts = np.array([row[1] for row in rows], bool).reshape(len(rows), n_links)
    evaluator = Evaluator(problem)
    best = figures(evaluator.evaluate(variants, cuts)).min(axis=1)
    for strict in (False, True):
        priority = chance.random((len(rows), problem.n_ops))
        found = figures(evaluator.evaluate(variants, cuts, priority, strict=strict))
        best = np.minimum(best, found.min(axis=1))
    return dict(zip(OBJECTIVES, best.tolist(), strict=True))


def improved(problem, chance, index, rounds=40):
    """Genes of a valid placement, found by moves that make the objective no worse."""
    evaluator = Evaluator(problem)
    choices = problem.choices
    variants = np.array([[chance.choice(one) for one in choices] for _ in range(40)])
    cuts = chance.random((40, len(problem.links))) < 0.1
    for _ in range(rounds):
        result = evaluator.evaluate(variants, cuts)
        # Where no placement is valid yet, those that break the rules least are kept.
        order = np.lexsort((figures(result)[index], result.violations.sum(axis=1)))
        best = order[:4]
        variants, cuts = variants[np.resize(best, 40)], cuts[np.resize(best, 40)]
        for row in range(4, 40):
            first, last = sorted(chance.integers(0, problem.n_ops, 2).tolist())
            wanted = chance.integers(0, problem.n_variants)
            for op in range(first, last + 1):
                if wanted in choices[op]:
                    variants[row, op] = wanted
            if len(problem.links):
                cuts[row, chance.integers(0, len(problem.links))] ^= True
    return figures(evaluator.evaluate(variants, cuts))


def single_lane(problem):
    """The problem with all variants taking turns on one core."""
    return dataclasses.replace(
        problem,
        device_cores=[1],
        variant_cores=[1] * problem.n_variants,
        period_us=[math.inf] * problem.n_models,
    )


@st.composite
def instances(draw, max_ops):
    """Problems of all kinds."""
    n_ops = draw(st.integers(1, max_ops))
    n_devices = draw(st.integers(1, 4))
    return make_instance(
        draw(st.integers(0, 10**9)),
        n_ops,
        n_devices,
        shape=draw(st.sampled_from(SHAPES)),
        variants_per_cpu=draw(st.integers(1, 3)),
        n_models=draw(st.integers(1, min(3, n_ops))),
        tight=draw(st.booleans()),
        slowed=draw(st.booleans()),
        shared_memory=draw(st.booleans()) and n_devices > 1,
    )


@settings(max_examples=120, deadline=None)
@given(instances(25), st.sampled_from(OBJECTIVES), st.booleans(), st.integers(0, 10**6))
def test_no_placement_that_breaks_no_rule_is_below(problem, objective, large, seed):
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(bounds, "_MOST_CHANGES", -1)
        bound = lower_bound(problem, objective)
    index = OBJECTIVES.index(objective)
    found = []
    if all(problem.choices):
        found = improved(problem, np.random.default_rng(seed), index)[index].tolist()
    evaluator = Evaluator(problem)
    for drawn in range(20):
        genes = make_genes(seed + drawn, problem, clustered=drawn % 2 == 0)
        outcome = evaluator.outcome(genes)
        if outcome.is_valid:
            product = outcome.energy_uj * outcome.makespan_us
            found.append(
                (outcome.makespan_us, outcome.period_us, outcome.energy_uj, product)[index]
            )
    assert bound <= min(found, default=math.inf) * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9), st.integers(1, 5), st.integers(1, 3), st.sampled_from(SHAPES),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_no_placement_of_a_few_operators_is_below(seed, n_ops, n_devices, shape, tight, slowed):
    problem = make_instance(seed, n_ops, n_devices, shape=shape, tight=tight, slowed=slowed)
    best = best_of_all(problem, np.random.default_rng(seed))
    for objective in OBJECTIVES:
        assert lower_bound(problem, objective) <= best[objective] * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3))
def test_chains_reach_the_bound(seed, n_ops, n_variants):
    problem = single_lane(make_instance(seed, n_ops, 1, shape="chain", variants_per_cpu=n_variants))
    best = best_of_all(problem, np.random.default_rng(seed))
    for objective in ("latency", "throughput", "energy"):
        assert lower_bound(problem, objective) == pytest.approx(best[objective], rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 4))
def test_the_latency_of_a_chain_on_many_devices_reaches_the_bound(seed, n_ops, n_devices):
    problem = make_instance(seed, n_ops, n_devices, shape="chain")
    problem = dataclasses.replace(problem, period_us=[math.inf])
    variants = np.array(list(itertools.product(*problem.choices)))
    best_us = figures(Evaluator(problem).evaluate(variants))[0].min()
    assert lower_bound(problem, "latency") == pytest.approx(best_us, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_the_least_sum_of_crossings_is_not_above_the_bound(seed, n_ops):
    # Without launches, it is where no variant has several regions that read one tensor.
    problem = dataclasses.replace(random_problem(seed, n_ops), launch_us=[0.0, 0.0])
    placements = np.array(list(itertools.product(*problem.choices)))
    bound_us = lower_bound(problem, "latency")
    assert bound_us >= crossings_us(problem, placements).min() - 1e-6
    assert bound_us <= figures(Evaluator(problem).evaluate(placements))[0].min() * (1 + 1e-9)


def crossings_us(problem, placements):
    """Operators, and each tensor once for each other variant that reads it, from end to end."""
    total_us = problem.cost_us[np.arange(problem.n_ops), placements].sum(axis=1)
    for flow, table in zip(problem.flows, np.array(problem.transfer_us), strict=True):
        source = placements[:, flow.producer]
        for variant in range(problem.n_variants):
            read = (placements[:, flow.consumers] == variant).any(axis=1) & (source != variant)
            total_us += np.where(read, table[source, variant], 0.0)
    ends = (*problem.input_flows, *problem.output_flows)
    for flow, table in zip(ends, np.array(problem.host_us), strict=True):
        ops = list(flow.consumers or (flow.producer,))
        for variant in range(problem.n_variants):
            total_us += table[variant] * (placements[:, ops] == variant).any(axis=1)
    return total_us


def test_branches_count_their_launches():
    # Two branches on the other variant are two regions, whichever way they are looked at.
    cost_us = [[1, 9], [9, 1], [9, 1], [1, 9]]
    problem = simple_problem(
        cost_us, [(0, 1), (0, 2), (1, 3), (2, 3)], launch_us=0.5, border_us=0.0
    )
    assert lower_bound(problem, "latency") == pytest.approx(4 + 4 * 0.5)


def test_cores_that_cannot_be_used_count():
    # Of three cores, two regions with two each leave one that serves nobody.
    problem = simple_problem(
        [[6.0], [6.0]], [], launch_us=0.0, devices=("wide",),
        variant_cores=[2], device_cores=[3],
    )  # fmt: skip
    assert lower_bound(problem, "latency") == pytest.approx(12.0)
    assert lower_bound(problem, "throughput") == pytest.approx(12.0)


def test_what_a_bus_carries_limits_the_period():
    problem = Problem(
        2, ("cpu", "npu"), [[1.0, math.inf], [math.inf, 1.0]], [(0, 1, 0)], [100],
        [0, 0], np.zeros((2, 2)), np.zeros((2, 2)), variant_device=[0, 1],
        devices=("cpu", "npu"), link_us_per_byte=np.full((2, 2), 0.5),
        link_bus=[[-1, 0], [0, -1]],
    )  # fmt: skip
    assert lower_bound(problem, "throughput") == pytest.approx(50.0)
    assert lower_bound(problem, "latency") == pytest.approx(52.0)


@settings(max_examples=30, deadline=None)
@given(instances(15), st.sampled_from(["latency", "throughput", "energy"]))
def test_dearer_operators_do_not_lower_the_bound(problem, objective):
    dearer = dataclasses.replace(
        problem, cost_us=2 * problem.cost_us, cost_low_us=2 * problem.cost_us,
        cost_high_us=2 * problem.cost_us,
    )  # fmt: skip
    assert lower_bound(dearer, objective) >= lower_bound(problem, objective) * (1 - 1e-6)


def test_energy_is_bought_with_a_deadline():
    problem = Problem(
        1, ("fast", "frugal"), [[10.0, 40.0]], [], [], [0, 0], np.zeros((2, 2)),
        np.zeros((2, 2)), energy_uj=[[90.0, 30.0]],
    )  # fmt: skip
    assert lower_bound(problem, "energy") == pytest.approx(30.0)
    hurried = dataclasses.replace(problem, deadline_us=[20.0])
    assert lower_bound(hurried, "energy") == pytest.approx(70.0)


def test_the_product_is_more_than_that_of_both_bounds():
    problem = Problem(
        2, ("fast", "frugal"), [[10.0, 40.0]] * 2, [(0, 1, 0)], [0], [0, 0],
        np.zeros((2, 2)), np.zeros((2, 2)), energy_uj=[[90.0, 30.0]] * 2,
    )  # fmt: skip
    assert lower_bound(problem, "latency") == pytest.approx(20.0)
    assert lower_bound(problem, "energy") == pytest.approx(60.0)
    assert lower_bound(problem, "edp") == pytest.approx(20.0 * 180.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_operators_and_no_choice(objective):
    assert lower_bound(simple_problem([], []), objective) == 0.0
    assert lower_bound(simple_problem([[math.inf, math.inf]], []), objective) == math.inf
    too_short = simple_problem([[5.0, 6.0]], [], deadline_us=[4.0])
    assert lower_bound(too_short, objective) == math.inf
    too_large = simple_problem(
        [[5.0, 6.0]], [], parameter_bytes=[10], parameter_capacity_bytes=[9.0]
    )
    assert lower_bound(too_large, objective) == math.inf
