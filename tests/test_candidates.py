"""Candidates of a small model with made-up costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdse.candidates import Searched, placed_contestants, search_each, whole_contestants
from tdse.contest import Contestant
from tdse.errors import PlacementError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import check_regions
from tdse.search import Objective, Problem


@pytest.fixture(scope="module")
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8)


def _problem(graph: Graph, threads: int, *, power_w: float = 0.0, pinned: int = -1) -> Problem:
    """LiteRT gains by threads and pays for them; llvm is fast at HARD_SWISH, on one thread."""
    rows = {op: row for row, op in enumerate(graph.placed_ops)}
    swish = np.array([graph.ops[op].kind == "hard_swish" for op in graph.placed_ops])
    cost_us = np.where(swish[:, None], [[300.0, 3.0]], [[20.0 / threads**0.7, 18.0]])
    # The last operator runs on LiteRT only.
    cost_us[-1, 1] = np.inf
    free = np.zeros((2, 2))
    return Problem(
        n_ops=len(rows),
        variants=("litert", "llvm"),
        cost_us=cost_us,
        edges=[(rows[u], rows[v], tensor) for u, v, tensor in graph.edges],
        tensor_bytes=[tensor.size_bytes for tensor in graph.tensors],
        launch_us=[1.0, 1.0],
        copy_us_per_byte=free,
        border_us=free,
        pins=np.where(np.arange(len(rows)) == len(rows) - 1, pinned, -1),
        active_w=[power_w * threads, power_w],
        idle_w=[power_w / 4],
    )


def _say(stage: str, done: int, total: int, detail: str) -> None:
    assert 0 <= done <= total


def _search(
    graph: Graph, problems: dict[int, Problem], goals: tuple[Objective, ...]
) -> tuple[list[Contestant], list[Searched]]:
    found = search_each(problems, goals, seed=0, say=_say)
    contestants = placed_contestants(graph, problems, found, goals)
    contestants += whole_contestants(graph, problems)
    return contestants, [Searched.of(one, threads) for threads, one in found.items()]


def test_the_best_of_each_thread_count_and_whole_models(graph: Graph) -> None:
    problems = {threads: _problem(graph, threads) for threads in (1, 2)}
    found, searches = _search(graph, problems, ("latency",))
    assert [one.name for one in found] == ["placed x1", "placed x2", "litert x1", "litert x2"]
    assert [(one.threads, one.in_place) for one in searches] == [(1, False), (2, False)]
    # HARD_SWISH parts the others.
    n_swish = sum(graph.ops[op].kind == "hard_swish" for op in graph.placed_ops)
    for one in found:
        check_regions(graph, one.regions)
        assert one.power_w is None
    whole = next(one for one in found if one.name == "litert x1")
    assert whole.predicted_us == pytest.approx(
        1.0 + 300.0 * n_swish + 20.0 * (len(graph.placed_ops) - n_swish)
    )
    placed = next(one for one in found if one.name == "placed x2")
    swish = [region for region in placed.regions if region.device == "llvm"]
    assert sum(len(region.ops) for region in swish) == n_swish
    for one in searches:
        assert one.ended == "optimal" and one.gap == pytest.approx(0.0, abs=1e-3)


def test_few_of_a_front_of_all_thread_counts(graph: Graph) -> None:
    problems = {threads: _problem(graph, threads, power_w=2.0) for threads in (1, 2, 4)}
    found, searches = _search(graph, problems, ("latency", "energy"))
    placed = [one for one in found if one.name.startswith("placed")]
    assert 2 <= len(placed) <= 6
    assert len({one.name for one in found}) == len(found)
    assert {one.ended for one in searches} <= {"settled", "budget"}
    # The fastest and the thriftiest are among them, and power is between one core's and all.
    assert placed[0].threads == 4 and placed[0].power_w is not None
    assert min(one.energy_mj(one.predicted_us or 0.0) or 0.0 for one in found) == pytest.approx(
        placed[-1].energy_mj(placed[-1].predicted_us or 0.0)
    )
    for one in found:
        check_regions(graph, one.regions)
        assert one.power_w is not None and 2.5 - 1e-9 <= one.power_w <= 8.5 + 1e-9


def test_an_impossible_pin_says_why(graph: Graph) -> None:
    with pytest.raises(PlacementError, match=r"no placement is possible: .*pinned to llvm"):
        _search(graph, {1: _problem(graph, 1, pinned=1)}, ("latency",))
