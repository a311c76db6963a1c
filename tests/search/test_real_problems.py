"""Problems on graphs of models, and the file that they are made of."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tdse.graph import read_tflite

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import real_graphs
from listed import drawn_on
from real_problems import WRITTEN, measured, real_graph

NAMES = list(json.loads(WRITTEN.read_text())["graphs"])


@pytest.mark.tvm
def test_what_is_written_is_the_graph_with_its_measured_times(
    two_inputs_two_outputs, tmp_path, monkeypatch
):
    out = tmp_path / "graphs.json"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["real_graphs", str(two_inputs_two_outputs), "-o", str(out)])
    real_graphs.main()
    real = real_graph(two_inputs_two_outputs.stem, file=out)
    graph = read_tflite(two_inputs_two_outputs)
    row = {op: index for index, op in enumerate(graph.placed_ops)}
    sizes = {tensor.index: tensor.size_bytes for tensor in graph.tensors}
    assert [(u, v, real.tensor_bytes[t]) for u, v, t in real.edges] == [
        (row[u], row[v], sizes[t]) for u, v, t in graph.edges
    ]
    assert sorted((op, real.tensor_bytes[t]) for op, t in real.inputs) == sorted(
        (row[op], sizes[t]) for t in graph.inputs for op in graph.consumers[t]
    )
    assert sorted((op, real.tensor_bytes[t]) for op, t in real.outputs) == sorted(
        (row[graph.producer[t]], sizes[t]) for t in graph.outputs
    )
    assert real.parameter_bytes == [graph.ops[op].parameter_bytes for op in graph.placed_ops]
    assert real.variants == ("litert x1", "litert x2", "llvm x1", "llvm x2")
    assert (real.cost_us > 0).all() and np.isfinite(real.cost_us[:, 0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_parts_hand_over_what_the_whole_has_between_them(name):
    whole = real_graph(name)
    middle = whole.n_ops // 2
    first, last = real_graph(name, 0, middle), real_graph(name, middle)
    between = {(u, v - middle, t) for u, v, t in whole.edges if u < middle <= v}
    assert first.edges == [edge for edge in whole.edges if edge[1] < middle]
    assert last.edges == [(u - middle, v - middle, t) for u, v, t in whole.edges if u >= middle]
    assert {(u, t) for u, _, t in between} <= set(first.outputs)
    assert {(v, t) for _, v, t in between} <= set(last.inputs)
    assert {t for _, t in first.outputs} == {t for _, _, t in between} | {
        t for u, t in whole.outputs if u < middle
    }
    assert first.labels + last.labels == whole.labels
    assert np.array_equal(np.vstack([first.cost_us, last.cost_us]), whole.cost_us)


@pytest.mark.parametrize("regions", [False, True])
def test_measured_costs_stand_in_the_problem_as_they_are(regions):
    graph = real_graph(NAMES[0], 3, 13)
    problem = measured(1, graph, 4, regions=regions, tight=True)
    launch_us = graph.launch_us if regions else np.zeros(3)
    assert problem.launch_us[:3] == pytest.approx(launch_us)
    alone_us = problem.cost_us[:, :3] + problem.launch_us[:3]
    assert alone_us == pytest.approx(graph.cost_us + graph.launch_us, abs=1e-3)
    assert problem.variants[:3] == graph.variants
    assert problem.variant_device.tolist() == [0, 0, 0, 1, 2, 3]
    assert problem.variant_cores.tolist() == [1, 2, 1, 1, 1, 1]
    assert np.isinf(problem.parameter_capacity_bytes[0])
    assert (problem.parameter_capacity_bytes[1:] < sum(graph.parameter_bytes)).all()


def test_drawn_costs_come_with_the_models_graph():
    graph = real_graph(NAMES[0], 3, 13)
    problem = drawn_on(1, graph, 3)
    assert problem.edges.tolist() == [list(edge) for edge in graph.edges]
    assert problem.parameter_bytes.tolist() == graph.parameter_bytes
    assert not np.isin(problem.cost_us, graph.cost_us).any()
