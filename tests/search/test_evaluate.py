import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_problem, simple_problem

from tdse.search import Problem
from tdse.search.evaluate import Estimator, evaluate, regions_of


def slow_total(problem, assignment):
    """The cost model, written from its definition with loops over the arrays."""
    regions = regions_of(problem, assignment)
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    total = sum(problem.cost_us[op, device] for op, device in enumerate(assignment))
    total += sum(problem.launch_us[assignment[region[0]]] for region in regions)
    crossings = {
        (producer, tensor, region_of[consumer])
        for producer, consumer, tensor in problem.edges.tolist()
        if region_of[producer] != region_of[consumer]
    }
    for producer, tensor, region in crossings:
        pair = assignment[producer], assignment[regions[region][0]]
        total += problem.border_us[pair]
        total += problem.copy_us_per_byte[pair] * problem.tensor_bytes[tensor]
    ends = {(region_of[op], tensor, "in") for op, tensor in problem.inputs.tolist()}
    ends |= {(region_of[op], tensor, "out") for op, tensor in problem.outputs.tolist()}
    for region, tensor, _ in ends:
        device = assignment[regions[region][0]]
        total += problem.host_border_us[device]
        total += problem.host_copy_us_per_byte[device] * problem.tensor_bytes[tensor]
    return total


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(2, 3))
def test_totals_agree_with_the_definition(seed, n_ops, n_devices):
    problem = random_problem(seed, n_ops, n_devices)
    chance = np.random.default_rng(seed)
    assignment = [int(chance.choice(choices)) for choices in problem.choices]
    result = evaluate(problem, assignment)
    assert result.total_us == pytest.approx(slow_total(problem, assignment))
    assert result.total_us == pytest.approx(result.ops_us + result.launch_us + result.border_us)
    assert result.n_regions == len(result.regions) == len(result.region_devices)


def test_a_tensor_costs_once_for_each_region_that_reads_it():
    # 0 feeds 1, 2 and 3; 1 and 2 are one region, since 1 feeds 2.
    problem = simple_problem([[1, 1]] * 4, [(0, 1), (0, 2), (1, 2), (0, 3)])
    result = evaluate(problem, (0, 1, 1, 1))
    assert result.regions == ((0,), (1, 2), (3,))
    assert result.region_devices == (0, 1, 1)
    assert (result.ops_us, result.launch_us, result.border_us) == (4, 3, 1)


def test_two_tensors_between_two_regions_cost_twice():
    problem = Problem(
        2, ("a", "b"), np.ones((2, 2)), [(0, 1, 0), (0, 1, 1)], [10, 20], [0, 0],
        [[0, 0.1], [0.2, 0]], [[0, 1], [2, 0]],
    )  # fmt: skip
    assert evaluate(problem, (0, 1)).border_us == pytest.approx(1 + 1 + 0.1 * 30)
    assert evaluate(problem, (1, 0)).border_us == pytest.approx(2 + 2 + 0.2 * 30)


def test_rules_that_are_broken_cost_infinitely_much():
    problem = simple_problem([[1, math.inf], [1, 1], [1, 1]], [(0, 1), (1, 2)], pins=[-1, 0, -1])
    assert math.isfinite(evaluate(problem, (0, 0, 1)).total_us)
    assert evaluate(problem, (1, 0, 1)).total_us == math.inf
    assert evaluate(problem, (0, 1, 1)).total_us == math.inf


def test_one_region_on_a_device_that_allows_one():
    problem = simple_problem([[1, 1]] * 3, [(0, 1), (1, 2)], single_region=np.array([False, True]))
    assert math.isfinite(evaluate(problem, (0, 1, 0)).total_us)
    assert evaluate(problem, (1, 0, 1)).total_us == math.inf


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 3))
def test_the_estimated_change_is_the_difference_of_estimates(seed, n_ops, n_devices):
    problem = random_problem(seed, n_ops, n_devices, illegal=0)
    chance = np.random.default_rng(seed)
    estimator = Estimator(problem)
    before = chance.integers(0, n_devices, n_ops).tolist()
    ops = set(chance.integers(0, n_ops, 3).tolist())
    device = int(chance.integers(0, n_devices))
    after = [device if op in ops else home for op, home in enumerate(before)]
    assert estimator.delta(before, ops, device) == pytest.approx(
        estimator.estimate(after) - estimator.estimate(before), abs=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=12))
def test_the_estimate_is_exact_on_a_chain_but_for_the_first_launch(devices):
    n = len(devices)
    problem = simple_problem([[3, 4]] * n, [(op, op + 1) for op in range(n - 1)], launch_us=2)
    exact = evaluate(problem, devices).total_us
    assert Estimator(problem).estimate(devices) + 2 == pytest.approx(exact)
