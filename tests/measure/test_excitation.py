"""Random operators and chains are within their limits, and run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, layer_macs
from tdse.graph.model import Graph
from tdse.graph.signature import signature
from tdse.measure.activations import random_inputs
from tdse.measure.excitation import KINDS, draw
from tdse.measure.excitation_chains import draw_chain
from tdse.runtime.litert import run_litert

COMBINATIONS = sorted(KINDS)
WITH_MACS = {
    "conv2d",
    "depthwise_conv2d",
    "transpose_conv2d",
    "fully_connected",
    "batch_matmul",
    "unidirectional_sequence_lstm",
}


def _run(graph: Graph) -> None:
    outputs = run_litert(graph.data, random_inputs(graph, 0))
    for index, output in zip(graph.outputs, outputs, strict=True):
        assert output.shape == graph.tensors[index].shape
        assert output.dtype == graph.tensors[index].dtype
        assert np.isfinite(output.astype(np.float64)).all()


def _depth(graph: Graph, tensor: int) -> int:
    return graph.tensors[tensor].shape[3]


@pytest.mark.parametrize(("kind", "dtype"), COMBINATIONS)
def test_each_kind_runs(kind: str, dtype: str) -> None:
    generator = np.random.default_rng(0)
    found: dict[str, Configuration] = {}
    for _ in range(20):
        configuration = draw(generator, kind, dtype)
        graph = build_graph(configuration)
        (op,) = graph.ops
        assert op.kind == kind
        assert graph.tensors[op.outputs[0]].dtype == dtype
        assert (op.macs > 0) == (kind in WITH_MACS)
        _run(graph)
        assert found.setdefault(signature(graph, 0), configuration) == configuration
    # Sizes vary over more than an order of magnitude.
    sizes = [max(np.prod(each.shape) for each in c.inputs) for c in found.values()]
    assert len(found) > 10
    assert max(sizes) > 10 * min(sizes)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), combination=st.sampled_from(COMBINATIONS))
def test_limits(seed: int, combination: tuple[str, str]) -> None:
    graph = build_graph(draw(np.random.default_rng(seed), *combination))
    is_slow = combination == ("unidirectional_sequence_lstm", "int8")
    assert graph.ops[0].macs <= (32e6 if is_slow else 150e6)
    assert max(tensor.size_bytes for tensor in graph.tensors) <= 8 << 20


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), combination=st.sampled_from(COMBINATIONS))
def test_same_state_same_operator(seed: int, combination: tuple[str, str]) -> None:
    first, second = (draw(np.random.default_rng(seed), *combination) for _ in range(2))
    assert first == second
    assert Configuration.from_json(first.to_json()) == first


@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d"])
def test_small_and_large_ones_occur(kind: str) -> None:
    generator = np.random.default_rng(1)
    macs = [build_graph(draw(generator, kind, "int8")).ops[0].macs for _ in range(150)]
    assert min(macs) < 1e4
    assert max(macs) > 8e6
    assert 1e5 < np.median(macs) < 3e7


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_lstms_are_as_networks_have_them(dtype: str) -> None:
    generator = np.random.default_rng(3)
    drawn = [draw(generator, "unidirectional_sequence_lstm", dtype) for _ in range(60)]
    shapes = [one.inputs[0].shape for one in drawn]
    batches, steps, features = zip(*shapes, strict=True)
    units = [one.layers[0].channels for one in drawn]
    assert set(batches) == {1}
    assert min(steps) < 4 and 64 < max(steps) <= 128
    assert 4 <= min(*features, *units) < 10 and 256 < max(*features, *units) <= 512
    macs = [layer_macs(one.layers[0], [shape]) for one, shape in zip(drawn, shapes, strict=True)]
    assert 3e5 < np.median(macs) < 3e6


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_chains_run(dtype: str) -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        configuration = draw_chain(generator, dtype)
        assert Configuration.from_json(configuration.to_json()) == configuration
        graph = build_graph(configuration)
        assert [op.kind for op in graph.ops] == [layer.kind for layer in configuration.layers]
        assert graph.tensors[graph.outputs[0]].dtype == dtype
        _run(graph)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(["float32", "int8"]))
def test_limits_of_chains(seed: int, dtype: str) -> None:
    configuration = draw_chain(np.random.default_rng(seed), dtype)
    graph = build_graph(configuration)
    assert 4 <= len(graph.ops) <= 30
    assert 3e6 <= sum(op.macs for op in graph.ops) <= 200e6
    assert max(tensor.size_bytes for tensor in graph.tensors) <= 8 << 20
    assert draw_chain(np.random.default_rng(seed), dtype) == configuration


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_some_chains_pad_by_operators(dtype: str) -> None:
    """As convolutions would themselves, and each of these reads the PAD that is for it alone."""
    generator = np.random.default_rng(3)
    padded = 0
    for _ in range(40):
        graph = build_graph(draw_chain(generator, dtype))
        pads = [op for op in graph.ops if op.kind == "pad"]
        spatial = [op for op in pads if _depth(graph, op.inputs[0]) == _depth(graph, op.outputs[0])]
        padded += bool(spatial)
        for op in spatial:
            (reader,) = (each for each in graph.ops if op.outputs[0] in each.inputs)
            assert reader.index == op.index + 1
            assert reader.kind in ("conv2d", "depthwise_conv2d")
            assert reader.attributes["padding"] == "valid"
            stride = reader.attributes["stride_h"]
            assert isinstance(stride, int)
            height, width = graph.tensors[op.inputs[0]].shape[1:3]
            expected = (-(-height // stride), -(-width // stride))
            assert graph.tensors[reader.outputs[0]].shape[1:3] == expected
    assert 2 < padded < 20
