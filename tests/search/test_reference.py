"""The specification against hand-made cases, the serial cost model and the independent checker."""

import dataclasses
import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, cuts_between, make_genes, make_instance
from problems import plain_total, quotient, random_problem

from tdse.graph.merge import merge_regions
from tdse.search import Problem
from tdse.search.checker import faults
from tdse.search.reference import assess
from tdse.search.regions import regions_from
from tdse.search.schedule import Genes, Rule, Transfer


def platform(cost_us, links, **more):
    """A CPU and a GPU with memories of their own; tensors of 100 bytes, launches of 1 us."""
    n_variants = len(cost_us[0])
    values = {
        "n_ops": len(cost_us),
        "variants": [f"v{index}" for index in range(n_variants)],
        "cost_us": cost_us,
        "edges": [(u, v, u) for u, v in links],
        "tensor_bytes": [100] * len(cost_us),
        "launch_us": [1] * n_variants,
        "copy_us_per_byte": np.zeros((n_variants, n_variants)),
        "border_us": np.zeros((n_variants, n_variants)),
        "devices": ("cpu", "gpu"),
        "variant_device": list(range(n_variants)),
        "link_latency_us": [[0, 2], [3, 0]],
        "link_us_per_byte": [[0, 0.1], [0.1, 0]],
    }
    return Problem(**(values | more))


def times(outcome):
    return [(region.ops, region.start_us, region.end_us) for region in outcome.schedule.regions]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**9), st.integers(1, 25), st.integers(1, 4), st.sampled_from(SHAPES),
    st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_checker_agrees_on_what_is_valid(
    seed, n_ops, n_devices, shape, cpu, tight, slowed, clustered
):
    problem = make_instance(
        seed, n_ops, n_devices, shape=shape, variants_per_cpu=cpu,
        n_models=1 + seed % min(2, n_ops), tight=tight, slowed=slowed,
    )  # fmt: skip
    outcome = assess(problem, make_genes(seed + 1, problem, clustered=clustered))
    found = faults(problem, outcome)
    assert outcome.is_valid == (not found), found


def test_tight_instances_are_seldom_met_by_chance_and_others_always():
    met = {tight: 0 for tight in (True, False)}
    for seed in range(40):
        for tight in met:
            problem = make_instance(seed, 15, tight=tight)
            met[tight] += assess(problem, make_genes(seed, problem, clustered=True)).is_valid
    assert met[True] < 20
    assert met[False] > 35


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(2, 3))
def test_one_device_takes_what_its_regions_take_one_after_the_other(seed, n_ops, n_variants):
    problem = random_problem(seed, n_ops, n_variants)
    chance = np.random.default_rng(seed)
    assignment = [int(chance.choice(choices)) for choices in problem.choices]
    merged = merge_regions(n_ops, problem.links, assignment)
    outcome = assess(problem, Genes(assignment, cuts_between(problem, merged)))
    assert sorted(map(list, (region.ops for region in outcome.schedule.regions))) == sorted(merged)
    assert outcome.makespan_us == pytest.approx(plain_total(problem, assignment, merged))
    assert outcome.period_us == pytest.approx(outcome.makespan_us)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 40), st.sampled_from(SHAPES), st.booleans())
def test_regions_are_connected_convex_and_wait_in_no_circle(seed, n_ops, shape, clustered):
    problem = make_instance(seed, n_ops, shape=shape)
    genes = make_genes(seed, problem, clustered=clustered, legal=False)
    regions = regions_from(problem, genes)
    assert sorted(op for region in regions for op in region) == list(range(n_ops))
    assert [region[0] for region in regions] == sorted(region[0] for region in regions)
    graph = networkx.DiGraph(problem.links)
    graph.add_nodes_from(range(n_ops))
    for region in regions:
        assert region == sorted(region)
        assert len({genes.variants[op] for op in region}) == 1
        assert networkx.is_weakly_connected(graph.subgraph(region))
    assert networkx.is_directed_acyclic_graph(quotient(problem.links, regions))
    assert regions_from(problem, Genes(genes.variants, cuts_between(problem, regions))) == regions


def test_a_circle_is_cut_into_levels_and_nothing_else_is():
    # 0 and 2 would be one region around 1; 3 and 4 come after, 5 stands alone.
    problem = platform([[1, 1]] * 6, [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4)])
    assert regions_from(problem, Genes([0, 1, 0, 1, 1, 0])) == [[0], [1], [2], [3, 4], [5]]
    # What is cut in the first place leaves no circle.
    cut = [link == (0, 2) for link in problem.links]
    assert regions_from(problem, Genes([0, 1, 0, 0, 0, 0], cut)) == [[0], [1], [2, 3, 4], [5]]


