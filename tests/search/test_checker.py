"""Schedules and figures that are wrong in one way each."""

import dataclasses

import pytest
from instances import make_genes, make_instance

from tdse.search.checker import faults
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
