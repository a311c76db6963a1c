"""Arenas against a brute force, and predictions against what is known of small networks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.cost.memory import _Life, arena_bytes, estimate_memory, memory_terms
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.graph.regions import Region, form_regions

LIVES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 100)), max_size=12)


def network(*layers: Layer, size: int = 16) -> Graph:
    return build_graph(Configuration((Input((1, size, size, 8), "float32"),), layers))


def whole(graph: Graph, target: str = "litert") -> tuple[Region, ...]:
    return form_regions(graph, dict.fromkeys(graph.placed_ops, target))


@settings(deadline=None)
@given(LIVES)
def test_an_arena_holds_what_lives_at_once_and_no_more_than_all(
    lives: list[tuple[int, int, int]],
) -> None:
    made = [_Life(begin, begin + more, size, i) for i, (begin, more, size) in enumerate(lives)]
    at_once = [sum(x.size for x in made if x.begin <= t <= x.end) for t in range(15)]
    assert max(at_once) <= arena_bytes(made) <= sum(size for _, _, size in lives)


def test_results_written_in_place_take_no_memory() -> None:
    one = network(Layer("max_pool2d", (0,), kernel=(2, 2)), Layer("conv2d", (1,), channels=4))
    relu = network(
        Layer("max_pool2d", (0,), kernel=(2, 2)),
        Layer("relu", (1,)),
        Layer("conv2d", (2,), channels=4),
    )
    terms = [memory_terms(graph, whole(graph)) for graph in (one, relu)]
    assert terms[0]["workspace"] == terms[1]["workspace"] == 16 * 16 * 8 * 4


def test_weights_are_counted_in_the_plan_and_packed() -> None:
    graph = network(Layer("conv2d", (0,), channels=33))
    terms = memory_terms(graph, whole(graph))
    assert terms["plan"] >= 33 * 8 * 4 + 33 * 4
    # 33 channels take two tiles of 32: weights and a bias each.
    assert terms["packed"] == 64 * (8 + 1) * 4


def test_a_tensor_between_regions_is_in_the_executors_arena() -> None:
    graph = network(Layer("relu", (0,)), Layer("conv2d", (1,), channels=4))
    terms = memory_terms(graph, [Region(0, "litert", (0,)), Region(1, "litert", (1,))])
    assert terms["executor"] == 16 * 16 * 8 * 4 + 64
    assert terms["workspace"] == 0
    assert terms["regions"] == 2


def test_the_peak_grows_with_the_network() -> None:
    small = network(Layer("conv2d", (0,), channels=16))
    large = network(Layer("conv2d", (0,), channels=16, kernel=(3, 3)), size=128)
    estimates = [estimate_memory(graph, whole(graph)) for graph in (small, large)]
    assert estimates[0].model_bytes < estimates[1].model_bytes
    assert estimates[0].peak_bytes < estimates[1].peak_bytes
    assert estimates[1].activation_bytes > 2 * 128 * 128 * (8 + 16) * 4 * 0.9
