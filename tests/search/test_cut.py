import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_problem, simple_problem

from tdse.search.cut import minimum_cut


def cut_value(problem, assignment, scale):
    """What the cut minimises, from its definition."""
    total = sum(problem.cost_us[op, device] for op, device in enumerate(assignment))
    crossings = {
        (tensor, assignment[producer], assignment[consumer])
        for producer, consumer, tensor in problem.edges.tolist()
        if assignment[producer] != assignment[consumer]
    }
    for tensor, source, target in crossings:
        copy = problem.copy_us_per_byte[source, target] * problem.tensor_bytes[tensor]
        total += scale * (problem.border_us[source, target] + copy + problem.launch_us[target])
    ends = {(tensor, assignment[op], "in") for op, tensor in problem.inputs.tolist()}
    ends |= {(tensor, assignment[op], "out") for op, tensor in problem.outputs.tolist()}
    for tensor, device, _ in ends:
        copy = problem.host_copy_us_per_byte[device] * problem.tensor_bytes[tensor]
        total += scale * (problem.host_border_us[device] + copy)
    return total


def greedy(problem):
    return tuple(
        min(choices, key=lambda device: problem.costs[op][device])
        for op, choices in enumerate(problem.choices)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.5, 1.0, 3.0]))
def test_two_devices_are_divided_optimally(seed, n_ops, scale):
    problem = random_problem(seed, n_ops)
    found = minimum_cut(problem, greedy(problem), scale=scale)
    assert all(device in problem.choices[op] for op, device in enumerate(found))
    best = min(cut_value(problem, choice, scale) for choice in itertools.product(*problem.choices))
    # Capacities are rounded to whole nanoseconds.
    assert cut_value(problem, found, scale) == pytest.approx(best, abs=0.001 * 6 * n_ops)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_three_devices_are_swept_to_a_point_where_no_pair_improves(seed, n_ops):
    problem = random_problem(seed, n_ops, 3)
    start = greedy(problem)
    found = minimum_cut(problem, start)
    assert all(device in problem.choices[op] for op, device in enumerate(found))
    assert cut_value(problem, found, 1.0) <= cut_value(problem, start, 1.0) + 1e-9
    for first, second in itertools.combinations(range(3), 2):
        free = [(first, second) if device in (first, second) else (device,) for device in found]
        allowed = [
            [device for device in options if device in problem.choices[op]]
            for op, options in enumerate(free)
        ]
        best = min(cut_value(problem, choice, 1.0) for choice in itertools.product(*allowed))
        assert cut_value(problem, found, 1.0) <= best + 0.001 * 6 * n_ops


def test_dear_borders_make_one_region():
    problem = simple_problem([[1, 2], [2, 1], [1, 2]], [(0, 1), (1, 2)], border_us=0.1, launch_us=0)
    assert minimum_cut(problem, (0, 0, 0)) == (0, 1, 0)
    assert minimum_cut(problem, (0, 0, 0), scale=50) == (0, 0, 0)