def test_a_region_between_two_circles_stays_whole():
    # 0 and 2 are in a circle with 1, 5 and 7 with 6; 3 and 4 come between.
    links = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (5, 7), (6, 7)]
    problem = platform([[1, 1]] * 8, links)
    assert regions_from(problem, Genes([0, 1, 0, 1, 1, 0, 1, 0])) == [
        [0], [1], [2], [3, 4], [5], [6], [7],
    ]  # fmt: skip
    # Not even a link that is cut inside it parts it.
    more = platform([[1, 1]] * 9, [*links[:4], (3, 4), (3, 8), (4, 8), *links[5:]])
    cut = [link == (3, 8) for link in more.links]
    assert [3, 4, 8] in regions_from(more, Genes([0, 1, 0, 1, 1, 0, 1, 0, 1], cut))


def test_a_transfer_takes_its_latency_and_its_bytes():
    outcome = assess(platform([[5, 1], [5, 1]], [(0, 1)]), Genes([0, 1]))
    assert times(outcome) == [((0,), 0, 6), ((1,), 18, 20)]
    assert outcome.schedule.transfers == (Transfer(0, 0, 1, 6, 18),)
    assert (outcome.makespan_us, outcome.period_us) == (20, 6)


def test_devices_that_share_a_memory_hand_tensors_over_in_place():
    problem = platform(
        [[5, 1], [5, 1]], [(0, 1)], device_memory=[0, 0], link_latency_us=(), link_us_per_byte=()
    )
    outcome = assess(problem, Genes([0, 1]))
    assert times(outcome) == [((0,), 0, 6), ((1,), 6, 8)]
    assert outcome.schedule.transfers == ()


def test_a_bus_carries_one_tensor_at_a_time_and_each_once_to_a_memory():
    links = [(0, 2), (0, 3), (1, 3)]
    cost_us = [[5, 1], [5, 1], [5, 1], [5, 9]]
    free = platform(cost_us, links)
    genes = Genes([0, 0, 1, 1], cuts=[False] * 3, priority=[2, 1, 0, 0])
    # One region after the other on the CPU; 2 and 3 do not touch, and share a copy of 0's tensor.
    assert [t[:2] for t in times(assess(free, genes))] == [
        ((0,), 0),
        ((1,), 6),
        ((2,), 18),
        ((3,), 24),
    ]
    assert len(assess(free, genes).schedule.transfers) == 2
    bus = dataclasses.replace(free, link_bus=[[-1, 0], [0, -1]], device_cores=[2, 1])
    transfers = assess(bus, genes).schedule.transfers
    assert [(one.start_us, one.end_us) for one in transfers] == [(6, 18), (18, 30)]
    assert assess(bus, genes).period_us == 24


def test_inputs_and_outputs_go_through_the_host():
    problem = platform([[5, 1]], [], inputs=[(0, 1)], outputs=[(0, 0)], tensor_bytes=[100, 50])
    outcome = assess(problem, Genes([1]))
    assert times(outcome) == [((0,), 7, 9)]
    assert outcome.latency_us == (9 + 3 + 10,)
    assert assess(problem, Genes([0])).latency_us == (6,)


def test_cores_are_shared_by_what_runs_side_by_side():
    problem = platform(
        [[4, 3]] * 3, [], devices=("cpu",), variant_device=[0, 0], variant_cores=[1, 2],
        device_cores=[2], link_latency_us=(), link_us_per_byte=(),
    )  # fmt: skip
    assert times(assess(problem, Genes([0, 0, 0])))[2][1:] == (5, 10)
    # The second needs both cores and is waited for, also by the third.
    outcome = assess(problem, Genes([0, 1, 0], priority=[3, 2, 1]))
    assert [start for _, start, _ in times(outcome)] == [0, 5, 9]
    assert outcome.period_us == 5 / 2 + 4 + 5 / 2


def test_a_launch_for_a_batch_is_shared_by_its_inferences():
    problem = platform([[4, 9]], [], variant_batch=[1, 5])
    assert assess(problem, Genes([1])).period_us == 2
    assert assess(problem, Genes([1])).makespan_us == 10


