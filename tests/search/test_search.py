import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import brute_force, random_problem, simple_problem

from tdse.errors import PlacementError
from tdse.search import evaluate, search


@pytest.mark.parametrize("n_devices", [2, 3])
def test_small_problems_are_solved_as_by_brute_force(n_devices):
    sizes = (4, 7, 10) if n_devices == 2 else (4, 6, 7)
    close = 0
    for seed in range(60):
        problem = random_problem(seed, sizes[seed % 3], n_devices)
        best_us = brute_force(problem)
        found_us = search(problem, seed=0, budget_s=20)[0].predicted_us
        assert found_us >= best_us * (1 - 1e-12)
        close += found_us <= best_us * 1.01
    assert close >= 0.95 * 60


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 3))
def test_candidates_are_valid_distinct_and_sorted(seed, n_ops, n_devices):
    problem = random_problem(seed, n_ops, n_devices)
    candidates = search(problem, seed=seed, budget_s=10, top=5)
    assert 1 <= len(candidates) <= 5
    assert len({candidate.assignment for candidate in candidates}) == len(candidates)
    times = [candidate.predicted_us for candidate in candidates]
    assert times == sorted(times)
    for candidate in candidates:
        result = evaluate(problem, candidate.assignment)
        assert result.total_us == candidate.predicted_us < math.inf
        assert result.n_regions == candidate.n_regions
        assert candidate.origin


def test_never_worse_than_any_single_device():
    for seed in range(20):
        problem = random_problem(seed, 30, illegal=0, pinned=0)
        best = search(problem, seed=0, budget_s=0)[0]
        for device in range(2):
            assert best.predicted_us <= evaluate(problem, (device,) * 30).total_us


def test_equal_seeds_give_equal_answers():
    problem = random_problem(5, 60)
    assert search(problem, seed=3, budget_s=60) == search(problem, seed=3, budget_s=60)


def test_candidates_of_a_large_problem_differ_by_more_than_a_few_operators():
    problem = random_problem(5, 150)
    chosen = [candidate.assignment for candidate in search(problem, seed=0, budget_s=5)]
    assert len(chosen) == 4
    for index, first in enumerate(chosen):
        for second in chosen[index + 1 :]:
            assert sum(a != b for a, b in zip(first, second, strict=True)) >= 3


def test_what_is_hopelessly_slow_is_not_a_candidate():
    problem = simple_problem([[1, 100], [1, 100]], [(0, 1)])
    assert [one.assignment for one in search(problem, seed=0, budget_s=5)] == [(0, 0)]


def test_the_budget_is_kept():
    problem = random_problem(0, 400)
    begun = time.monotonic()
    search(problem, seed=0, budget_s=0.5)
    # The seeds are always tried, whatever the budget.
    assert time.monotonic() - begun < 6


def test_progress_is_told():
    lines = []
    search(random_problem(0, 12), seed=0, budget_s=5, progress=lines.append)
    assert "placements evaluated, best" in lines[0]


def test_pins_are_obeyed():
    problem = simple_problem([[1, 9]] * 4, [(0, 1), (1, 2), (2, 3)], pins=[-1, -1, 1, -1])
    for candidate in search(problem, seed=0, budget_s=5):
        assert candidate.assignment[2] == 1


def test_only_one_choice_everywhere():
    problem = simple_problem([[1, math.inf]] * 2, [(0, 1)])
    (only,) = search(problem, seed=0, budget_s=5)
    assert (only.assignment, only.predicted_us, only.n_regions) == ((0, 0), 3.0, 1)
    assert only.origin == "all on litert"


def test_no_operators():
    (only,) = search(simple_problem([], []), seed=0, budget_s=1)
    assert (only.assignment, only.predicted_us, only.n_regions) == ((), 0.0, 0)


def test_operators_that_run_nowhere_are_all_named():
    problem = simple_problem(
        [[1, 1], [math.inf, math.inf], [math.inf, 1]],
        [(0, 1), (1, 2)],
        pins=[-1, -1, 0],
        labels=["0:add", "1:weird", "2:mul"],
    )
    with pytest.raises(PlacementError) as caught:
        search(problem, seed=0, budget_s=1)
    assert str(caught.value) == (
        "no placement is possible: 1:weird can run on none of litert, llvm, "
        "2:mul is pinned to litert and can run only on llvm; "
        "change the pin of 2:mul, and allow another target for 1:weird"
    )


def test_one_region_on_a_device_is_used_where_it_gains_most():
    cost = [[9, 1], [1, 90], [9, 1], [9, 1], [9, 1], [1, 90], [9, 1]]
    problem = simple_problem(
        cost, [(op, op + 1) for op in range(6)], single_region=np.array([False, True])
    )
    best = search(problem, seed=0, budget_s=5)[0]
    assert best.assignment == (0, 0, 1, 1, 1, 0, 0)
    assert best.predicted_us == pytest.approx(brute_force(problem))


@pytest.mark.parametrize("n_devices", [2, 3])
def test_one_region_rule_against_brute_force(n_devices):
    close = 0
    for seed in range(40):
        free = random_problem(seed, 6, n_devices, illegal=0.3)
        problem = type(free)(
            **{
                name: getattr(free, name)
                for name in free.__dataclass_fields__
                if name != "single_region"
            },
            single_region=np.arange(n_devices) == 1,
        )
        best_us = brute_force(problem)
        if math.isinf(best_us):
            with pytest.raises(PlacementError, match="only one region is allowed on d1"):
                search(problem, seed=0, budget_s=5)
            close += 1
        else:
            found_us = search(problem, seed=0, budget_s=5)[0].predicted_us
            assert found_us >= best_us * (1 - 1e-12)
            close += found_us <= best_us * 1.01
    assert close >= 0.95 * 40


def test_z3_finds_what_no_seed_meets():
    # Both ends must be on llvm, in one region: so must all between, though litert is faster.
    cost = [[math.inf, 1], [1, 50], [1, 50], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2), (2, 3)], single_region=np.array([False, True]))
    (only,) = search(problem, seed=0, budget_s=5)
    assert only.assignment == (1, 1, 1, 1)


def test_a_region_that_must_be_two_is_explained():
    cost = [[math.inf, 1], [1, math.inf], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2)], single_region=np.array([False, True]))
    with pytest.raises(PlacementError) as caught:
        search(problem, seed=0, budget_s=1)
    assert caught.value.why == (
        "only one region is allowed on llvm, op 0 can run only on llvm, "
        "op 1 can run only on litert, op 2 can run only on llvm"
    )
