"""Schedules and figures that are wrong in one way each."""

import dataclasses
import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import make_genes, make_instance
from problems import dags, quotient, random_problem, simple_problem

from tdse.errors import PlacementError
from tdse.search.checker import check, faults
from tdse.search.evaluate import regions_of
from tdse.search.reference import assess
from tdse.search.schedule import Genes


@pytest.fixture(scope="module")
def good():
    """A problem, and a valid outcome with several regions and transfers."""
    problem = make_instance(11, 20, 3, shape="branches", variants_per_cpu=2)
    for seed in range(100):
        outcome = assess(problem, make_genes(seed, problem, clustered=True))
        if outcome.is_valid and len(outcome.schedule.transfers) > 3:
            return problem, outcome
    raise AssertionError("no seed gives a valid outcome")


def with_region(outcome, index, **changes):
    regions = list(outcome.schedule.regions)
    regions[index] = dataclasses.replace(regions[index], **changes)
    schedule = dataclasses.replace(outcome.schedule, regions=tuple(regions))
    return dataclasses.replace(outcome, schedule=schedule)


def with_transfers(outcome, transfers):
    schedule = dataclasses.replace(outcome.schedule, transfers=tuple(transfers))
    return dataclasses.replace(outcome, schedule=schedule)


def found(problem, outcome):
    return "; ".join(faults(problem, outcome))


def test_a_valid_outcome_has_no_faults(good):
    assert faults(*good) == []


def test_operators_in_no_region_in_two_or_unknown(good):
    problem, outcome = good
    ops = outcome.schedule.regions[0].ops
    assert "is in 0 regions" in found(problem, with_region(outcome, 0, ops=ops[1:]))
    assert "is in 2 regions" in found(problem, with_region(outcome, 1, ops=ops))
    assert "operator 99 does not exist" in found(problem, with_region(outcome, 0, ops=(*ops, 99)))
    assert "which does not exist" in found(problem, with_region(outcome, 0, variant=9))


def test_times_that_cannot_be(good):
    problem, outcome = good
    for index, region in enumerate(outcome.schedule.regions):
        late = with_region(outcome, index, end_us=region.end_us + 1)
        assert f"region {index} has time for" in found(problem, late)
        length_us = region.end_us - region.start_us
        early = with_region(outcome, index, start_us=-1.0, end_us=length_us - 1.0)
        assert f"region {index} runs from -1.0" in found(problem, early)
    regions = outcome.schedule.regions
    last = max(range(len(regions)), key=lambda index: regions[index].end_us)
    length_us = regions[last].end_us - regions[last].start_us
    moved = with_region(outcome, last, start_us=0.0, end_us=length_us)
    assert f"region {last} starts before" in found(problem, moved)


def test_two_at_once_on_one_core():
    problem = make_instance(1, 2, 1, shape="random")
    alone = assess(problem, Genes([0, 0], [True] * len(problem.links)))
    wide = dataclasses.replace(problem, device_cores=[2], edges=[], inputs=[(0, 2), (1, 2)])
    both = assess(wide, Genes([0, 0]))
    assert len(alone.schedule.regions) == len(both.schedule.regions) == 2
    narrow = dataclasses.replace(wide, device_cores=[1])
    assert "2 cores of d0 are used at once" in found(narrow, both)


def test_transfers_that_are_missing_wrong_or_in_each_others_way(good):
    problem, outcome = good
    transfers = outcome.schedule.transfers
    assert "0 times" in found(problem, with_transfers(outcome, transfers[1:]))
    assert "2 times" in found(problem, with_transfers(outcome, (*transfers, transfers[0])))
    one = transfers[-1]
    slow = dataclasses.replace(one, end_us=one.end_us + 1)
    assert f"carrying value {one.value} takes" in found(
        problem, with_transfers(outcome, (*transfers[:-1], slow))
    )
    length_us = one.end_us - one.start_us
    early = dataclasses.replace(one, start_us=-1.0, end_us=length_us - 1.0)
    assert "is carried before it is made" in found(
        problem, with_transfers(outcome, (*transfers[:-1], early))
    )
    busy = [
        dataclasses.replace(one, start_us=500.0, end_us=500.0 + one.end_us - one.start_us)
        for one in transfers
    ]
    assert "two transfers are on bus" in found(problem, with_transfers(outcome, busy))


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("makespan_us", "the makespan is"),
        ("period_us", "the period is"),
        ("active_uj", "the active energy is"),
        ("energy_uj", "the energy is"),
    ],
)
def test_figures_that_are_wrong(good, figure, text):
    problem, outcome = good
    wrong = dataclasses.replace(outcome, **{figure: getattr(outcome, figure) * 1.001})
    assert text in found(problem, wrong)


