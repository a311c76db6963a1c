import itertools
import math

import networkx
import numpy as np
import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import dags, quotient, random_problem, simple_problem

from tdse.errors import PlacementError
from tdse.search import evaluate, regions_of
from tdse.search.validity import check, explain, find


def why_invalid(problem, assignment, regions):
    with pytest.raises(PlacementError) as caught:
        check(problem, assignment, regions)
    assert caught.value.what == "the placement is not valid"
    return caught.value.why


@settings(max_examples=150, deadline=None)
@given(dags(max_ops=8, n_devices=2), st.data())
def test_z3_and_networkx_agree_on_any_partition(dag, data):
    n_ops, links, devices = dag
    problem = simple_problem([[1, 1]] * n_ops, links)
    part = data.draw(st.lists(st.integers(0, 3), min_size=n_ops, max_size=n_ops))
    groups = {}
    for op, key in enumerate(part):
        groups.setdefault((key, devices[op]), []).append(op)
    regions = list(groups.values())
    graph = quotient(links, regions)
    if networkx.is_directed_acyclic_graph(graph):
        check(problem, devices, regions)
    else:
        why = why_invalid(problem, devices, regions)
        path = [int(part) for part in why.split(" wait")[0].split(" ", 1)[1].split(" -> ")]
        assert path[0] == path[-1]
        assert all(graph.has_edge(*step) for step in itertools.pairwise(path))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 3))
def test_formed_regions_are_valid(seed, n_ops, n_devices):
    problem = random_problem(seed, n_ops, n_devices)
    chance = np.random.default_rng(seed)
    assignment = [int(chance.choice(choices)) for choices in problem.choices]
    check(problem, assignment, regions_of(problem, assignment))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_z3_and_brute_force_agree_on_what_can_be_met(seed, n_ops, single):
    chance = np.random.default_rng(seed)
    free = random_problem(seed, n_ops)
    cost_us = np.where(chance.random((n_ops, 2)) < 0.4, math.inf, 1.0)
    pins = np.where(chance.random(n_ops) < 0.2, chance.integers(0, 2, n_ops), -1)
    problem = simple_problem(
        cost_us, free.links, pins=pins, single_region=np.array([False, single])
    )
    possible = any(
        math.isfinite(evaluate(problem, choice).total_us)
        for choice in itertools.product(*problem.choices)
    )
    found = find(problem) if all(problem.choices) else None
    assert (explain(problem) == "") == possible
    if possible:
        assert math.isfinite(evaluate(problem, found).total_us)
        check(problem, found, regions_of(problem, found))
    else:
        assert found is None


def chain(**more):
    return simple_problem([[1, 1], [1, math.inf], [1, 1]], [(0, 1), (1, 2)], **more)


def test_an_operator_where_it_cannot_run():
    why = why_invalid(chain(), (1, 1, 0), [[0, 1], [2]])
    assert why == "op 1 is on llvm and can run only on litert"


def test_a_pin_that_is_not_obeyed():
    why = why_invalid(chain(pins=[1, -1, -1]), (0, 0, 0), [[0, 1, 2]])
    assert why == "op 0 is on litert and is pinned to llvm"


def test_a_region_on_two_devices():
    why = why_invalid(chain(), (1, 0, 0), [[0, 1], [2]])
    assert why == "op 0 is on llvm and is in region 0, but op 1 is on litert and is in region 0"


def test_regions_that_wait_for_each_other():
    why = why_invalid(chain(), (0, 0, 0), [[0, 2], [1]])
    assert why == ("regions 0 -> 1 -> 0 wait for each other (op 0 feeds op 1, op 1 feeds op 2)")


def test_too_many_regions_on_a_device():
    problem = chain(single_region=np.array([False, True]))
    why = why_invalid(problem, (1, 0, 1), [[0], [1], [2]])
    assert why == (
        "only one region is allowed on llvm, op 0 is on llvm and is in region 0, "
        "op 2 is on llvm and is in region 2"
    )
    check(problem, (1, 0, 0), [[0], [1, 2]])


@pytest.mark.parametrize(
    ("assignment", "regions", "why"),
    [
        ((0, 0), [[0, 1]], "it places 2 operators, not 3"),
        ((0, 0, 0), [[0, 1]], "op 2 is in no region"),
        ((0, 0, 0), [[0, 1, 2], [2]], "op 2 is in regions 0 and 1"),
        ((0, 0, 0), [[0, 1, 2, 3]], "region 0 holds operator 3, which does not exist"),
        ((0, 0, 0), [[0, 1, 2], []], "region 1 is empty"),
        ((0, 0, 7), [[0, 1], [2]], "op 2 is on device 7, which does not exist"),
    ],
)
def test_what_is_not_a_partition(assignment, regions, why):
    assert why_invalid(chain(), assignment, regions) == why


def test_labels_name_the_operators():
    problem = chain(labels=["4:add", "5:softmax", "6:mul"], pins=[-1, 1, -1])
    assert explain(problem) == "5:softmax is pinned to llvm and can run only on litert"


def test_a_request_that_can_be_met_needs_no_explanation():
    assert explain(chain()) == ""
    assert find(chain(pins=[1, -1, 1])) == (1, 0, 1)


def test_one_region_needs_the_operators_between():
    # A diamond: 0 and 3 in one region, so 1 and 2 too, since a path through either would return.
    links = [(0, 1), (0, 2), (1, 3), (2, 3)]
    problem = simple_problem(
        [[1, 1]] * 4, links, pins=[1, -1, -1, 1], single_region=np.array([False, True])
    )
    assert find(problem) == (1, 1, 1, 1)


def test_one_region_is_connected():
    # Without the rule, any operator could stand between the two that are pinned.
    links = [(0, 2), (1, 2), (2, 3), (2, 4)]
    problem = simple_problem(
        [[1, 1]] * 5, links, pins=[-1, -1, -1, 1, 1], single_region=np.array([False, True])
    )
    found = find(problem)
    assert found[2:] == (1, 1, 1)
    apart = simple_problem(
        [[1, 1]] * 3, [(0, 1)], pins=[1, -1, 1], single_region=np.array([False, True])
    )
    assert explain(apart) == (
        "only one region is allowed on llvm, op 0 is pinned to llvm, op 2 is pinned to llvm"
    )


def test_z3_gives_up_in_words(monkeypatch):
    monkeypatch.setattr("tdse.search.validity._MAX_ROUNDS", 0)
    with pytest.raises(PlacementError, match="could not be decided: no answer among 0"):
        explain(chain())
    monkeypatch.setattr(z3.Solver, "check", lambda self: z3.unknown)
    monkeypatch.setattr(z3.Solver, "reason_unknown", lambda self: "timeout")
    with pytest.raises(
        PlacementError, match="could not be decided: Z3 gave up after 20 s: timeout"
    ):
        check(chain(), (0, 0, 0), [[0, 1, 2]])
