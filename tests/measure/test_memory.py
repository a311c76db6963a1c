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
from tdse.measure.excitation_chains import draw_chain
from tdse.measure.memory import measure_memory


def test_the_peak_of_a_small_network(tmp_path: Path) -> None:
    graph = build_graph(draw_chain(np.random.default_rng(3), "float32"))
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
