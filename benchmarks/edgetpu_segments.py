"""A pipeline of Edge TPUs: segments that are balanced by time, beside those of equal parameters.

Run ``python benchmarks/edgetpu_segments.py``. A chain of convolutions whose parameters exceed the
memory of one Edge TPU is placed on boards with one to four of them, for throughput. Beside that
stand the best of all ways to cut the chain into as many segments, and segments with about the same
bytes of parameters, which is how ``edgetpu_compiler --num_segments`` cuts a model. All of it is
modelled; streams are predicted with some jitter, cuts without.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.edgetpu.parameters import parameter_bytes
from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import emulate
from tdse.emulation.ways import way_of
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.platform import Platform, load_platform
from tdse.search.schedule import Genes

# Output channels and stride of each 3x3 convolution, as the early layers of a VGG.
LAYERS = (
    *((64, 2), (64, 1), (64, 1)),
    *((128, 2), (128, 1), (128, 1)),
    *((256, 2), (256, 1), (256, 1), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1)),
)
# A CPU as that of the preset rpi4-coral-usb3.
_CPU = """name = "pipeline"
[[devices]]
name = "cpu"
cores = 4
[devices.emulated]
conv_macs_per_us = 6000
depthwise_macs_per_us = 1500
dense_macs_per_us = 1000
bytes_per_us = 1000
operator_us = 2
launch_us = 60
"""
_TPU = '[[devices]]\nname = "tpu{number}"\n[devices.edgetpu]\nlink = "{link}"\n'


def chain(layers: Sequence[tuple[int, int]], size: int) -> Graph:
    """A chain of int8 convolutions.

    Args:
        layers: output channels and stride of each.
        size: height and width of the image, which has three channels.
    """
    random = np.random.default_rng(0)
    channels, operators = 3, []
    tensors = [Tensor("image", (1, size, size, 3), "int8", scales=(0.1,), zero_points=(0,))]
    for i, (outputs, stride) in enumerate(layers):
        before = len(tensors) - 1
        zeros = (0,) * outputs
        weights = random.integers(-99, 99, (outputs, 3, 3, channels)).astype(np.int8)
        biases = random.integers(-99, 99, outputs).astype(np.int32)
        size, channels = -(-size // stride), outputs
        tensors += [
            Tensor(f"w{i}", weights.shape, "int8", weights, (0.01,) * outputs, zeros),
            Tensor(f"b{i}", biases.shape, "int32", biases, (0.001,) * outputs, zeros),
            Tensor(f"y{i}", (1, size, size, channels), "int8", scales=(0.1,), zero_points=(0,)),
        ]
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = stride
        used = (before, len(tensors) - 3, len(tensors) - 2)
        operators.append(Operator("CONV_2D", used, (len(tensors) - 1,), options))
    return read_tflite(
        write_model([Subgraph(tensors, operators, (0,), (len(tensors) - 1,))]), "chain"
    )


def board(count: int, link: str) -> Platform:
    """A CPU with so many Edge TPUs."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(_CPU + "".join(_TPU.format(number=i, link=link) for i in range(count)))
        file.flush()
        return load_platform(file.name)


def by_parameters(graph: Graph, count: int) -> list[int]:
    """The segment of each operator of a chain, so that all have about as many parameters."""
    sizes = [parameter_bytes(graph, op) for op in graph.placed_ops]
    middles = np.cumsum(sizes) - np.array(sizes) / 2
    return (middles * count // sum(sizes)).astype(int).tolist()


def cuts(ops: int, count: int) -> Iterator[list[int]]:
    """Every way to cut a chain into so many segments: the segment of each operator."""
    for ends in itertools.combinations(range(1, ops), count - 1):
        yield [sum(op >= end for end in ends) for op in range(ops)]


def segments_period_us(costs: BoardCosts, segments: Sequence[int]) -> float:
    """Between two results of a stream whose operators are on these Edge TPUs."""
    return way_of(costs, Genes(tuple(1 + segment for segment in segments))).outcome.period_us


def main() -> None:
    """Print a line for each board."""
    graph = chain(LAYERS, 224)
    total = sum(parameter_bytes(graph, op) for op in graph.placed_ops)
    print(f"{len(LAYERS)} convolutions, {total / 1e6:.1f} MB of parameters (modelled)")
    for link in ("pcie", "usb3"):
        for count in (1, 2, 3, 4):
            there = board(count, link)
            costs = BoardCosts(graph, there)
            made = emulate(graph, there, "timing", objective="throughput", budget_s=10.0)
            best_us = min(segments_period_us(costs, cut) for cut in cuts(len(LAYERS), count))
            equal_us = segments_period_us(costs, by_parameters(graph, count))
            print(
                f"{count} x {link}: each {made.emulated.predicted_period_us / 1e3:.2f} ms, "
                f"best cut {best_us / 1e3:.2f}, by parameters {equal_us / 1e3:.2f}"
            )


if __name__ == "__main__":
    main()
