"""Regions are convex, run in their order, and are as few as merging finds."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import MODELS
from tdse.errors import PlacementError
from tdse.graph import Graph, Op, Region, check_regions, form_regions, read_tflite


def _graph(edges: set[tuple[int, int]], count: int) -> Graph:
    """A graph of ``count`` operators; operator k produces tensor k + 1 from those it reads."""
    ops = tuple(
        Op(
            index=index,
            kind="add_n",
            tflite_name="ADD_N",
            version=1,
            inputs=tuple(s + 1 for s, t in sorted(edges) if t == index) or (0,),
            outputs=(index + 1,),
            attributes={},
            macs=0,
            parameter_bytes=0,
            input_bytes=0,
            output_bytes=0,
        )
        for index in range(count)
    )
    return Graph("test", b"", "", (), ops, (0,), (count,), ("x",), ("y",))


def _placed(devices: str) -> dict[int, str]:
    return dict(enumerate(devices))


def _formed(graph: Graph, devices: str) -> list[tuple[str, tuple[int, ...]]]:
    regions = form_regions(graph, _placed(devices))
    check_regions(graph, regions)
    assert [region.index for region in regions] == list(range(len(regions)))
    return [(region.device, region.ops) for region in regions]


@st.composite
def _cases(draw: st.DrawFn, most: int = 12) -> tuple[Graph, str]:
    count = draw(st.integers(1, most))
    pairs = list(itertools.combinations(range(count), 2))
    edges = draw(st.sets(st.sampled_from(pairs), max_size=3 * count)) if pairs else set()
    devices = draw(st.text("xyz", min_size=count, max_size=count))
    return _graph(edges, count), devices


def test_example_of_the_documentation() -> None:
    graph = _graph({(0, 1), (1, 2), (2, 3), (1, 3)}, 4)
    assert _formed(graph, "xxyx") == [("x", (0, 1)), ("y", (2,)), ("x", (3,))]


def test_everything_on_one_device_is_one_region(branches: Path) -> None:
    graph = read_tflite(branches)
    assert _formed(graph, "x" * 8) == [("x", tuple(range(8)))]


def test_regions_are_connected() -> None:
    graph = _graph({(0, 1), (2, 3)}, 4)
    assert _formed(graph, "xxxx") == [("x", (0, 1)), ("x", (2, 3))]
    # The two arms share only what they read.
    arms = _graph({(0, 1), (0, 2)}, 3)
    assert _formed(arms, "xyy") == [("x", (0,)), ("y", (1,)), ("y", (2,))]


def test_a_late_operator_joins_its_consumer() -> None:
    """Operator 2 hangs on an early region, but only a later one needs it."""
    graph = _graph({(0, 1), (1, 3), (2, 3)}, 4)
    assert _formed(graph, "xyxx") == [("x", (0,)), ("y", (1,)), ("x", (2, 3))]


@settings(max_examples=300, deadline=None)
@given(_cases())
def test_regions_of_any_graph_are_valid(case: tuple[Graph, str]) -> None:
    graph, devices = case
    regions = form_regions(graph, _placed(devices))
    check_regions(graph, regions)
    assert sorted(op for region in regions for op in region.ops) == list(graph.placed_ops)
    assert all(devices[op] == region.device for region in regions for op in region.ops)
    assert regions == form_regions(graph, dict(reversed(_placed(devices).items())))


@settings(max_examples=300, deadline=None)
@given(_cases())
def test_no_two_regions_can_be_merged(case: tuple[Graph, str]) -> None:
    graph, devices = case
    regions = form_regions(graph, _placed(devices))
    owner = {op: region.index for region in regions for op in region.ops}
    for source, target, _ in graph.edges:
        first, second = regions[owner[source]], regions[owner[target]]
        if first != second and first.device == second.device:
            merged = tuple(sorted(first.ops + second.ops))
            rest = [r.ops for r in regions if r not in (first, second)]
            assert not _can_run(graph, [merged, *rest])


@settings(max_examples=60, deadline=None)
@given(_cases(most=7))
def test_close_to_the_fewest_regions(case: tuple[Graph, str]) -> None:
    graph, devices = case
    assert len(form_regions(graph, _placed(devices))) <= _fewest(graph, devices) + 1


def _can_run(graph: Graph, groups: list[tuple[int, ...]]) -> bool:
    """By plain reasoning: groups can be run one by one if some group is always ready."""
    needs = [{s for s, t, _ in graph.edges if t in group and s not in group} for group in groups]
    done: set[int] = set()
    waiting = list(range(len(groups)))
    while waiting:
        ready = [k for k in waiting if needs[k] <= done]
        if not ready:
            return False
        done |= {op for k in ready for op in groups[k]}
        waiting = [k for k in waiting if k not in ready]
    return True


def _fewest(graph: Graph, devices: str) -> int:
    """The fewest regions, by trying every set of edges along which to merge."""
    edges = sorted({(s, t) for s, t, _ in graph.edges if devices[s] == devices[t]})
    best = len(graph.ops)
    for kept in itertools.product((False, True), repeat=min(len(edges), 10)):
        group = {op: op for op in graph.placed_ops}
        for (source, target), keep in zip(edges, kept, strict=False):
            if keep:
                old, new = group[target], group[source]
                group = {op: new if g == old else g for op, g in group.items()}
        groups = [tuple(op for op in group if group[op] == g) for g in set(group.values())]
        if len(groups) < best and _can_run(graph, groups):
            best = len(groups)
    return best


def test_constant_operators_are_in_no_region() -> None:
    graph = read_tflite(MODELS["float16_weights"]())
    devices = {0: "z", 2: "x", 3: "x"}
    assert form_regions(graph, devices) == (Region(0, "x", (2, 3)),)


def test_a_model_that_cannot_be_cut_is_one_region() -> None:
    graph = read_tflite(MODELS["resource_variable"](), "counter")
    regions = form_regions(graph, _placed("xxxxx"))
    assert regions == (Region(0, "x", (0, 1, 2, 3, 4)),)
    check_regions(graph, regions)
    with pytest.raises(PlacementError) as caught:
        form_regions(graph, _placed("xxxxy"))
    assert str(caught.value) == (
        "counter: the placement is not valid: operator 0:call_once runs another subgraph of the "
        "model; use one device for all"
    )
    halves = [Region(0, "x", (0, 1)), Region(1, "x", (2, 3, 4))]
    with pytest.raises(PlacementError, match="it has 2 regions, but operator 0:call_once runs"):
        check_regions(graph, halves)


def test_assignments_that_do_not_fit(branches: Path) -> None:
    graph = read_tflite(branches)
    with pytest.raises(PlacementError, match="operator 7:add has no device"):
        form_regions(graph, _placed("xxxxxxx"))
    with pytest.raises(PlacementError, match="it has 8 operators, but no 8"):
        form_regions(graph, _placed("xxxxxxxxx"))


# 0 -> 1 -> 2 -> 3 and 1 -> 3.
@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([(0, 1, 2)], "operator 3:add_n is in no region"),
        ([(0, 1, 2), (2, 3)], "operator 2:add_n is in region 0 and in 1"),
        ([(0, 1, 2, 3), ()], "region 1 is empty"),
        ([(0, 1, 2, 3, 4)], "region 0 has operator 4, not to be placed"),
        ([(0, 1, 3), (2,)], "operator 2:add_n lies between operators of region 0, before operator"),
        ([(0, 2), (1,), (3,)], "operator 2:add_n is not connected to operator 0:add_n within"),
        ([(2, 3), (0, 1)], "region 0 runs before region 1, but operator 2:add_n needs operator 1"),
    ],
)
def test_invalid_regions(groups: list[tuple[int, ...]], text: str) -> None:
    graph = _graph({(0, 1), (1, 2), (2, 3), (1, 3)}, 4)
    regions = [Region(index, "x", ops) for index, ops in enumerate(groups)]
    with pytest.raises(PlacementError) as caught:
        check_regions(graph, regions)
    assert caught.value.why.startswith(text)


def test_convex_regions_that_need_each_other() -> None:
    """Each of two regions is convex, but neither can run first."""
    graph = _graph({(0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 2), (5, 3)}, 6)
    order = [Region(0, "x", (0,)), Region(1, "x", (5,)), Region(2, "x", (1, 3))]
    check_regions(graph, [*order, Region(3, "x", (2, 4))])
    crossed = _graph({(0, 1), (2, 3), (0, 3), (2, 1)}, 4)
    with pytest.raises(PlacementError, match="runs before region"):
        check_regions(crossed, [Region(0, "x", (0, 1)), Region(1, "x", (2, 3))])


def test_a_thousand_operators_take_no_time() -> None:
    count = 1100
    edges = {(k, k + 1) for k in range(count - 1)} | {(k, k + 7) for k in range(0, count - 7, 3)}
    graph = _graph(edges, count)
    devices = "".join("xyz"[(k * k // 5) % 3] for k in range(count))
    start = time.perf_counter()
    regions = form_regions(graph, _placed(devices))
    # A tenth of a second where nothing else runs.
    assert time.perf_counter() - start < 2
    check_regions(graph, regions)
