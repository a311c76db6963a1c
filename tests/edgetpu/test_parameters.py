"""Bytes of parameters, held against what Google's compiler made; and reading its packages."""

from __future__ import annotations

import pytest
from packages import compiled_model, package

from tdse.edgetpu.package import Package, is_compiled, read_package
from tdse.edgetpu.parameters import convolution_bytes, depthwise_bytes, parameter_bytes
from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite


@pytest.mark.parametrize("size", [256, 1024, 2048])
def test_dense_layers_take_what_the_compiler_reported(size: int) -> None:
    # Without a bias, with a scale for each channel: N * N + 8 * N bytes.
    assert convolution_bytes(size, 1, size, 8) == size * size + 8 * size


def test_layers_of_mobilenet_and_movenet_lie_as_in_the_compiled_models() -> None:
    # Distances of weights in the parameters of the compiled mobilenet_v1_0.25_128_quant.
    assert convolution_bytes(128, 1, 128, 4) + depthwise_bytes(9, 128, 4) == 76032 - 54016
    assert convolution_bytes(256, 1, 128, 4) + depthwise_bytes(9, 256, 4) == 186112 - 142080
    # And of movenet_single_pose_lightning_ptq, which has a scale for each channel.
    assert convolution_bytes(960, 1, 160, 12) + depthwise_bytes(9, 960, 12) == 1201728 - 990528
    # 96 channels are two groups of 64; 24 are laid out as 32.
    assert convolution_bytes(96, 1, 16, 12) == 2 * 64 * (16 + 12)
    assert convolution_bytes(24, 1, 96, 12) == 32 * (96 + 12)


def test_operators_of_a_model(graph: Graph) -> None:
    conv, reshape, dense = (parameter_bytes(graph, op) for op in range(3))
    assert reshape == 0
    # 4 channels are laid out as 16: 3x3x4 weights, a bias and a scale each.
    assert conv == 16 * (3 * 3 * 4 + 12)
    assert dense == 16 * (144 + 4) + -(16 * (144 + 4)) % 64


def test_packages_are_read() -> None:
    graph = read_tflite(compiled_model(b"before" + package(5000, 64)))
    assert is_compiled(graph)
    assert read_package(graph, 0) == Package(14, 5000, 64)
    assert parameter_bytes(graph, 0) == 5000


def test_damaged_packages_are_refused() -> None:
    with pytest.raises(ModelError, match="it holds no package"):
        read_package(read_tflite(compiled_model(b"nothing")), 0)
    whole = package(500, 64)
    start = whole.find(b"DWN1")
    for end in (start + 4, start + 12, len(whole) // 2, len(whole) - 100):
        with pytest.raises(ModelError, match="cannot read what is compiled"):
            read_package(read_tflite(compiled_model(whole[:end])), 0)
