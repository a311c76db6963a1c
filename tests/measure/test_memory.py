"""Memory is measured in a process of its own, and predicted about right for a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from placed import compile_on
from tdse.cost.memory import estimate_memory
from tdse.errors import TdseError
from tdse.graph.build import build_graph
from tdse.graph.regions import form_regions
from tdse.measure.chains import draw_chain, with_half_weights
from tdse.measure.memory import measure_memory


def test_the_peak_of_a_small_network(tmp_path: Path) -> None:
    graph = build_graph(draw_chain(np.random.default_rng(3), "float32", 6))
    (tmp_path / "m.tflite").write_bytes(graph.data)
    out = compile_on("litert", tmp_path / "m.tflite", tmp_path / "out")
    reading = measure_memory(out / "model.so")
    regions = form_regions(graph, dict.fromkeys(graph.placed_ops, "litert"))
    # The libraries of another version, or pages of a larger size, may take another amount.
    assert estimate_memory(graph, regions).peak_bytes == pytest.approx(reading.peak_bytes, rel=0.5)
    assert reading.runtime_bytes < reading.resident_bytes <= reading.peak_bytes


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TdseError, match="measuring memory failed"):
        measure_memory(tmp_path / "none.so")


@pytest.mark.parametrize("seed", range(6))
def test_half_precision_keeps_the_network(seed: int) -> None:
    configuration = draw_chain(np.random.default_rng(seed), "float32", 5)
    plain, halved = build_graph(configuration), with_half_weights(configuration)
    assert [op.kind for op in plain.ops] == [halved.ops[i].kind for i in halved.placed_ops]
    parameters = sum(t.size_bytes for t in plain.tensors if t.is_constant)
    assert sum(t.size_bytes for t in halved.tensors if t.is_constant) <= parameters
