"""The exact reference against trying everything."""

import dataclasses
import math

import numpy as np
import pytest
from exact import solve, splits_freely
from instances import SHAPES, make_instance
from problems import best_of_all, simple_problem

from tdse.errors import TdseError
from tdse.search import Problem
from tdse.search.checker import faults
from tdse.search.native import Evaluator


def demand_exact(problem: Problem, objective: str) -> str:
    """Solves a problem and compares; gives the status."""
    expected = best_of_all(problem, objective)
    found = solve(problem, objective, limit_s=60)
    if math.isinf(expected):
        assert found.status == "infeasible"
        assert found.genes is None
        return found.status
    assert found.status == "proven"
    assert abs(found.value - expected) <= found.rounding
    assert found.bound <= expected + 1e-9
    assert faults(problem, Evaluator(problem).outcome(found.genes)) == []
    return found.status


def tiny(seed: int, shape: str = "branches", *, tight: bool = False, n_models: int = 1) -> Problem:
    """Five operators on three devices; deadlines and budgets that are not hopeless."""
    problem = make_instance(seed, 5, 3, shape=shape, tight=tight, n_models=n_models)
    return dataclasses.replace(
        problem,
        memory_bytes=np.full(problem.n_memories, np.inf),
        deadline_us=problem.deadline_us * 2,
        energy_budget_uj=problem.energy_budget_uj * 2,
    )


def without_overheads(problem: Problem) -> Problem:
    """The same without launches and borders, so that no two operators need to be joined."""
    free = np.zeros((problem.n_variants,) * 2)
    return dataclasses.replace(
        problem, launch_us=free[0], border_us=free, copy_us_per_byte=free,
        host_border_us=free[0], host_copy_us_per_byte=free[0], single_region=(),
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_the_least_latency(shape, seed):
    assert demand_exact(tiny(seed, shape), "latency") == "proven"


def test_the_least_latency_within_all_rules():
    found = [
        demand_exact(tiny(seed, SHAPES[seed % 4], tight=True, n_models=1 + seed % 2), "latency")
        for seed in range(12)
    ]
    assert set(found) == {"proven", "infeasible"}


def test_the_least_latency_of_operators_alone():
    for seed in range(6):
        problem = without_overheads(tiny(seed, SHAPES[seed % 4]))
        assert splits_freely(problem)
        demand_exact(problem, "latency")


def test_the_least_latency_on_several_cores():
    for seed in range(4):
        demand_exact(make_instance(seed, 5, 2, variants_per_cpu=2), "latency")


@pytest.mark.parametrize("objective", ["throughput", "energy"])
def test_the_least_period_and_energy(objective):
    for seed in range(6):
        demand_exact(tiny(seed, SHAPES[seed % 4], tight=seed % 2 > 0), objective)


def test_regions_that_take_no_time():
    problem = tiny(3, "random")
    nothing = np.where(np.isinf(problem.cost_us), np.inf, 0.0)
    problem = dataclasses.replace(
        problem, cost_us=nothing, cost_low_us=nothing, cost_high_us=nothing,
        launch_us=np.zeros(problem.n_variants), single_region=np.full(problem.n_variants, True),
    )  # fmt: skip
    assert not splits_freely(problem)
    demand_exact(problem, "latency")


def overtaking() -> Problem:
    """Two long ways over one bus; the second operator is done first, if it is not kept waiting."""
    far = np.inf
    return Problem(
        n_ops=4,
        variants=("cpu", "gpu", "npu"),
        cost_us=[[9, far, far], [far, 8, far], [far, far, 50], [far, far, 1]],
        edges=[(0, 2, 0), (1, 3, 1)],
        tensor_bytes=[10, 10],
        launch_us=[0, 0, 0],
        copy_us_per_byte=np.zeros((3, 3)),
        border_us=np.zeros((3, 3)),
        variant_device=[0, 1, 2],
        devices=("cpu", "gpu", "npu"),
        link_us_per_byte=np.where(np.eye(3, dtype=bool), 0, 2),
        link_bus=np.where(np.eye(3, dtype=bool), -1, 0),
    )


def test_transfers_take_turns_and_nothing_waits_for_better_times():
    """It would be best to let the tensor of the second operator wait: 9 + 20 + 50 + 1."""
    problem = overtaking()
    assert best_of_all(problem, "latency") == 8 + 20 + 20 + 50
    found = solve(problem)
    assert (found.status, found.value) == ("proven", 8 + 20 + 20 + 50)


def test_a_memory_that_is_too_small_is_not_called_proven():
    problem = dataclasses.replace(
        simple_problem([[5, 5], [5, 5]], [(0, 1)], outputs=[(1, 1)]), memory_bytes=[150]
    )
    found = solve(problem)
    assert (found.status, found.genes) == ("unknown", None)
    assert solve(dataclasses.replace(problem, memory_bytes=[200])).status == "proven"


def test_what_has_no_genes():
    assert solve(simple_problem([[math.inf, math.inf]], [])).status == "infeasible"
    found = solve(simple_problem([], []))
    assert (found.status, found.value) == ("proven", 0)


def test_the_first_genes_and_a_hint():
    problem = tiny(1)
    found = solve(problem, first=True)
    assert found.status in ("feasible", "proven")
    best = solve(problem)
    hinted = solve(problem, hint=best.genes)
    assert hinted.trail[0][1] == hinted.value == best.value


def test_slowdown_is_refused():
    problem = make_instance(0, 4, slowed=True)
    with pytest.raises(TdseError, match="cannot be solved exactly"):
        solve(problem)
