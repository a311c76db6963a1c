"""An accelerator that is only described, as a device of a platform."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from tdse.alternatives import emulated_alternatives
from tdse.dataflow.architecture import Architecture
from tdse.dataflow.from_graph import layers_of
from tdse.dataflow.layer import Layer
from tdse.dataflow.search import LayerResult, find_mapping
from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import emulate, emulate_given
from tdse.errors import PlatformError
from tdse.explain import explain
from tdse.graph import read_tflite
from tdse.platform import Platform, load_platform

BOARD = """\
name = "what-if"

[[devices]]
name = "cpu"
idle_w = 1.0
active_w_per_core = 1.0

[devices.emulated]
conv_macs_per_us = 5
depthwise_macs_per_us = 1
dense_macs_per_us = 1
bytes_per_us = 100

[[devices]]
name = "accelerator"

[devices.dataflow]
launch_us = 10

[devices.dataflow.architecture]
pes = 64
rf_bytes = 64
spm_kib = 32
element_bytes = 1
clock_mhz = 200
dma_clock_mhz = 800
dma_init_cycles = 100
dma_cycles_per_byte = 0.5
energy_pj = { mac = 0.05, rf = 0.1, noc = 1, spm = 6, dram = 100 }

[[links]]
between = ["cpu", "accelerator"]
bandwidth_bytes_per_s = 1e9
latency_us = 1
"""


def _board(folder: Path, text: str = BOARD) -> Platform:
    path = folder / "what-if.toml"
    path.write_text(text)
    return load_platform(str(path))


def test_layers_take_what_their_best_mappings_take(tmp_path: Path, branches: Path) -> None:
    graph, board = read_tflite(branches), _board(tmp_path)
    costs = BoardCosts(graph, board)
    problem = costs.problem()
    unit = board.devices[1].dataflow
    assert unit is not None
    layers = layers_of(graph).layers
    for row, op in enumerate(graph.placed_ops):
        if op in layers:
            figures = find_mapping(layers[op], unit.architecture).figures
            assert problem.cost_us[row, 1] == figures.cycles / 200
            assert problem.energy_uj[row, 1] == figures.energy_pj / 1e6
        else:
            assert np.isinf(problem.cost_us[row, 1])
            assert "multiplies nothing" in costs.refusals["accelerator", op]
    assert not problem.energy_uj[:, 0].any()
    assert problem.launch_us.tolist() == [0.0, 10.0]


@pytest.mark.parametrize("objective", ["latency", "energy", "throughput"])
def test_a_model_is_placed_on_it(tmp_path: Path, branches: Path, objective: str) -> None:
    graph, board = read_tflite(branches), _board(tmp_path)
    made = emulate(graph, board, "timing", objective=objective, budget_s=1.0)
    targets = {op.label.partition(":")[2]: op.target for op in made.placement.ops}
    assert targets["conv2d"] == "dataflow"
    assert targets["add"] == "emulated"


def test_its_placement_can_be_given(tmp_path: Path, branches: Path) -> None:
    graph, board = read_tflite(branches), _board(tmp_path)
    made = emulate(graph, board, "timing", budget_s=1.0)
    given = emulate_given(graph, board, "timing", made.placement)
    assert given.emulated.predicted_us == made.emulated.predicted_us
    assert given.placement.ops == made.placement.ops


def test_elements_that_are_too_large_are_refused(tmp_path: Path, tiny_float: Path) -> None:
    graph, board = read_tflite(tiny_float), _board(tmp_path)
    assert BoardCosts(graph, board).refusals["accelerator", 0] == (
        "tensor 'image' has elements of 4 bytes, and element_bytes is 1"
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("pes = 64", "pes = 0", "devices[1].dataflow.architecture.pes: must be at least 1"),
        ("pes = 64", "", "devices[1].dataflow.architecture.pes: is missing"),
        ("spm_kib = 32", "spm_kib = 4", "spm_kib is 4, too small for one bank"),
        ('"accelerator"\n\n', '"accelerator"\ntargets = ["litert"]\n\n', "both targets and data"),
    ],
)
def test_faults_name_the_field(tmp_path: Path, old: str, new: str, why: str) -> None:
    with pytest.raises(PlatformError) as raised:
        _board(tmp_path, BOARD.replace(old, new, 1))
    assert why in str(raised.value)


def test_mappings_are_searched_once_for_each_layer(
    tmp_path: Path, branches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []

    def counted(layer: Layer, architecture: Architecture, objective: str) -> LayerResult:
        searched.append(layer.shape)
        return find_mapping(layer, architecture, objective)

    monkeypatch.setattr("tdse.emulation.accelerator.find_mapping", counted)
    emulate(read_tflite(branches), _board(tmp_path), "timing", budget_s=1.0)
    assert searched and len(searched) == len(set(searched))


def test_why_a_layer_has_no_mapping_is_told(
    tmp_path: Path, branches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = functools.partial(find_mapping, seconds=0.0)
    monkeypatch.setattr("tdse.emulation.accelerator.find_mapping", hurried)
    graph, board = read_tflite(branches), _board(tmp_path)
    why = BoardCosts(graph, board).refusals["accelerator", 0]
    assert "no mapping was found in time" in why
    rows = {
        row.op: dict(row.refused) for row in explain(graph, platform=f"{tmp_path}/what-if.toml")
    }
    assert rows[0]["accelerator"] == why
    made = emulate(graph, board, "timing", budget_s=1.0)
    reasons = {one["reason"]: one["ops"] for one in emulated_alternatives(made)["refusals"]}
    assert 0 in reasons[why]
