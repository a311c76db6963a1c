"""Layers of a model: which of its operators an accelerator computes, and as which loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tdse.dataflow.layer import (
    GEMM,
    GEMM_TRANSPOSED,
    NHWC,
    NHWC_DEPTHWISE,
    Layer,
    convolution,
    matrix_product,
)
from tdse.graph.model import Graph, Op

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphLayers:
    """The layers of a model, and what is left over.

    Attributes:
        layers: index of an operator to its layer.
        refused: index of an operator to why it is none.
    """

    layers: Mapping[int, Layer]
    refused: Mapping[int, str]


def layers_of(graph: Graph) -> GraphLayers:
    """All operators of a model that are layers, and why the others are not."""
    layers, refused = {}, {}
    for index in graph.placed_ops:
        found = layer_of(graph, index)
        if isinstance(found, Layer):
            layers[index] = found
        else:
            refused[index] = found
    return GraphLayers(layers, refused)


def layer_of(graph: Graph, index: int) -> Layer | str:
    """An operator as a layer, or why it is none."""
    op = graph.ops[index]
    make = _MAKERS.get(op.kind)
    if make is None:
        words = "a layer of this kind is not modelled" if op.macs else "it multiplies nothing"
        return f"{op.kind}: {words}"
    shapes = [graph.tensors[t].shape if t >= 0 else () for t in (*op.inputs, op.outputs[0])]
    if not all(math.prod(shape) for shape in shapes[:2]) or not math.prod(shapes[-1]):
        return f"{op.kind}: a tensor has no elements"
    return make(op, shapes[0], shapes[1], shapes[-1])


def _conv2d(op: Op, data: Shape, filters: Shape, result: Shape) -> Layer | str:
    if not len(data) == len(filters) == len(result) == 4:
        return "conv2d: a tensor has not four dimensions"
    groups = data[3] // filters[3]
    if groups * filters[3] != data[3] or result[3] % groups:
        return "conv2d: the channels do not agree"
    return _convolution(
        op, data, result, groups, (result[3] // groups, filters[3]), filters[1:3], NHWC
    )


def _depthwise_conv2d(op: Op, data: Shape, filters: Shape, result: Shape) -> Layer | str:
    if not len(data) == len(filters) == len(result) == 4:
        return "depthwise_conv2d: a tensor has not four dimensions"
    if result[3] % data[3]:
        return "depthwise_conv2d: the channels do not agree"
    channels = (result[3] // data[3], 1)
    return _convolution(op, data, result, data[3], channels, filters[1:3], NHWC_DEPTHWISE)


def _convolution(
    op: Op,
    data: Shape,
    result: Shape,
    groups: int,
    channels: tuple[int, int],
    kernel: Shape,
    layout: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
) -> Layer:
    layer = convolution(
        op.label,
        batch=result[0],
        groups=groups,
        channels=channels,
        output=(result[1], result[2]),
        kernel=(kernel[0], kernel[1]),
        stride=(_number(op, "stride_h"), _number(op, "stride_w")),
        dilation=(_number(op, "dilation_h_factor"), _number(op, "dilation_w_factor")),
        layout=layout,
    )
    # With padding, or without and perhaps more than the window reaches.
    rows, columns = layer.input_size
    given = (max(rows, data[1]), max(columns, data[2]))
    return Layer(layer.name, layer.sizes, layer.stride, layer.dilation, given, layout)


def _number(op: Op, name: str) -> int:
    value = op.attributes.get(name, 1)
    assert isinstance(value, int)
    return max(1, value)


def _fully_connected(op: Op, data: Shape, weights: Shape, result: Shape) -> Layer | str:
    if len(weights) != 2 or math.prod(data) % weights[1]:
        return "fully_connected: the depths do not agree"
    rows = math.prod(data) // weights[1]
    return matrix_product(op.label, rows, weights[0], weights[1], layout=GEMM_TRANSPOSED)


def _batch_matmul(op: Op, left: Shape, right: Shape, result: Shape) -> Layer | str:
    if min(len(left), len(right), len(result)) < 2:
        return "batch_matmul: a tensor has not two dimensions"
    if op.attributes.get("adj_x"):
        return "batch_matmul: a transposed first operand is not modelled"
    layout = GEMM_TRANSPOSED if op.attributes.get("adj_y") else GEMM
    batch = math.prod(result[:-2])
    return matrix_product(op.label, result[-2], result[-1], left[-1], batch=batch, layout=layout)


_MAKERS: Mapping[str, Callable[[Op, Shape, Shape, Shape], Layer | str]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "fully_connected": _fully_connected,
    "batch_matmul": _batch_matmul,
}
