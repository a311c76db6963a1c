"""Models built from configurations are what the configurations say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, layer_macs, value_shapes
from tdse.graph.model import Graph, Quantization
from tdse.graph.unpack import constant_bytes, unpacked
from tdse.measure.activations import random_inputs
from tdse.runtime.litert import run_litert

Floats = npt.NDArray[np.float64]

SHAPE = (1, 9, 7, 6)


def _configuration(dtype: str, *layers: Layer) -> Configuration:
    return Configuration((Input(SHAPE, dtype),), layers)


def _quantizations(graph: Graph) -> list[Quantization]:
    """Of the input and of each operator's first result."""
    values = [graph.inputs[0], *(op.outputs[0] for op in graph.ops)]
    found = [graph.tensors[index].quantization for index in values]
    assert all(found)
    return [each for each in found if each is not None]


def test_a_convolution_computes_with_its_weights() -> None:
    layer = Layer("conv2d", channels=5, kernel=(3, 2), padding="valid", activation="relu")
    graph = build_graph(_configuration("float32", layer))
    image = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    weights, bias = (
        np.frombuffer(constant_bytes(graph, index), np.float32).reshape(graph.tensors[index].shape)
        for index in graph.ops[0].inputs[1:]
    )
    windows = sliding_window_view(image, (3, 2), axis=(1, 2))
    expected = np.maximum(np.einsum("bhwcij,oijc->bhwo", windows, weights) + bias, 0.0)
    (output,) = run_litert(graph.data, [image])
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    assert graph.ops[0].macs == 7 * 6 * 5 * 3 * 2 * 6


def _sigmoid(values: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-values))


# The int8 kernel rounds gates to 16 bits and what goes from step to step to 8, of which 1 is 128.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("int8", 3 / 128)])
def test_an_lstm_computes_with_its_weights(dtype: str, tolerance: float) -> None:
    steps, features, units = 9, 7, 6
    layer = Layer("unidirectional_sequence_lstm", channels=units)
    graph = build_graph(Configuration((Input((1, steps, features), dtype),), (layer,)))
    (op,) = graph.ops
    (image,) = random_inputs(graph, 0)
    (output,) = run_litert(graph.data, [image])
    given = [
        _real(graph, index, np.frombuffer(constant_bytes(graph, index), graph.tensors[index].dtype))
        for index in (*op.inputs[1:9], *op.inputs[12:16])
    ]
    weights, recurrent, bias = (np.stack(given[place : place + 4]) for place in (0, 4, 8))
    hidden = cell = np.zeros(units)
    expected = []
    for row in _real(graph, graph.inputs[0], image)[0]:
        enter, keep, new, leave = weights @ row + recurrent @ hidden + bias
        cell = _sigmoid(keep) * cell + _sigmoid(enter) * np.tanh(new)
        hidden = _sigmoid(leave) * np.tanh(cell)
        expected.append(hidden)
    found = _real(graph, graph.outputs[0], output)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert np.std(found) > 0.03
    assert op.macs == layer_macs(layer, [image.shape]) == steps * 4 * units * (features + units)


def _real(graph: Graph, index: int, stored: npt.NDArray[Any]) -> Floats:
    """The numbers that the elements of a tensor stand for."""
    tensor = graph.tensors[index]
    numbers = stored.reshape(tensor.shape).astype(np.float64)
    if tensor.quantization is None:
        return numbers
    (scale,), (zero_point,) = tensor.quantization.scales, tensor.quantization.zero_points
    return scale * (numbers - zero_point)


def test_an_int8_lstm_is_as_the_converter_writes_it() -> None:
    layer = Layer("unidirectional_sequence_lstm", channels=6)
    graph = build_graph(Configuration((Input((1, 9, 7), "int8"),), (layer,)))
    (op,) = graph.ops
    assert len(op.inputs) == 24
    absent = {place for place, index in enumerate(op.inputs) if index < 0}
    assert absent == {9, 10, 11, 16, 17, 20, 21, 22, 23}
    source, result = (graph.tensors[index].quantization for index in (op.inputs[0], *op.outputs))
    hidden, cell = (graph.tensors[index] for index in op.inputs[18:20])
    assert hidden.is_variable and (hidden.dtype, hidden.quantization) == ("int8", result)
    assert cell.is_variable and cell.dtype == "int16"
    assert cell.quantization == Quantization((2.0**-12,), (0,))
    for place in range(1, 5):
        weights, bias = (graph.tensors[op.inputs[n]].quantization for n in (place, place + 11))
        assert source is not None and weights is not None and bias is not None
        assert bias.scales == pytest.approx([source.scales[0] * weights.scales[0]])
    inside = unpacked(graph).subgraphs[0].operators[0].intermediates
    assert [graph.tensors[index].shape for index in inside] == [(0,)] * 5
    assert graph.tensors[inside[-1]].quantization == result


