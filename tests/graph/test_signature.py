"""Operators share a signature exactly when they cost the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tampering import changed
from tdse.graph import read_tflite, signature, slice_model


def _digest(data: bytes, op: int) -> str:
    return signature(read_tflite(data), op)


CUTTABLE = sorted(MODELS.keys() - {"conditional", "resource_variable", "future_op"})


@pytest.mark.parametrize("name", CUTTABLE)
def test_slices_keep_the_signature(name: str) -> None:
    graph = read_tflite(MODELS[name]())
    for op in graph.placed_ops:
        cut = read_tflite(slice_model(graph, [op]).data)
        assert signature(cut, cut.placed_ops[0]) == signature(graph, op)


def test_it_is_a_digest_of_contents(branches: Path) -> None:
    graph = read_tflite(branches)
    digests = [signature(graph, op) for op in graph.placed_ops]
    assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
    assert digests == [signature(read_tflite(branches.read_bytes()), op) for op in range(8)]
    assert len(set(digests)) >= 4


def test_same_for_whole_models() -> None:
    graph = read_tflite(MODELS["conditional"]())
    assert len(signature(graph, 0)) == 64


def _weights(model: Any) -> None:
    operator = model.subgraphs[0].operators[0]
    for tensor in operator.inputs[1:]:
        buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
        buffer.data = np.full_like(buffer.data, 3)


def _weight_scales(model: Any) -> None:
    tensor = model.subgraphs[0].operators[0].inputs[1]
    quantization = model.subgraphs[0].tensors[tensor].quantization
    quantization.scale = quantization.scale * np.float32(2)


def _names(model: Any) -> None:
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"other_{number}".encode()


def _numbers(model: Any) -> None:
    # A tensor more at the front, so that all others move.
    subgraph = model.subgraphs[0]
    subgraph.tensors.insert(0, schema.TensorT(name=b"front", shape=np.array([1], np.int32)))
    subgraph.inputs, subgraph.outputs = subgraph.inputs + 1, subgraph.outputs + 1
    for operator in subgraph.operators:
        operator.inputs = np.where(operator.inputs < 0, -1, operator.inputs + 1).astype(np.int32)
        operator.outputs = operator.outputs + 1


def _scale(model: Any) -> None:
    model.subgraphs[0].tensors[0].quantization.scale = np.array([0.125], np.float32)


@pytest.mark.parametrize("change", [_weights, _weight_scales, _scale, _names, _numbers])
def test_what_does_not_matter(change: Callable[[Any], None], branches: Path) -> None:
    data = branches.read_bytes()
    assert _digest(changed(data, change), 0) == _digest(data, 0)


def _stride(model: Any) -> None:
    model.subgraphs[0].operators[0].builtinOptions.dilationWFactor = 2


def _version(model: Any) -> None:
    model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex].version += 1


def _shape(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = np.array([1, 8, 16, 8], np.int32)


def _shared_scale(model: Any) -> None:
    # Input and output quantised alike, which they were not.
    tensors, operator = model.subgraphs[0].tensors, model.subgraphs[0].operators[0]
    tensors[operator.outputs[0]].quantization = tensors[operator.inputs[0]].quantization


def _asymmetric_weights(model: Any) -> None:
    tensor = model.subgraphs[0].operators[0].inputs[1]
    quantization = model.subgraphs[0].tensors[tensor].quantization
    quantization.zeroPoint = quantization.zeroPoint + 1


def _no_bias(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs[2] = -1


def _sparse(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    levels = [schema.DimensionMetadataT(denseSize=int(size)) for size in tensor.shape]
    order = np.arange(len(levels), dtype=np.int32)
    tensor.sparsity = schema.SparsityParametersT(traversalOrder=order, dimMetadata=levels)


@pytest.mark.parametrize(
    "change", [_stride, _version, _shape, _shared_scale, _asymmetric_weights, _no_bias, _sparse]
)
def test_what_matters(change: Callable[[Any], None], branches: Path) -> None:
    data = branches.read_bytes()
    assert _digest(changed(data, change), 0) != _digest(data, 0)


def _pad(paddings: list[list[int]], dtype: str = "int32") -> bytes:
    value = np.array(paddings, dtype)
    tensors = [Tensor("x", (2, 2)), Tensor("p", (2, 2), dtype, value), Tensor("y", (4, 4))]
    return write_model([Subgraph(tensors, [Operator("PAD", (0, 1), (2,))], (0,), (2,))])


def test_small_integers_count_by_value() -> None:
    assert _digest(_pad([[1, 1], [1, 1]]), 0) != _digest(_pad([[2, 0], [1, 1]]), 0)
    assert _digest(_pad([[1, 1], [1, 1]]), 0) != _digest(_pad([[1, 1], [1, 1]], "int64"), 0)


def _gather(values: list[int]) -> bytes:
    count = len(values)
    tensors = [Tensor("table", (9,)), Tensor("places", (count,), "int64", np.array(values))]
    tensors.append(Tensor("y", (count,)))
    return write_model([Subgraph(tensors, [Operator("GATHER", (0, 1), (2,))], (0,), (2,))])


def test_large_integers_do_not_count_by_value() -> None:
    assert _digest(_gather([1] * 64), 0) != _digest(_gather([2] * 64), 0)
    assert _digest(_gather([1] * 65), 0) == _digest(_gather([2] * 65), 0)


def test_one_tensor_twice_is_not_two_tensors() -> None:
    tensors = [Tensor(name, (2,)) for name in ("a", "b", "y")]

    def product(inputs: tuple[int, int]) -> bytes:
        return write_model([Subgraph(tensors, [Operator("MUL", inputs, (2,))], (0, 1), (2,))])

    assert _digest(product((0, 0)), 0) != _digest(product((0, 1)), 0)
    assert _digest(product((0, 1)), 0) == _digest(product((1, 0)), 0)


def test_custom_options_count() -> None:
    def other(model: Any) -> None:
        model.subgraphs[0].operators[1].customOptions = np.frombuffer(b"other", np.uint8)

    data = MODELS["custom_op"]()
    assert _digest(changed(data, other), 1) != _digest(data, 1)


def test_constant_operators_in_front_count() -> None:
    """Weights of float16 behind a DEQUANTIZE are another operator than weights of float32."""
    data = MODELS["float16_weights"]()
    graph = read_tflite(data)

    def version(model: Any) -> None:
        model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex].version = 2

    assert signature(graph, 2) != _digest(changed(data, version), 2)
    assert signature(graph, 3) == _digest(changed(data, version), 3)
