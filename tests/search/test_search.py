"""The search against everything there is, and what it says where there is nothing."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, make_instance
from problems import all_values, best_of_all, brute_force, random_problem, simple_problem

from tdse.errors import PlacementError
from tdse.search import OBJECTIVES, UNITS, search
from tdse.search.checker import faults
from tdse.search.reference import assess

# Far more than a few operators take.
ENOUGH = 60_000


def tiny(seed, shape, n_ops=4, **more):
    """A few operators on three devices, with deadlines and budgets that are not hopeless."""
    problem = make_instance(seed, n_ops, 3, shape=shape, **more)
    return dataclasses.replace(
        problem,
        memory_bytes=np.full(problem.n_memories, np.inf),
        deadline_us=problem.deadline_us * 2,
        energy_budget_uj=problem.energy_budget_uj * 2,
    )


def demand_best(problem, expected, objective="latency"):
    """Searches; the best has that value, keeps to the bound, and is what the checker takes."""
    if math.isinf(expected):
        with pytest.raises(PlacementError, match=r"no placement is possible|no valid placement"):
            search(problem, [objective], evaluations=5_000)
        return
    found = search(problem, [objective], evaluations=ENOUGH)
    best = found.candidates[0]
    assert best.values[0] == pytest.approx(expected, rel=1e-9)
    assert found.bounds[0] <= expected * (1 + 1e-9)
    assert found.gap == pytest.approx(max(0.0, expected / found.bounds[0] - 1), abs=1e-9)
    for candidate in found.candidates:
        assert faults(problem, candidate.outcome) == []
        assert candidate.outcome == assess(problem, candidate.genes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_latency_on_several_devices(shape, seed):
    problem = tiny(seed, shape, 5)
    demand_best(problem, best_of_all(problem, "latency"))


@pytest.mark.parametrize("seed", range(12))
def test_the_best_latency_under_all_rules(seed):
    # Pins, forbidden pairs, one region, a prefix, capacities, deadlines and budgets; two models.
    problem = tiny(seed, SHAPES[seed % 4], 5, tight=True, n_models=1 + seed % 2)
    demand_best(problem, best_of_all(problem, "latency"))


@pytest.mark.parametrize("objective", ["throughput", "energy", "edp"])
def test_the_best_of_other_objectives(objective):
    for seed in range(4):
        problem = tiny(seed, SHAPES[seed])
        demand_best(problem, best_of_all(problem, objective), objective)


@pytest.mark.parametrize("n_variants", [2, 3])
def test_the_best_on_one_lane(n_variants):
    for seed in range(15):
        problem = random_problem(seed, 6 if n_variants == 2 else 5, n_variants, pinned=0.1)
        demand_best(problem, brute_force(problem))


def test_one_region_of_a_variant():
    impossible = 0
    for seed in range(15):
        problem = dataclasses.replace(
            random_problem(seed, 6, illegal=0.3), single_region=[False, True]
        )
        expected = brute_force(problem)
        impossible += math.isinf(expected)
        demand_best(problem, expected)
    assert 0 < impossible < 15


@pytest.mark.parametrize("seed", range(4))
def test_the_front_of_latency_and_energy(seed):
    problem = tiny(seed, SHAPES[seed])
    objectives = ("latency", "energy")
    points = all_values(problem, objectives)
    expected = np.unique(points[moocore.is_nondominated(points)], axis=0)
    found = search(problem, objectives, evaluations=ENOUGH)
    got = np.array([candidate.values for candidate in found.candidates])
    assert (np.diff(got[:, 0]) > 0).all() and (np.diff(got[:, 1]) < 0).all()
    for candidate in found.candidates:
        assert faults(problem, candidate.outcome) == []
        outcome = candidate.outcome
        assert candidate.values == pytest.approx((outcome.makespan_us, outcome.energy_uj))
    # Nothing on it can be beaten, its ends are there, and little of the volume is missing.
    for one in got:
        assert not ((points < one * (1 - 1e-9)).all(axis=1)).any()
    assert got[0, 0] == pytest.approx(expected[0, 0])
    assert got[-1, 1] == pytest.approx(expected[:, 1].min())
    corner = points.max(axis=0)
    volume = moocore.hypervolume(got, ref=corner) / moocore.hypervolume(expected, ref=corner)
    assert 0.999 < volume < 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from(OBJECTIVES))
def test_candidates_are_valid_and_sorted(seed, n_ops, objective):
    problem = make_instance(seed, n_ops, 3, shape=SHAPES[seed % 4], variants_per_cpu=2)
    # Nothing may be able to keep up with a rate.
    problem = dataclasses.replace(problem, period_us=[math.inf])
    found = search(problem, [objective], seed=seed, evaluations=4_000)
    assert found.objectives == (objective,)
    for candidate in found.candidates:
        assert faults(problem, candidate.outcome) == []
    best_us = [candidate.values[0] for candidate in found.candidates]
    # What is within a thousandth of the best may come first for its costs at the worst.
    assert min(best_us) * 1.001 >= best_us[0]
    assert found.bounds[0] <= min(best_us) * (1 + 1e-9)


def test_answers_do_not_depend_on_what_was_searched_before():
    """Also where Z3 repairs: its first answers in a process are like all later ones."""
    script = """if True:
        from instances import make_instance
        from tdse.search import search

        problem = make_instance(0, 20, shape="chain", tight=True, slowed=True)
        for _ in range(2):
            found = search(problem, ["latency", "energy"], seed=0, evaluations=20_000)
            print([one.values for one in found.candidates])
    """
    # A process in which nothing has used Z3.
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = run.stdout.splitlines()
    assert first == second


@pytest.mark.parametrize("objectives", [("latency",), ("latency", "energy")])
def test_equal_seeds_give_equal_answers_on_any_number_of_cores(objectives, monkeypatch):
    problem = make_instance(3, 50, 4, variants_per_cpu=2)
    told = []
    for cores in (1, 2, 2):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        found = search(problem, objectives, seed=4, evaluations=20_000)
        told.append(
            (
                found.evaluations,
                found.ended,
                [(one.values, one.outcome) for one in found.candidates],
            )
        )
    assert told[0] == told[1] == told[2]


def test_the_bound_ends_the_search():
    found = search(simple_problem([[1, 9]] * 4, [(0, 1), (1, 2), (2, 3)]))
    assert (found.ended, found.gap) == ("optimal", 0.0)
    assert found.candidates[0].values == (5.0,)


def test_it_ends_where_nothing_better_is_found_for_long():
    # With a front there is no bound to reach.
    found = search(tiny(0, "chain", 3), ("latency", "energy"))
    assert found.ended == "settled"


@pytest.mark.parametrize("limit", [{"evaluations": 2_000}, {"seconds": 0.0}])
def test_the_budget_ends_it(limit):
    problem = make_instance(1, 60, 4)
    found = search(problem, **limit)
    assert found.ended == "budget"
    # A round takes at least an evaluation on each of its islands.
    assert found.evaluations < 2_000 + 10
    assert faults(problem, found.candidates[0].outcome) == []
    assert 0 < found.gap < 100


def test_progress_is_told():
    lines = []
    search(make_instance(1, 12, 3), evaluations=4_000, progress=lines.append)
    assert "placements evaluated, latency" in lines[0]
    assert UNITS["latency"] in lines[0] and "(bound" in lines[0]


def test_of_equal_candidates_the_more_certain_comes_first():
    problem = simple_problem([[10, 10.001]], [], launch_us=0.0)
    unsure = dataclasses.replace(problem, cost_high_us=[[20, 10.5]])
    assert search(problem, evaluations=500).candidates[0].genes.variants.tolist() == [0]
    assert search(unsure, evaluations=500).candidates[0].genes.variants.tolist() == [1]


def test_pins_are_obeyed():
    problem = simple_problem([[1, 9]] * 4, [(0, 1), (1, 2), (2, 3)], pins=[-1, -1, 1, -1])
    for candidate in search(problem, evaluations=5_000).candidates:
        assert candidate.genes.variants[2] == 1


def test_no_operators():
    found = search(simple_problem([], []), evaluations=100)
    assert (found.candidates[0].values, found.bounds, found.gap) == ((0.0,), (0.0,), 0.0)
    assert found.candidates[0].outcome.schedule.regions == ()


def test_z3_finds_what_no_seed_meets():
    # Both ends must be on llvm, in one region: so must all between, though litert is faster.
    cost = [[math.inf, 1], [1, 50], [1, 50], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2), (2, 3)], single_region=[False, True])
    found = search(problem, evaluations=5_000)
    assert found.candidates[0].genes.variants.tolist() == [1, 1, 1, 1]


def test_operators_that_run_nowhere_are_all_named():
    problem = simple_problem(
        [[1, 1], [math.inf, math.inf], [math.inf, 1]],
        [(0, 1), (1, 2)],
        pins=[-1, -1, 0],
        labels=["0:add", "1:weird", "2:mul"],
    )
    with pytest.raises(PlacementError) as caught:
        search(problem)
    assert caught.value.what == "no placement is possible"
    assert "1:weird" in caught.value.why and "2:mul" in caught.value.why
    assert caught.value.hint


def test_a_region_that_must_be_two_is_explained():
    cost = [[math.inf, 1], [1, math.inf], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2)], single_region=[False, True])
    with pytest.raises(PlacementError, match=r"no placement is possible: .*op 0.*; ") as caught:
        search(problem)
    assert "llvm" in caught.value.why


def test_limits_that_nothing_found_keeps_to():
    problem = make_instance(1, 12, 3)
    hard = dataclasses.replace(problem, energy_budget_uj=1e-6)
    with pytest.raises(PlacementError, match=r"no (valid )?placement .*energy"):
        search(hard, evaluations=2_000)
