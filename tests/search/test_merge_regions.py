import itertools
import time

import networkx
import pytest
from hypothesis import given, settings
from problems import dags, quotient, random_problem

from tdse.graph.merge import merge_regions


@settings(max_examples=300, deadline=None)
@given(dags(max_ops=14, n_devices=3))
def test_regions_are_connected_on_one_device_and_in_order(dag):
    n_ops, links, devices = dag
    regions = merge_regions(n_ops, links, devices)

    assert sorted(op for region in regions for op in region) == list(range(n_ops))
    undirected = networkx.Graph(links)
    undirected.add_nodes_from(range(n_ops))
    for region in regions:
        assert region == sorted(region)
        assert len({devices[op] for op in region}) == 1
        assert networkx.is_connected(undirected.subgraph(region))
    # In topological order: every edge of the quotient goes forward, so it has no cycle either.
    assert all(source < target for source, target in quotient(links, regions).edges)


@settings(max_examples=300, deadline=None)
@given(dags(max_ops=12))
def test_no_two_regions_could_still_be_merged(dag):
    n_ops, links, devices = dag
    regions = merge_regions(n_ops, links, devices)
    graph = quotient(links, regions)
    for source, target in graph.edges:
        if devices[regions[source][0]] == devices[regions[target][0]]:
            merged = networkx.contracted_nodes(graph, source, target, self_loops=False)
            assert not networkx.is_directed_acyclic_graph(merged)


def fewest_regions(n_ops, links, devices):
    """By trying all ways to keep or cut the edges between operators of one device."""
    inner = [link for link in links if devices[link[0]] == devices[link[1]]]
    best = n_ops
    for kept in itertools.product((False, True), repeat=len(inner)):
        graph = networkx.Graph(link for link, keep in zip(inner, kept, strict=True) if keep)
        graph.add_nodes_from(range(n_ops))
        regions = [sorted(part) for part in networkx.connected_components(graph)]
        if len(regions) < best and networkx.is_directed_acyclic_graph(quotient(links, regions)):
            best = len(regions)
    return best


def test_greedy_merge_is_almost_always_the_best_there_is():
    exact = total = 0
    for seed in range(120):
        problem = random_problem(seed, 9)
        devices = [(seed * 7919 + op * op * 31 + op) // 3 % 2 for op in range(9)]
        found = len(merge_regions(9, problem.links, devices))
        fewest = fewest_regions(9, problem.links, devices)
        assert fewest <= found <= fewest + 1
        exact += found == fewest
        total += 1
    assert exact >= 0.95 * total


def test_a_region_that_would_wait_for_itself_is_cut():
    # 0 feeds 1 and 2, which both feed 3; only 1 is on another device.
    diamond = [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert merge_regions(4, diamond, [0, 1, 0, 0]) == [[0, 2], [1], [3]]
    assert merge_regions(4, diamond, [0, 0, 0, 0]) == [[0, 1, 2, 3]]
    assert merge_regions(4, diamond, [0, 1, 1, 0]) == [[0], [1], [2], [3]]


def test_levels_from_the_outputs_serve_where_levels_from_the_inputs_cut_too_much():
    links = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (2, 4)]
    regions = merge_regions(5, links, [0, 1, 0, 1, 0])
    assert regions == [[0], [1], [2], [3], [4]]


def test_two_separate_chains_are_two_regions():
    assert merge_regions(4, [(0, 2), (1, 3)], [0, 0, 0, 0]) == [[0, 2], [1, 3]]


def test_repeated_edges_change_nothing():
    assert merge_regions(3, [(0, 1), (0, 1), (1, 2)], [0, 0, 1]) == [[0, 1], [2]]


def test_no_operators():
    assert merge_regions(0, [], []) == []


@pytest.mark.parametrize("share", [2, 3, 7])
def test_a_large_network_is_merged_in_time(share):
    problem = random_problem(1, 571)
    devices = [int(op * 2654435761 % 97 % share == 0) for op in range(571)]
    begun = time.process_time()
    merge_regions(571, problem.links, devices)
    assert time.process_time() - begun < 0.3
