"""Repairs and seeds, against the evaluation."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import make_genes, make_instance
from problems import simple_problem
from test_statement import instances, untimed

from tdse.search import constraints
from tdse.search.constraints import Constraints
from tdse.search.native import Evaluator
from tdse.search.problem import Problem
from tdse.search.regions import cuts_keeping_whole, regions_from
from tdse.search.schedule import Genes, Rule

UNTIMED = (
    Rule.ILLEGAL, Rule.FORBIDDEN_PAIR, Rule.SINGLE_REGION, Rule.PREFIX, Rule.NO_LINK,
    Rule.PARAMETERS,
)  # fmt: skip


def breaks(problem, genes):
    violations = Evaluator(problem).outcome(genes).violations
    return [rule.name for rule in UNTIMED if violations[rule]]


@settings(max_examples=200, deadline=None)
@given(instances, st.integers(0, 10**9))
def test_repairs_break_no_rule_that_does_not_depend_on_time(problem, seed):
    repairs = Constraints(problem, 0)
    for offset in range(4):
        genes = make_genes(seed + offset, problem, clustered=offset % 2 == 0, legal=offset > 1)
        repaired = repairs.repair(genes)
        if repaired is None:
            assert repairs.seeds(1) == []
        else:
            assert breaks(problem, repaired) == []
            assert (repaired.priority, repaired.strict) == (genes.priority, genes.strict)


@settings(max_examples=100, deadline=None)
@given(instances, st.integers(0, 10**9))
def test_what_can_be_met_without_limits_on_time_is_valid(problem, seed):
    problem = untimed(problem)
    repaired = Constraints(problem, 0).repair(make_genes(seed, problem, legal=False))
    if repaired is not None:
        assert Evaluator(problem).outcome(repaired).is_valid


@settings(max_examples=100, deadline=None)
@given(instances, st.integers(0, 10**9))
def test_two_single_regions_stay_whole(problem, seed):
    single = np.arange(problem.n_variants) >= problem.n_variants - 2
    problem = dataclasses.replace(untimed(problem), single_region=single)
    repaired = Constraints(problem, 0).repair(make_genes(seed, problem, clustered=True))
    assert repaired is None or breaks(problem, repaired) == []


def test_valid_genes_stay_as_they_are():
    problem = make_instance(3, 30)
    genes = make_genes(5, problem)
    assert Evaluator(problem).outcome(genes).is_valid
    assert Constraints(problem, 0).repair(genes) is genes


def test_a_repair_changes_what_it_must():
    # A chain in which one operator is where it cannot be.
    cost = np.ones((12, 2))
    cost[5, 1] = math.inf
    problem = simple_problem(cost, [(op, op + 1) for op in range(11)])
    wanted = [0, 1] * 6
    assert Constraints(problem, 0).repair(Genes(wanted)).variants == (*wanted[:5], 0, *wanted[6:])


def test_most_genes_are_kept():
    # By any placement at most 70 % can be: the accelerators hold 45 % of the constants.
    problem = make_instance(21, 200, shape="branches", tight=True)
    repairs = Constraints(problem, 0)
    kept = []
    for seed in range(10):
        genes = make_genes(seed, problem, clustered=True)
        repaired = repairs.repair(genes)
        kept.append(np.mean(np.array(genes.variants) == repaired.variants))
    assert np.mean(kept) > 0.45


def test_cuts_stay_but_for_what_must_be_one():
    # 1 to 3 are one region. 0, 4 and 5 are on the other variant, and would wait in a circle.
    links = [(0, 1), (0, 4), (1, 2), (1, 4), (2, 3), (4, 5)]
    problem = simple_problem([[1, 1]] * 6, links, single_region=[False, True])
    genes = Genes([0, 1, 1, 1, 0, 0], [False, False, True, False, False, True])
    assert len(regions_from(problem, dataclasses.replace(genes, cuts=None))) == 3
    cuts = cuts_keeping_whole(problem, genes)
    assert cuts == [False, True, False, False, False, True]
    mended = dataclasses.replace(genes, cuts=cuts)
    assert regions_from(problem, mended) == [[0], [1, 2, 3], [4], [5]]


def test_one_region_needs_the_operators_between():
    # A diamond: 0 and 3 in one region, so 1 and 2 too, since a path through either would return.
    links = [(0, 1), (0, 2), (1, 3), (2, 3)]
    problem = simple_problem([[1, 1]] * 4, links, pins=[1, -1, -1, 1], single_region=[False, True])
    (only,) = Constraints(problem, 0).seeds(5)
    assert only.variants == (1, 1, 1, 1)


def test_one_region_is_connected():
    # Without the rule, any operator could stand between the two that are pinned.
    links = [(0, 2), (1, 2), (2, 3), (2, 4)]
    problem = simple_problem(
        [[1, 1]] * 5, links, pins=[-1, -1, -1, 1, 1], single_region=[False, True]
    )
    for genes in Constraints(problem, 0).seeds(10):
        assert genes.variants[2:] == (1, 1, 1)


def test_nothing_is_found_where_nothing_can_be():
    problem = simple_problem([[1, math.inf]], [], pins=[1])
    repairs = Constraints(problem, 0)
    assert repairs.repair(Genes([1])) is None
    assert repairs.repair(Genes([0])) is None
    assert repairs.seeds(3) == []


def test_equal_calls_in_equal_order_give_equal_answers():
    problem = make_instance(21, 60, 3, tight=True)
    genes = [make_genes(seed, problem, clustered=True) for seed in range(10)]
    first, second = (Constraints(problem, 1) for _ in range(2))
    answers = [first.repair(one) for one in genes]
    assert answers == [second.repair(one) for one in genes]
    assert answers == [first.repair(one) for one in genes]
    assert first.seeds(5) == second.seeds(5)


def test_seeds_differ_much():
    problem = make_instance(3, 40)
    seeds = Constraints(problem, 0).seeds(12)
    assert len(seeds) == 12
    for index, one in enumerate(seeds):
        assert breaks(problem, one) == []
        for other in seeds[:index]:
            assert sum(a != b for a, b in zip(one.variants, other.variants, strict=True)) >= 10
    # All on one variant where that can be, then at random.
    assert np.mean(np.array(seeds[0].variants) == 0) == 1.0


def test_seeds_are_all_there_are():
    problem = simple_problem([[1, 1], [1, math.inf], [1, 1]], [(0, 1), (1, 2)])
    found = {genes.variants for genes in Constraints(problem, 0).seeds(10)}
    assert found == {(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)}


def test_the_nearest_known_answer_stands_in_for_one_that_takes_too_long(monkeypatch):
    monkeypatch.setattr(constraints, "_REPAIR_CONFLICTS", 0)
    problem = make_instance(21, 60, 3, tight=True)
    repairs = Constraints(problem, 0)
    answers = []
    for seed in range(5):
        genes = make_genes(seed, problem)
        answers.append(repairs.repair(genes).variants)
        distances = [sum(map(int.__ne__, genes.variants, one)) for one in answers]
        assert distances[-1] == min(distances)
    assert len(set(answers)) < 5


def test_where_it_is_not_known_none_is_given(monkeypatch):
    monkeypatch.setattr(constraints, "_ANY_CONFLICTS", 1)
    problem = make_instance(27, 200, shape="branches", tight=True)
    assert Constraints(problem, 0).repair(make_genes(0, problem)) is None


@pytest.mark.parametrize("n_ops", [0, 1])
def test_small_problems(n_ops):
    problem = simple_problem([[1, 1]] * n_ops, [])
    assert isinstance(problem, Problem)
    assert Constraints(problem, 0).repair(Genes([1] * n_ops)) == Genes([1] * n_ops)
    assert len(Constraints(problem, 0).seeds(4)) == 2**n_ops
