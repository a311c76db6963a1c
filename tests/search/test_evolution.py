"""Seeds, selection and rounds of the evolution."""

import dataclasses
import os

import numpy as np
import pytest
from instances import SHAPES, make_instance

from tdse.search.evolution import Evolution
from tdse.search.individual import Individual, front, hypervolume, select, worst
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes
from tdse.search.seeds import earliest_finish, seed_genes


def individual(*values, penalty=0.0, n_regions=1):
    return Individual(Genes([0]), tuple(map(float, values)), penalty, n_regions)


@pytest.mark.parametrize("shape", SHAPES)
def test_seeds_keep_to_what_operators_may_run_as(shape):
    problem = make_instance(1, 40, 5, shape=shape, tight=True)
    seeds = seed_genes(problem)
    assert len({tuple(one.variants.tolist()) for one in seeds}) >= 3
    for genes in seeds:
        assert all(v in c for v, c in zip(genes.variants.tolist(), problem.choices, strict=True))


def test_earliest_finish_uses_devices_side_by_side():
    # Four equal operators, all alike on two devices with links that cost nothing.
    problem = make_instance(2, 4, 2, shape="chain")
    problem = dataclasses.replace(
        problem,
        edges=np.empty((0, 3)),
        cost_us=np.full((4, 2), 10.0),
        cost_low_us=np.full((4, 2), 10.0),
        cost_high_us=np.full((4, 2), 10.0),
        device_cores=[1, 1],
    )
    assert sorted(earliest_finish(problem).tolist()) == [0, 0, 1, 1]


def test_selection_keeps_valid_ones_first_and_equal_ones_once():
    found = [
        individual(3),
        individual(1, penalty=0.5),
        individual(2),
        individual(2),
        individual(5, penalty=0.1),
    ]
    kept = select(found, 4)
    assert [(one.values[0], one.penalty) for one in kept] == [(2, 0), (3, 0), (5, 0.1), (1, 0.5)]


def test_selection_for_two_objectives_takes_fronts_and_then_sparse_places():
    outer = [individual(1, 9), individual(9, 1)]
    between = [individual(3, 3), individual(2.9, 3.1), individual(3.1, 2.9)]
    behind = [individual(4, 9.5)]
    kept = select([*behind, *between, *outer], 3)
    assert {one.values for one in outer} <= {one.values for one in kept}
    assert behind[0].values not in {one.values for one in select([*behind, *between, *outer], 5)}


def test_the_front_and_its_volume():
    found = [individual(1, 4), individual(2, 2), individual(3, 3), individual(0.1, 0.1, penalty=1)]
    assert [one.values for one in front(found)] == [(1, 4), (2, 2)]
    assert worst(found).tolist() == [3, 4]
    corner = np.array([4.0, 8.0])
    # Logarithms to the base of 2 make the boxes 2 x 1 and 1 x 2, with 1 x 1 in common.
    assert hypervolume(found, corner) == pytest.approx(3 * np.log(2) ** 2)
    assert front([individual(1, penalty=1)]) == []


@pytest.mark.parametrize("n_ops", [20, 60, 160])
def test_rounds_do_not_depend_on_the_number_of_cores(n_ops, monkeypatch):
    problem = make_instance(3, n_ops, 4, shape="branches")

    def run(cores):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        evolution = Evolution(problem, ["latency"], 7)
        evolution.start(seed_genes(problem))
        for _ in range(3):
            evolution.step(4000)
        return evolution.evaluations, [one.values for one in evolution.population]

    assert run(1) == run(2) == run(5)


def test_a_round_keeps_to_the_evaluations_it_is_given():
    problem = make_instance(4, 60, 4)
    evolution = Evolution(problem, ["latency"], 0)
    evolution.start(seed_genes(problem))
    for most in (100, 1000, 10_000):
        before = evolution.evaluations
        evolution.step(most)
        assert evolution.evaluations - before <= most + 60


def test_rounds_improve_and_what_is_kept_is_what_the_evaluation_says():
    problem = make_instance(5, 160, 4, shape="layered")
    evolution = Evolution(problem, ["latency", "energy"], 1)
    evolution.start(seed_genes(problem))
    first = evolution.population
    for _ in range(7):
        evolution.step(20_000)
    corner = worst([*first, *evolution.population])
    assert hypervolume(evolution.population, corner) > 1.1 * hypervolume(first, corner)
    evaluator = Evaluator(problem)
    for one in evolution.population:
        figures = evaluator.assess(one.genes)
        assert one.values == (figures.makespan_us[0], figures.energy_uj[0])
