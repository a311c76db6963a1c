"""Layers from models: their loops, and what is said of operators that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from examples import resnet18

from tdse.dataflow.from_graph import layers_of
from tdse.dataflow.layer import NHWC, NHWC_DEPTHWISE
from tdse.dataflow.model_json import read_model_json
from tdse.dataflow.network import distinct_layers
from tdse.errors import ModelError
from tdse.graph import read_tflite

ModelPath = Callable[[str], Path]


@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_float", "branches"])
def test_layers_have_the_macs_of_their_operators(name: str, model_path: ModelPath) -> None:
    graph = read_tflite(model_path(name))
    found = layers_of(graph)
    assert {*found.layers, *found.refused} == set(graph.placed_ops)
    assert all(found.layers[op].macs == graph.ops[op].macs for op in found.layers)
    assert all(not graph.ops[op].macs for op in found.refused)


def test_loops_of_a_model(branches: Path) -> None:
    graph = read_tflite(branches)
    found = layers_of(graph)
    root = found.layers[0]
    assert root.sizes == (1, 1, 8, 8, 16, 16, 3, 3)
    # With padding on all sides, channels innermost.
    assert (root.input_size, root.layout) == ((18, 18), NHWC)
    depthwise = next(op.index for op in graph.ops if op.kind == "depthwise_conv2d")
    assert found.layers[depthwise].sizes == (8, 1, 1, 1, 16, 16, 3, 3)
    assert found.layers[depthwise].layout == NHWC_DEPTHWISE
    add = next(op.index for op in graph.ops if op.kind == "add")
    assert found.refused[add] == "add: it multiplies nothing"
    # Both arms have the same two layers.
    assert [one.instances for one in distinct_layers(list(found.layers.values()))] == [1, 2, 2]


def _written(folder: Path, content: object) -> Path:
    path = folder / "model.json"
    path.write_text(json.dumps(content))
    return path


def test_dmazerunners_layers(tmp_path: Path) -> None:
    conv1, product = resnet18()[0], resnet18()[-1]
    path = _written(
        tmp_path,
        {
            "CONV": [
                {
                    "name": "CONV_1_1",
                    "size_tensor_A": [1, 3, 229, 229],
                    "size_tensor_B": [64, 3, 7, 7],
                    "strides": [2, 2],
                }
            ],
            "GEMM": [{"name": "FC", "size_tensor_A": [1, 25088], "size_tensor_B": [25088, 1000]}],
            "DW_CONV": [
                {
                    "name": "depthwise",
                    "size_tensor_A": [1, 32, 114, 112],
                    "size_tensor_B": [1, 32, 3, 1],
                    "strides": [1, 1],
                    "instances": 2,
                }
            ],
        },
    )
    layers = read_model_json(path)
    assert layers[:2] == (conv1, product)
    assert layers[2].sizes == (32, 1, 1, 1, 112, 112, 3, 1)
    assert layers[2].instances == 2


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"size_tensor_A": [1, 3, 9, 9]}, "CONV[0].size_tensor_B: is missing"),
        (
            {"size_tensor_A": [1, 3, 9, 9], "size_tensor_B": [8, 4, 3, 3]},
            "layer a is wrong: 3 channels of the input, 4 of B",
        ),
        (
            {"size_tensor_A": [1, 3, 2, 2], "size_tensor_B": [8, 3, 3, 3]},
            "the window is larger than the input",
        ),
        (
            {"size_tensor_A": [0, 3, 9, 9], "size_tensor_B": [8, 3, 3, 3]},
            "CONV[0].size_tensor_A[0]: must be at least 1, not 0",
        ),
    ],
)
def test_wrong_layers_are_refused(tmp_path: Path, entry: dict[str, object], why: str) -> None:
    path = _written(tmp_path, {"CONV": [{"name": "a", "strides": [1, 1], **entry}]})
    with pytest.raises(ModelError) as raised:
        read_model_json(path)
    assert why in str(raised.value)
