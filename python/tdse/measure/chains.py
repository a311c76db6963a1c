"""Random chains of operators as networks have them: what happens between operators is learnt here.

Single operators tell what one operator costs. Memory that is shared by liveness, and what two
regions do to each other, only shows where operators follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer, Shape, result_shapes
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.unpack import buffer_view, constant_bytes
from tdse.graph.writer import AlignedBuffer, pack_model

# Feature maps that the chain begins with; later ones are smaller.
_SIZES = (8, 14, 20, 28, 40, 56, 72, 96, 112, 128)
_CHANNELS = (3, 8, 16, 24, 32, 40, 48, 64, 72, 96, 120, 160)
_WIDTHS = (8, 12, 16, 24, 32, 40, 64, 80, 96, 128, 144, 192, 240, 320, 384, 512)
_MOST_ELEMENTS = 1 << 20

# How often networks for phones have a step, relative to each other.
_STEPS: Mapping[str, float] = {
    "pointwise": 0.30,
    "conv2d": 0.08,
    "depthwise": 0.24,
    "residual": 0.12,
    "unary": 0.10,
    "pool": 0.04,
    "concatenation": 0.06,
    "gate": 0.03,
    "resize": 0.03,
}


def draw_chain(generator: np.random.Generator, dtype: str, length: int) -> Configuration:
    """About ``length`` operators of one element type, each reading the result of one before.

    Args:
        generator: the same state gives the same chain.
        dtype: ``float32`` or ``int8``.
        length: number of steps; one with a head has up to three operators more.
    """
    chain = _Chain(generator, dtype)
    while len(chain.layers) < length:
        chain.step()
    if generator.random() < 0.4:
        chain.head()
    return Configuration((Input(chain.shapes[0], dtype),), tuple(chain.layers))


class _Chain:
    def __init__(self, generator: np.random.Generator, dtype: str) -> None:
        self._generator = generator
        self._dtype = dtype
        size = int(generator.choice(_SIZES))
        fitting = [c for c in _CHANNELS if c * size * size <= _MOST_ELEMENTS]
        self.shapes: list[Shape] = [(1, size, size, int(generator.choice(fitting)))]
        self.layers: list[Layer] = []

    def step(self) -> None:
        """Add one of the steps that fit."""
        name = str(
            self._generator.choice(
                list(_STEPS), p=np.array([*_STEPS.values()]) / sum(_STEPS.values())
            )
        )
        layer = _MAKERS[name](self)
        if layer is None:
            return
        (shape,) = result_shapes(layer, [self.shapes[i] for i in layer.inputs])
        if math.prod(shape) <= _MOST_ELEMENTS and min(shape) > 0:
            self._add(layer)

    def head(self) -> None:
        """Average, and classify."""
        self._add(Layer("mean", (self._last,), keep_dims=False))
        channels = int(self._generator.choice((10, 100, 1000)))
        self._add(Layer("fully_connected", (self._last,), channels=channels))
        self._add(Layer("softmax", (self._last,)))

    @property
    def _last(self) -> int:
        return len(self.shapes) - 1

    def _add(self, layer: Layer) -> None:
        self.shapes.extend(result_shapes(layer, [self.shapes[i] for i in layer.inputs]))
        self.layers.append(layer)

    def _pointwise(self) -> Layer:
        return Layer(
            "conv2d",
            (self._last,),
            channels=int(self._generator.choice(_WIDTHS)),
            activation="relu6" if self._generator.random() < 0.5 else "none",
        )

    def _conv2d(self) -> Layer:
        return Layer(
            "conv2d",
            (self._last,),
            channels=int(self._generator.choice(_WIDTHS[:9])),
            kernel=(3, 3),
            stride=int(self._generator.choice((1, 2))),
            activation="relu",
        )

    def _depthwise(self) -> Layer:
        extent = int(self._generator.choice((3, 3, 5)))
        return Layer(
            "depthwise_conv2d",
            (self._last,),
            kernel=(extent, extent),
            stride=int(self._generator.choice((1, 1, 2))),
            activation="relu6" if self._generator.random() < 0.5 else "none",
        )

    def _residual(self) -> Layer | None:
        same = [i for i in range(self._last) if self.shapes[i] == self.shapes[-1]]
        return Layer("add", (self._last, same[-1])) if same else None

    def _unary(self) -> Layer:
        kinds = ["relu", "hard_swish", "logistic"] + ["prelu"] * (self._dtype == "float32")
        return Layer(str(self._generator.choice(kinds)), (self._last,))

    def _pool(self) -> Layer:
        kind = str(self._generator.choice(("max_pool2d", "average_pool2d")))
        stride = int(self._generator.choice((1, 2)))
        return Layer(kind, (self._last,), kernel=(stride + 1, stride + 1), stride=stride)

    def _concatenation(self) -> Layer | None:
        same = [i for i in range(self._last) if self.shapes[i][:3] == self.shapes[-1][:3]]
        if not same:
            return None
        return Layer("concatenation", (self._last, int(self._generator.choice(same))), numbers=(3,))

    def _gate(self) -> Layer:
        return Layer("mul", (self._last,), constant=(1, 1, 1, self.shapes[-1][3]))

    def _resize(self) -> Layer:
        _, height, width, _ = self.shapes[-1]
        return Layer(
            "resize_bilinear",
            (self._last,),
            numbers=(2 * height, 2 * width),
            sampling="half_pixel_centers",
        )


_MAKERS: Mapping[str, Callable[[_Chain], Layer | None]] = {
    "pointwise": _Chain._pointwise,
    "conv2d": _Chain._conv2d,
    "depthwise": _Chain._depthwise,
    "residual": _Chain._residual,
    "unary": _Chain._unary,
    "pool": _Chain._pool,
    "concatenation": _Chain._concatenation,
    "gate": _Chain._gate,
    "resize": _Chain._resize,
}


def with_half_weights(configuration: Configuration) -> Graph:
    """A float32 network whose constants are kept as float16, as converters shrink models.

    Before: ``conv2d(x, weights: float32)``. After: ``w = dequantize(weights: float16)`` and
    ``conv2d(x, w)``.
    """
    plain = build_graph(configuration)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(plain.data, 0))
    (subgraph,) = model.subgraphs
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=schema.BuiltinOperator.DEQUANTIZE,
            builtinCode=schema.BuiltinOperator.DEQUANTIZE,
            version=3,
        )
    )
    added = []
    for index, tensor in enumerate(list(subgraph.tensors)):
        if not plain.tensors[index].is_constant or plain.tensors[index].dtype != "float32":
            continue
        values = np.frombuffer(constant_bytes(plain, index), np.float32).astype(np.float16)
        model.buffers[tensor.buffer].data = values.view(np.uint8)
        half = schema.TensorT(
            shape=tensor.shape,
            type=schema.TensorType.FLOAT16,
            buffer=tensor.buffer,
            name=tensor.name + b"/half",
        )
        tensor.buffer = 0
        subgraph.tensors.append(half)
        added.append(
            schema.OperatorT(
                opcodeIndex=len(model.operatorCodes) - 1,
                inputs=np.array([len(subgraph.tensors) - 1], np.int32),
                outputs=np.array([index], np.int32),
                builtinOptionsType=schema.BuiltinOptions.DequantizeOptions,
                builtinOptions=schema.DequantizeOptionsT(),
            )
        )
    subgraph.operators = [*added, *subgraph.operators]
    model.buffers = [AlignedBuffer(buffer_view(plain.data, buffer)) for buffer in model.buffers]
    return read_tflite(pack_model(model), f"{plain.name}_half")
