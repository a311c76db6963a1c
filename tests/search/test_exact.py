"""The exact reference against trying everything."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from exact import solve
from instances import SHAPES, make_instance

from tdse.search import Problem
from tdse.search.checker import faults
from tdse.search.native import Evaluator


def best_of_all(problem: Problem, objective: str) -> float:
    """The least value of all variants, regions and orders that obey the rules, inf if none does."""
    evaluator = Evaluator(problem)
    links, n_ops = len(problem.links), problem.n_ops
    cuts = np.array(list(itertools.product([0, 1], repeat=links)), np.uint8)
    cuts = cuts.reshape(2**links, links)
    orders = np.array(list(itertools.permutations(range(n_ops))), float)
    best = math.inf
    for variants in itertools.product(*problem.choices):
        rows = evaluator.evaluate(np.tile(variants, (len(cuts), 1)), cuts, regions=True)
        _, first = np.unique(rows.region_of, axis=0, return_index=True)
        for cut in cuts[first]:
            found = evaluator.evaluate(
                np.tile(variants, (len(orders), 1)),
                np.tile(cut, (len(orders), 1)),
                orders,
                strict=True,
            )
            values = {
                "latency": found.makespan_us,
                "throughput": found.period_us,
                "energy": found.energy_uj,
            }[objective]
            values = values[~found.violations.any(axis=1)]
            best = min(best, values.min(initial=math.inf))
    return best


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


def tiny(seed: int, shape: str, **more) -> Problem:
    """Five operators on three devices; memories without limits."""
    problem = make_instance(seed, 5, 3, shape=shape, **more)
    return dataclasses.replace(problem, memory_bytes=np.full(problem.n_memories, np.inf))


def alone(problem: Problem) -> Problem:
    """The same without launches and borders."""
    nothing = np.zeros((problem.n_variants,) * 2)
    return dataclasses.replace(
        problem, launch_us=nothing[0], border_us=nothing, copy_us_per_byte=nothing,
        host_border_us=nothing[0], host_copy_us_per_byte=nothing[0], single_region=(),
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_least_latency(shape, seed):
    demand_exact(tiny(seed, shape), "latency")
