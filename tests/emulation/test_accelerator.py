"""An accelerator that is only described, as a device of a platform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdse.dataflow.from_graph import layers_of
from tdse.dataflow.search import find_mapping
from tdse.emulation.costs import emulated_problem, refusal, unit_of
from tdse.emulation.emulate import emulate, emulate_given
from tdse.errors import PlatformError
from tdse.graph import read_tflite
from tdse.platform import Platform, load_platform
from tdse.platform.model import DataflowUnit

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
    problem = emulated_problem(graph, board, {})
    unit = unit_of(board.devices[1])
    assert isinstance(unit, DataflowUnit)
    layers = layers_of(graph).layers
    for row, op in enumerate(graph.placed_ops):
        if op in layers:
            figures = find_mapping(layers[op], unit.architecture).figures
            assert problem.cost_us[row, 1] == figures.cycles / 200
            assert problem.energy_uj[row, 1] == figures.energy_pj / 1e6
        else:
            assert np.isinf(problem.cost_us[row, 1])
            assert "multiplies nothing" in refusal(graph, op, unit)
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
    assert refusal(graph, 0, unit_of(board.devices[1])) == (
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