def test_latencies_and_peaks_that_are_wrong(good):
    problem, outcome = good
    assert "the latency of" in found(problem, dataclasses.replace(outcome, latency_us=(1.0,)))
    low = dataclasses.replace(outcome, peak_bytes=(0,) * problem.n_memories)
    assert "more than its peak is said to be" in found(problem, low)


def test_regions_that_are_not_connected_or_wait_for_each_other():
    problem = make_instance(2, 3, 2, shape="chain")
    outcome = assess(problem, Genes([0, 1, 0]))
    first, second, third = outcome.schedule.regions
    joined = dataclasses.replace(first, ops=(0, 2))
    schedule = dataclasses.replace(outcome.schedule, regions=(joined, second))
    text = found(problem, dataclasses.replace(outcome, schedule=schedule))
    assert "region 0 is not connected" in text
    assert "regions wait for each other" in text
    assert third.ops == (2,)


def why_invalid(problem, assignment, regions):
    with pytest.raises(PlacementError) as caught:
        check(problem, assignment, regions)
    assert caught.value.what == "the placement is not valid"
    return caught.value.why


@settings(max_examples=80, deadline=None)
@given(dags(max_ops=8, n_devices=2), st.data())
def test_any_partition_is_checked_as_networkx_does(dag, data):
    n_ops, links, devices = dag
    problem = simple_problem([[1, 1]] * n_ops, links)
    part = data.draw(st.lists(st.integers(0, 3), min_size=n_ops, max_size=n_ops))
    groups = {}
    for op, key in enumerate(part):
        groups.setdefault((key, devices[op]), []).append(op)
    regions = list(groups.values())
    graph, whole = quotient(links, regions), networkx.Graph(links)
    whole.add_nodes_from(range(n_ops))
    connected = all(networkx.is_connected(whole.subgraph(region)) for region in regions)
    if networkx.is_directed_acyclic_graph(graph) and connected:
        check(problem, devices, regions)
    else:
        why = why_invalid(problem, devices, regions)
        assert ("is not connected" in why) != connected
        assert ("wait for each other" in why) != networkx.is_directed_acyclic_graph(graph)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 3))
def test_formed_regions_are_valid(seed, n_ops, n_devices):
    problem = random_problem(seed, n_ops, n_devices)
    chance = np.random.default_rng(seed)
    assignment = [int(chance.choice(choices)) for choices in problem.choices]
    check(problem, assignment, regions_of(problem, assignment))


def chain(**more):
    return simple_problem([[1, 1], [1, math.inf], [1, 1]], [(0, 1), (1, 2)], **more)


def test_an_operator_where_it_cannot_run():
    assert why_invalid(chain(), (1, 1, 0), [[0, 1], [2]]) == "op 1 cannot run as llvm"


def test_a_pin_that_is_not_obeyed():
    why = why_invalid(chain(pins=[1, -1, -1]), (0, 0, 0), [[0, 1, 2]])
    assert why == "op 0 is pinned, but runs as litert"


def test_a_region_on_two_devices():
    why = why_invalid(chain(), (0, 0, 1), [[0, 1, 2]])
    assert why == "op 0 is on litert and op 2 on llvm, both in region 0"


def test_regions_that_wait_for_each_other():
    why = why_invalid(chain(), (0, 0, 0), [[0, 2], [1]])
    assert "region 0 is not connected" in why
    assert "regions wait for each other: 0 -> 1 -> 0" in why or "1 -> 0 -> 1" in why


def test_too_many_regions_on_a_device():
    problem = chain(single_region=[False, True])
    why = why_invalid(problem, (1, 0, 1), [[0], [1], [2]])
    assert why == "2 regions run as llvm, which allows one"
    check(problem, (1, 0, 0), [[0], [1, 2]])


@pytest.mark.parametrize(
    ("assignment", "regions", "why"),
    [
        ((0, 0), [[0, 1]], "it places 2 operators, not 3"),
        ((0, 0, 0), [[0, 1]], "op 2 is in 0 regions"),
        ((0, 0, 0), [[0, 1, 2], [2]], "op 2 is in 2 regions"),
        ((0, 0, 0), [[0, 1, 2], [3]], "operator 3 does not exist"),
        ((0, 0, 0), [[0, 1, 2], []], "region 1 is empty"),
        ((0, 0, 7), [[0, 1], [2]], "region 1 runs as variant 7, which does not exist"),
    ],
)
def test_what_is_not_a_partition(assignment, regions, why):
    assert why_invalid(chain(), assignment, regions) == why
