import math

import numpy as np
import pytest
from problems import simple_problem

from tdse.errors import TdseError
from tdse.search import Problem
from tdse.search.problem import Flow, listed


def build(**changes):
    values = {
        "n_ops": 3,
        "variants": ("litert", "llvm"),
        "cost_us": [[1, 2], [3, np.inf], [5, 6]],
        "edges": [(0, 1, 0), (0, 2, 0), (1, 2, 1)],
        "tensor_bytes": [10, 20, 30],
        "launch_us": [1, 2],
        "copy_us_per_byte": np.zeros((2, 2)),
        "border_us": np.zeros((2, 2)),
    }
    return Problem(**(values | changes))


def test_lists_become_read_only_arrays_of_the_right_type():
    problem = build()
    assert problem.cost_us.dtype == np.float64
    assert problem.edges.dtype == np.int32
    assert problem.tensor_bytes.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        problem.cost_us[0, 0] = 1


def test_arrays_of_the_caller_are_copied():
    cost_us = np.ones((3, 2))
    problem = build(cost_us=cost_us)
    cost_us[0, 0] = 99
    assert problem.cost_us[0, 0] == 1


def test_defaults_leave_all_free():
    problem = build()
    assert problem.pins.tolist() == [-1, -1, -1]
    assert problem.single_region.tolist() == [False, False]
    assert problem.host_border_us.tolist() == [0, 0]
    assert problem.inputs.shape == problem.outputs.shape == (0, 2)


def test_choices_respect_legality_and_pins():
    problem = build(pins=[1, -1, -1])
    assert problem.choices == ((1,), (0,), (0, 1))
    assert build(pins=[-1, 1, -1]).choices[1] == ()
    two = build(devices=("cpu", "gpu"), variant_device=[0, 1], device_pins=[1, 1, -1])
    assert two.choices == ((1,), (), (0, 1))


def test_flows_gather_the_readers_of_a_tensor():
    problem = build(inputs=[(1, 2), (0, 2)], outputs=[(2, 2)])
    assert problem.flows == (Flow(0, (1, 2), 10), Flow(1, (2,), 20))
    assert problem.input_flows == (Flow(-1, (0, 1), 30),)
    assert problem.output_flows == (Flow(2, (), 30),)
    assert problem.links == [(0, 1), (0, 2), (1, 2)]


def test_values_are_all_tensors_that_are_handed_over():
    problem = build(inputs=[(1, 2), (0, 2)], outputs=[(2, 2), (0, 0)])
    assert problem.values == (Flow(-1, (0, 1), 30), Flow(0, (1, 2), 10, True),
                              Flow(1, (2,), 20), Flow(2, (), 30, True))  # fmt: skip


def test_costs_at_the_ends_of_their_intervals():
    problem = build(cost_high_us=[[2, 2], [3, np.inf], [7, 6]])
    assert problem.at("high").costs == [[2, 2], [3, math.inf], [7, 6]]
    assert problem.at("low").costs == problem.costs


def test_a_platform_by_default_is_one_device_without_limits():
    problem = build()
    assert (problem.n_devices, problem.n_memories, problem.n_buses) == (1, 1, 0)
    assert problem.slowdown.tolist() == [[1]]
    assert problem.memory_bytes.tolist() == problem.deadline_us.tolist() == [math.inf]


def test_labels_are_optional():
    assert build().label(1) == "op 1"
    assert build(labels=["0:a", "1:b", "2:c"]).label(1) == "1:b"


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({"n_ops": -1}, "n_ops", "is negative"),
        ({"variants": ()}, "variants", "is empty"),
        ({"variants": ("a", "a")}, "variants", "holds a name twice"),
        ({"labels": ("a",)}, "labels", "needs 3 names, or none"),
        ({"cost_us": np.ones((3, 3))}, "cost_us", "has shape (3, 3), not 3 x 2"),
        ({"cost_us": np.full((3, 2), np.nan)}, "cost_us", "is not a number"),
        ({"cost_us": -np.ones((3, 2))}, "cost_us", "negative"),
        ({"cost_us": [["a", "b"]] * 3}, "cost_us", "cannot be read as an array of float64"),
        ({"launch_us": [1, np.inf]}, "launch_us", "infinite"),
        ({"border_us": [1, 2]}, "border_us", "has shape (2,), not 2 x 2"),
        ({"edges": [(1, 0, 0)]}, "edges", "does not come after its producer"),
        ({"edges": [(0, 3, 0)]}, "edges", "outside 0 to 2"),
        ({"edges": [(0, 1, 9)]}, "edges", "outside 0 to 2"),
        ({"edges": [(0, 1)]}, "edges", "has shape (1, 2), not n x 3"),
        ({"edges": [(0, 1.5, 0)]}, "edges", "not a int32"),
        ({"tensor_bytes": [1, -1]}, "tensor_bytes", "negative size"),
        ({"pins": [2, -1, -1]}, "pins", "outside -1 to 1"),
        ({"pins": [0]}, "pins", "has shape (1,), not 3"),
        ({"device_pins": [1, -1, -1]}, "device_pins", "outside -1 to 0"),
        ({"cost_low_us": [[9, 2], [3, np.inf], [5, 6]]}, "cost_low_us", "no end of an interval"),
        ({"cost_high_us": [[1, 2], [3, 4], [5, 6]]}, "cost_high_us", "no end of an interval"),
        ({"variant_cores": [1, 2]}, "variant_cores", "more cores than the device has"),
        ({"variant_device": [0, 1]}, "variant_device", "outside 0 to 0"),
        ({"device_memory": [1], "devices": ("cpu",)}, "device_memory", "outside 0 to 0"),
        ({"device_memory": [1, 1], "devices": ("a", "b")}, "device_memory", "leaves out a memory"),
        ({"slowdown": [[0.5]]}, "slowdown", "holds a value below 1"),
        ({"model_of": [0, 1, 1], "models": ("a", "b")}, "edges", "joins two models"),
        ({"forbidden_pairs": [(1, 1)]}, "forbidden_pairs", "an operator and itself"),
        ({"period_us": [0]}, "period_us", "holds zero"),
        ({"energy_budget_uj": math.nan}, "energy_budget_uj", "is no amount of energy"),
        ({"inputs": [(7, 0)]}, "inputs", "outside 0 to 2"),
        ({"outputs": [(0, 7)]}, "outputs", "outside 0 to 2"),
    ],
)
def test_a_wrong_array_is_named(changes, name, why):
    with pytest.raises(TdseError) as caught:
        build(**changes)
    assert caught.value.where == name
    assert why in caught.value.why


def test_a_model_without_operators_is_a_problem_too():
    problem = simple_problem([], [])
    assert problem.n_ops == 0
    assert problem.choices == ()


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh"), 3) == "a, b, c and 5 more"