# Multiply-accumulates by the definition of each operator.
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (Layer("conv2d", channels=4, kernel=(3, 3), stride=2), (1, 5, 4, 4), 5 * 4 * 4 * 9 * 6),
        (
            Layer("conv2d", channels=4, kernel=(3, 3), dilation=2, padding="valid"),
            (1, 5, 3, 4),
            5 * 3 * 4 * 9 * 6,
        ),
        (Layer("depthwise_conv2d", kernel=(5, 5)), (1, 9, 7, 6), 9 * 7 * 6 * 25),
        (
            Layer("transpose_conv2d", channels=4, kernel=(3, 3), stride=2, padding="valid"),
            (1, 19, 15, 4),
            9 * 7 * 6 * 4 * 9,
        ),
        (Layer("mean", keep_dims=False), (1, 6), 0),
        (Layer("pad", numbers=(0, 0, 1, 2, 3, 4, 0, 5)), (1, 12, 14, 11), 0),
        (Layer("strided_slice", numbers=(0, 1, 2, 0, 1, 9, 7, 3)), (1, 8, 5, 3), 0),
        (Layer("transpose", numbers=(0, 3, 1, 2)), (1, 6, 9, 7), 0),
        (Layer("split", numbers=(3, 2)), (1, 9, 7, 3), 0),
        (Layer("resize_bilinear", numbers=(4, 20)), (1, 4, 20, 6), 0),
        (Layer("average_pool2d", kernel=(2, 3), stride=2, padding="valid"), (1, 4, 3, 6), 0),
        (Layer("add", constant=(3, 1, 1, 1)), (3, 9, 7, 6), 0),
    ],
    ids=lambda value: value.kind if isinstance(value, Layer) else None,
)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_shapes_and_macs(layer: Layer, shape: tuple[int, ...], macs: int, dtype: str) -> None:
    configuration = _configuration(dtype, layer)
    graph = build_graph(configuration)
    assert value_shapes(configuration)[1] == shape
    # LiteRT infers the shape of the result by itself.
    inputs = [np.zeros(SHAPE, dtype)]
    assert run_litert(graph.data, inputs)[0].shape == shape
    assert graph.ops[0].macs == macs


def test_quantisation_follows_the_specification() -> None:
    configuration = _configuration(
        "int8",
        Layer("conv2d", (0,), channels=8, activation="relu6"),
        Layer("max_pool2d", (1,), kernel=(2, 2)),
        Layer("mean", (2,), keep_dims=False, rescaled=True),
        Layer("fully_connected", (3,), channels=10),
        Layer("softmax", (4,)),
    )
    graph = build_graph(configuration)
    image, convolved, pooled, averaged, classes, probabilities = _quantizations(graph)
    assert convolved.zero_points == (-128,)
    assert convolved.scales[0] == pytest.approx(6 / 255)
    assert pooled == convolved
    assert averaged != pooled
    assert classes != averaged
    assert probabilities == Quantization((1 / 256,), (-128,))
    weights, bias = (graph.tensors[index].quantization for index in graph.ops[0].inputs[1:])
    assert weights is not None and bias is not None
    assert len(weights.scales) == 8 and set(weights.zero_points) == {0}
    assert bias.scales == pytest.approx([image.scales[0] * scale for scale in weights.scales])


def test_what_is_joined_has_one_scale() -> None:
    configuration = _configuration(
        "int8",
        Layer("conv2d", (0,), channels=3),
        Layer("conv2d", (0,), channels=4),
        Layer("max_pool2d", (2,), kernel=(3, 3)),
        Layer("concatenation", (1, 3), numbers=(3,)),
    )
    _, first, second, pooled, joined = _quantizations(build_graph(configuration))
    assert first == second == pooled == joined


def test_uint8_weights_are_asymmetric() -> None:
    graph = build_graph(_configuration("uint8", Layer("conv2d", channels=8)))
    weights = graph.tensors[graph.ops[0].inputs[1]]
    assert weights.quantization is not None
    assert weights.dtype == "uint8"
    assert len(weights.quantization.scales) == 1 and weights.quantization.zero_points[0] > 0


def test_equal_configurations_give_equal_bytes() -> None:
    configuration = _configuration("int8", Layer("conv2d", channels=8))
    again = Configuration.from_json(configuration.to_json())
    assert again == configuration
    assert build_graph(again).data == build_graph(configuration).data
    other = _configuration("int8", Layer("conv2d", channels=9))
    assert build_graph(other).data != build_graph(configuration).data