def test_regions_side_by_side_are_slowed_down_while_they_are():
    problem = platform([[3, 9], [9, 7]], [], slowdown=[[1, 2], [1.5, 1]])
    outcome = assess(problem, Genes([0, 1]))
    # 4 us at half the rate; meanwhile 8 us at two thirds of it, and the rest alone.
    assert times(outcome)[0][1:] == (0, 8)
    assert times(outcome)[1][2] == pytest.approx(8 + (8 - 8 / 1.5))
    assert outcome.period_us == pytest.approx(8 * 1.5)


def test_strict_genes_wait_for_the_next_region_of_their_order():
    # 0 on the GPU feeds 1 on the CPU, where 2 could run at once.
    problem = platform([[9, 1], [2, 9], [30, 9]], [(0, 1)])
    genes = Genes([1, 0, 0], priority=[300, 200, 100])
    assert [start for _, start, _ in times(assess(problem, genes))] == [0, 31, 0]
    strict = dataclasses.replace(genes, strict=True)
    assert [start for _, start, _ in times(assess(problem, strict))] == [0, 15, 18]


def test_the_memory_of_inner_tensors_is_used_again():
    chain = platform([[1, 1]] * 4, [(0, 1), (1, 2), (2, 3)], parameter_bytes=[7] * 4)
    assert assess(chain, Genes([0] * 4)).peak_bytes == (28 + 200, 0)
    # Cut in the middle, tensor 1 is there from the first region's start to the second's end.
    cut = Genes([0] * 4, cuts=[False, True, False])
    assert assess(chain, cut).peak_bytes == (28 + 200, 0)
    assert assess(chain, Genes([0, 0, 1, 1])).peak_bytes == (14 + 200, 14 + 200)


def test_energy_is_what_runs_and_what_waits():
    problem = platform(
        [[5, 1], [5, 1]], [(0, 1)], active_w=[2, 3], idle_w=[0.5, 0.25], energy_uj=[[1, 0], [0, 7]]
    )
    outcome = assess(problem, Genes([0, 1]))
    assert outcome.active_uj == 2 * 6 + 3 * 2 + 8
    assert outcome.energy_uj == outcome.active_uj + 0.75 * 20


@pytest.mark.parametrize(
    ("rule", "amount", "more", "variants"),
    [
        (Rule.ILLEGAL, 1, {"cost_us": [[1, math.inf], [1, 1], [1, 1]]}, [1, 1, 1]),
        (Rule.ILLEGAL, 1, {"pins": [1, -1, -1]}, [0, 0, 0]),
        (Rule.ILLEGAL, 2, {"device_pins": [1, 1, 0]}, [0, 0, 0]),
        (Rule.FORBIDDEN_PAIR, 1, {"forbidden_pairs": [(0, 2)]}, [0, 1, 0]),
        (Rule.SINGLE_REGION, 1, {"single_region": [True, False]}, [0, 1, 0]),
        (Rule.PREFIX, 1, {"prefix": [False, True]}, [0, 1, 1]),
        (Rule.NO_LINK, 1, {"link_us_per_byte": [[0, math.inf], [0, 0]]}, [0, 1, 0]),
        (Rule.PARAMETERS, 5, {"parameter_bytes": [5] * 3, "parameter_capacity_bytes": [10, 9]},
         [0, 0, 0]),
        (Rule.MEMORY, 150, {"memory_bytes": [50, 999]}, [0, 0, 0]),
        (Rule.DEADLINE, 1.5, {"deadline_us": [2.5]}, [0, 0, 0]),
        (Rule.PERIOD, 1.0, {"period_us": [2]}, [0, 0, 0]),
        (Rule.ENERGY, 3, {"active_w": [1, 1], "energy_budget_uj": 1}, [0, 0, 0]),
    ],
)  # fmt: skip
def test_broken_rules_are_told_with_their_amount(rule, amount, more, variants):
    more = {"cost_us": [[1, 1]] * 3} | more
    problem = platform(more.pop("cost_us"), [(0, 1), (1, 2)], **more)
    outcome = assess(problem, Genes(variants))
    assert outcome.violations[rule] == amount
    assert sum(map(bool, outcome.violations)) == 1
    assert faults(problem, outcome) != []


def test_models_are_told_apart():
    problem = platform(
        [[4, 1], [6, 1]], [], models=("a", "b"), model_of=[0, 1], deadline_us=[5, 5],
        period_us=[10, 20],
    )  # fmt: skip
    outcome = assess(problem, Genes([0, 0]))
    assert outcome.latency_us == (5 + 7, 7)
    assert outcome.violations[Rule.DEADLINE] == 7 + 2
    assert outcome.violations[Rule.PERIOD] == 0
    assert assess(problem, Genes([0, 1])).violations[Rule.DEADLINE] == 0
