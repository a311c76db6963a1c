"""The listed problems and what is stored of them."""

import sys
from pathlib import Path

import pytest
from exact import solve

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from listed import LATENCY, SEVERAL
from optima import deadline_problems, stored_optima


def test_all_have_a_proven_optimum():
    assert list(stored_optima()) == list(LATENCY)
    assert all(one["latency_us"] >= one["bound_us"] for one in stored_optima().values())


@pytest.mark.parametrize("name", ["layered-10x4-regions", "real-efficientnet-80x1-measured"])
def test_solved_anew_it_is_the_same(name):
    found = solve(LATENCY[name](), limit_s=60, workers=2)
    assert found.status == "proven"
    assert found.value == pytest.approx(stored_optima()[name]["latency_us"], abs=found.rounding)


def test_deadlines_can_be_met():
    problems = deadline_problems()
    assert list(problems) == list(SEVERAL)
    found = solve(problems["two-layered-16x4"], limit_s=60, workers=2, first=True)
    assert found.genes is not None
