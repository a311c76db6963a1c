"""Exports for viewers: the model stays what it is, and each operator says where it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tdse
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.graph.reader import read_tflite
from tdse.runtime.litert import run_litert

pytestmark = pytest.mark.tvm
ModelPath = Callable[[str], Path]


@pytest.fixture(scope="module")
def board(
    record_store_of_module: None, tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    tdse.compile(tiny_conv_int8, out=out, platform="rpi4-coral-usb3", emulate="timing", budget_s=2)
    return out


def _notes(path: Path) -> dict[str, str]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    return {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode("ascii")
        for entry in model.metadata
        if entry.name.startswith(b"tdse")
    }


def test_the_model_has_a_note_for_each_operator(
    board: Path, tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "placed.tflite"
    assert tdse_command.main(["export", str(board), str(file)]) == 0
    assert f"the export is in {file}" in capsys.readouterr().out
    notes = _notes(file)
    metadata = json.loads((board / "metadata.json").read_text())
    placement = json.loads((board / "placement.json").read_text())
    costs = metadata["op_costs"]
    for row, op in enumerate(placement["ops"]):
        note = notes[f"tdse {op['label']}"]
        assert note.startswith(f"{op['device']}, region ")
        cost_us = costs["cost_us"][row][costs["places"].index(op["device"])]
        assert f", {cost_us:.1f} us modelled" in note
    assert "emulated: rpi4-coral-usb3" in notes["tdse platform"]
    # Netron shows no longer ones.
    assert all(len(note) < 256 for note in notes.values())
    # LiteRT computes what it did.
    graph, again = read_tflite(tiny_conv_int8), read_tflite(file)
    assert [op.label for op in again.ops] == [op.label for op in graph.ops]
    inputs = [np.full(graph.tensors[t].shape, 7, graph.tensors[t].dtype) for t in graph.inputs]
    for ours, theirs in zip(
        run_litert(again.data, inputs), run_litert(graph.data, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_graph_for_graphviz(board: Path, tiny_conv_int8: Path, tmp_path: Path) -> None:
    file = tmp_path / "placed.dot"
    assert tdse_command.main(["export", str(board), str(file), "--quiet"]) == 0
    lines = [line.strip() for line in file.read_text().splitlines()]
    graph = read_tflite(tiny_conv_int8)
    assert lines[0] == f'digraph "{graph.name}" {{' and lines[-1] == "}"
    edges = {(u, v) for u, v, _ in graph.edges}
    assert {line for line in lines if "->" in line} == {f"{u} -> {v};" for u, v in edges}
    for op in graph.placed_ops:
        assert any(line.startswith(f'{op} [label="{graph.ops[op].label}"') for line in lines)


def test_names_are_quoted(model_path: ModelPath, tmp_path: Path) -> None:
    model = tmp_path / 'a"b\\.tflite'
    model.write_bytes(model_path("hostile_names").read_bytes())
    out = compile_on("litert", model, tmp_path / "out")
    file = tmp_path / "placed.dot"
    assert tdse_command.main(["export", str(out), str(file)]) == 0
    assert file.read_text().startswith('digraph "a\\"b\\\\" {\n')
    assert tdse_command.main(["export", str(out), str(tmp_path / "placed.tflite")]) == 0


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("placed.png", "it is not known what to export: the file's suffix says it; give one of"),
        ("none/placed.dot", "the export cannot be written: No such file or directory"),
    ],
)
def test_refusals(
    file: str, message: str, board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tdse_command.main(["export", str(board), str(tmp_path / file)]) == 2
    assert message in capsys.readouterr().err
