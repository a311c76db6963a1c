import numpy as np
import pytest
from problems import simple_problem

from tdse.errors import TdseError
from tdse.search import Problem
from tdse.search.problem import Flow, listed


def build(**changes):
    values = {
        "n_ops": 3,
        "devices": ("litert", "llvm"),
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


def test_flows_gather_the_readers_of_a_tensor():
    problem = build(inputs=[(1, 2), (0, 2)], outputs=[(2, 2)])
    assert problem.flows == (Flow(0, (1, 2), 10), Flow(1, (2,), 20))
    assert problem.input_flows == (Flow(-1, (0, 1), 30),)
    assert problem.output_flows == (Flow(2, (), 30),)
    assert problem.links == [(0, 1), (0, 2), (1, 2)]


def test_labels_are_optional():
    assert build().label(1) == "op 1"
    assert build(labels=["0:a", "1:b", "2:c"]).label(1) == "1:b"


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({"n_ops": -1}, "n_ops", "is negative"),
        ({"devices": ()}, "devices", "is empty"),
        ({"devices": ("a", "a")}, "devices", "holds a name twice"),
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
