"""Slices compute, bit for bit, what the whole model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litert_reference import Value, random_inputs, run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from models import CUSTOM_OPTIONS, MODELS, RUNNABLE
from tampering import changed
from tdse.errors import ModelError
from tdse.graph import (
    Graph,
    Slice,
    constant_bytes,
    form_regions,
    read_tflite,
    slice_model,
    whole_model,
)
from tdse.graph import slice as slicing
from tdse.graph.slice import custom_options
from tdse.graph.unpack import unpacked
from tdse.graph.verify import verify

GRAPHS = {
    name: read_tflite(build(), name)
    for name, build in RUNNABLE.items()
    if name not in ("resource_variable", "conditional")
}


@pytest.mark.parametrize("name", GRAPHS)
def test_one_slice_of_everything(name: str) -> None:
    graph = GRAPHS[name]
    cut = slice_model(graph, graph.placed_ops)
    assert (cut.ops, set(cut.inputs)) == (graph.placed_ops, set(graph.inputs))
    assert cut.outputs == graph.outputs
    _check_same(graph, [graph.placed_ops])


@pytest.mark.parametrize("name", GRAPHS)
def test_one_slice_for_each_operator(name: str) -> None:
    graph = GRAPHS[name]
    _check_same(graph, [(op,) for op in graph.placed_ops])


def test_demo_model_op_by_op(demo_model: Path) -> None:
    graph = read_tflite(demo_model)
    _check_same(graph, [(op,) for op in graph.placed_ops])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_regions_of_any_placement(draw: st.DataObject) -> None:
    graph = GRAPHS[draw.draw(st.sampled_from(sorted(GRAPHS)))]
    placement = {op: draw.draw(st.sampled_from("xy")) for op in graph.placed_ops}
    _check_same(graph, [region.ops for region in form_regions(graph, placement)])


def test_borders_of_a_diamond(branches: Path) -> None:
    graph = read_tflite(branches)
    by_name = {tensor.name: tensor.index for tensor in graph.tensors}
    left = slice_model(graph, [1, 2, 3])
    assert left.inputs == graph.ops[0].outputs
    assert left.outputs == graph.ops[3].outputs
    inner = read_tflite(left.data)
    assert [op.kind for op in inner.ops] == ["depthwise_conv2d", "hard_swish", "conv2d"]
    assert by_name[inner.tensors[inner.inputs[0]].name] == left.inputs[0]
    # Tensors keep type and quantisation at the border, so any other target can stand there.
    for own, index in zip(
        (*inner.inputs, *inner.outputs), (*left.inputs, *left.outputs), strict=True
    ):
        assert inner.tensors[own].quantization == graph.tensors[index].quantization
        assert inner.tensors[own].dtype == graph.tensors[index].dtype
    both = slice_model(graph, [6, 5, 4, 3, 2, 1])
    assert both.ops == (1, 2, 3, 4, 5, 6)
    assert both.outputs == (*graph.ops[3].outputs, *graph.ops[6].outputs)


def test_slice_of_a_slice(branches: Path) -> None:
    graph = read_tflite(branches)
    outer = slice_model(graph, range(5))
    again = slice_model(read_tflite(outer.data), range(5))
    assert again.data == outer.data


def test_model_outputs_come_first() -> None:
    graph = GRAPHS["shared_output"]
    assert slice_model(graph, [0]).outputs == (graph.outputs[0],)
    assert slice_model(graph, [0, 1]).outputs == graph.outputs


def test_constant_operators_are_copied_into_slices_that_use_them() -> None:
    graph = GRAPHS["float16_weights"]
    product = slice_model(graph, [2])
    assert (product.ops, product.inputs) == ((2,), graph.inputs)
    assert len(read_tflite(product.data).ops) == 3
    assert len(read_tflite(slice_model(graph, [3]).data).ops) == 1
    # Naming them changes nothing: they belong to nobody.
    assert slice_model(graph, [0, 1, 2]) == product


def test_state_is_no_input() -> None:
    graph = GRAPHS["variable_tensor"]
    cut = slice_model(graph, [1])
    assert [graph.tensors[index].name for index in cut.inputs] == ["positive"]
    assert any(tensor.is_variable for tensor in read_tflite(cut.data).tensors)


def test_constants_are_aligned_and_shared(branches: Path) -> None:
    def share(model: Any) -> None:
        # Both projections read the same weights.
        operators = model.subgraphs[0].operators
        operators[6].inputs[1] = operators[3].inputs[1]

    graph = read_tflite(changed(branches.read_bytes(), share))
    cut = slice_model(graph, range(1, 7))
    model = unpacked(read_tflite(cut.data))
    weights = constant_bytes(graph, graph.ops[3].inputs[1])
    found = [buffer for buffer in model.buffers if buffer.data is not None]
    assert sum(bytes(buffer.data) == bytes(weights) for buffer in found) == 1
    # The schema asks for it (force_align: 16), and kernels load whole vectors.
    for buffer in found:
        address = buffer.data.__array_interface__["data"][0]
        start = np.frombuffer(cut.data, np.uint8).__array_interface__["data"][0]
        assert (address - start) % 16 == 0


def test_open_batch_does_not_reach_the_border() -> None:
    graph = GRAPHS["dynamic_batch"]
    model = unpacked(read_tflite(slice_model(graph, [0]).data))
    assert all(tensor.shapeSignature is None for tensor in model.subgraphs[0].tensors)
    dynamic = GRAPHS["dynamic_output"]
    model = unpacked(read_tflite(slice_model(dynamic, [1]).data))
    assert model.subgraphs[0].tensors[1].shapeSignature.tolist() == [-1, 1]


def test_custom_options_and_large_ones() -> None:
    data = MODELS["custom_op"]()
    graph = read_tflite(data)
    assert custom_options(graph, 1) == CUSTOM_OPTIONS
    assert custom_options(read_tflite(slice_model(graph, [1]).data), 0) == CUSTOM_OPTIONS

    def move(offset: int) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            operator = model.subgraphs[0].operators[1]
            operator.customOptions = None
            operator.largeCustomOptionsOffset = offset
            operator.largeCustomOptionsSize = len(CUSTOM_OPTIONS)

        return change

    # Offsets of the same width give models of the same size.
    size = len(changed(data, move(1 << 12)))
    large = read_tflite(changed(data, move(size)) + CUSTOM_OPTIONS)
    assert custom_options(large, 1) == CUSTOM_OPTIONS
    assert custom_options(read_tflite(slice_model(large, [1]).data), 0) == CUSTOM_OPTIONS


def test_values_behind_the_flatbuffer_move_inside(branches: Path) -> None:
    original = read_tflite(branches)
    weights = original.ops[0].inputs[1]
    value = bytes(constant_bytes(original, weights))

    def move(offset: int) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            buffer = model.buffers[model.subgraphs[0].tensors[weights].buffer]
            buffer.data, buffer.offset, buffer.size = None, offset, len(value)

        return change

    size = len(changed(branches.read_bytes(), move(1 << 30)))
    graph = read_tflite(changed(branches.read_bytes(), move(size)) + value)
    assert slice_model(graph, [0]).data == slice_model(original, [0]).data


def test_metadata_that_changes_results_is_kept(branches: Path) -> None:
    def add(model: Any) -> None:
        model.metadata = []
        for name in (b"reduced_precision_support", b"min_runtime_version"):
            model.metadata.append(schema.MetadataT(name=name, buffer=len(model.buffers)))
            model.buffers.append(schema.BufferT(data=np.frombuffer(b"fp16accfp32", np.uint8)))

    graph = read_tflite(changed(branches.read_bytes(), add))
    model = unpacked(read_tflite(slice_model(graph, [0]).data))
    assert [entry.name for entry in model.metadata] == [b"reduced_precision_support"]
    assert bytes(model.buffers[model.metadata[0].buffer].data) == b"fp16accfp32"


def test_blockwise_quantisation_takes_its_parameters_along(branches: Path) -> None:
    """Scales are kept in a tensor, which has another number in the slice."""

    def block(model: Any) -> None:
        subgraph = model.subgraphs[0]
        scales = schema.TensorT(name=b"block_scales", shape=np.array([2], np.int32))
        scales.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT(data=np.ones(8, np.uint8)))
        details = schema.BlockwiseQuantizationT(scales=len(subgraph.tensors), zeroPoints=-1)
        subgraph.tensors.append(scales)
        weights = subgraph.tensors[subgraph.operators[3].inputs[1]]
        weights.quantization.details = details
        weights.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization

    graph = read_tflite(changed(branches.read_bytes(), block))
    cut = unpacked(read_tflite(slice_model(graph, [3]).data)).subgraphs[0]
    weights = cut.tensors[cut.operators[0].inputs[1]].quantization.details
    assert cut.tensors[weights.scales].name == b"block_scales"
    assert weights.zeroPoints == -1


def test_intermediates_are_renumbered(branches: Path) -> None:
    def add(model: Any) -> None:
        subgraph = model.subgraphs[0]
        subgraph.operators[3].intermediates = np.array([len(subgraph.tensors)], np.int32)
        subgraph.tensors.append(schema.TensorT(name=b"inside", shape=np.array([1], np.int32)))

    graph = read_tflite(changed(branches.read_bytes(), add))
    cut = unpacked(read_tflite(slice_model(graph, [3]).data)).subgraphs[0]
    assert cut.tensors[cut.operators[0].intermediates[0]].name == b"inside"


def test_operator_whose_result_nobody_needs() -> None:
    tensors = [Tensor(name, (2,)) for name in ("x", "y", "unused")]
    ops = [Operator("ABS", (0,), (1,)), Operator("EXP", (0,), (2,))]
    graph = read_tflite(write_model([Subgraph(tensors, ops, (0,), (1,))]))
    assert slice_model(graph, [1]).outputs == (2,)
    assert slice_model(graph, [0, 1]).outputs == (1,)


def test_signature_names_sort_like_the_order() -> None:
    tensors = [Tensor(f"t{k}", (1,)) for k in range(13)]
    ops = [Operator("ADD_N", tuple(range(12)), (12,))]
    graph = read_tflite(write_model([Subgraph(tensors, ops, tuple(range(12)), (12,))]))
    names = read_tflite(slice_model(graph, [0]).data).input_names
    assert names == tuple(sorted(names))
    assert names[0] == "args_00"


def test_whole_model_is_unchanged() -> None:
    data = MODELS["resource_variable"]()
    graph = read_tflite(data)
    assert whole_model(graph) == Slice(data, (0, 1, 2, 3, 4), graph.inputs, graph.outputs)


@pytest.mark.parametrize(
    ("name", "ops", "text"),
    [
        (
            "branches",
            [0, 7],
            "branches: cannot cut the model: operator 3:conv2d lies between chosen ones, "
            "before 7:add; choose it as well, or cut into two",
        ),
        ("branches", [], "branches: cannot cut the model: no operators were chosen"),
        ("branches", [8], "branches: cannot cut the model: it has 8 operators, but no 8"),
        ("branches", [-1, 3], "branches: cannot cut the model: it has 8 operators, but no -1"),
        ("float16_weights", [0], "float16_weights: cannot cut the model: no operators were chosen"),
        (
            "conditional",
            [0],
            "conditional: cannot cut the model: operator 0:if runs another subgraph of the model; "
            "place it as a whole",
        ),
    ],
)
def test_refusals(name: str, ops: Iterable[int], text: str) -> None:
    with pytest.raises(ModelError) as caught:
        slice_model(read_tflite(MODELS[name](), name), ops)
    assert str(caught.value) == text


def test_more_constants_than_a_flatbuffer_holds(
    branches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "_MAX_CONSTANT_BYTES", 100)
    with pytest.raises(ModelError, match=r"bytes of constants, over the 2 GB"):
        slice_model(read_tflite(branches), [0])


def _check_same(graph: Graph, groups: Sequence[Sequence[int]]) -> None:
    """Run slices one after the other and compare with the whole model, bit by bit."""
    inputs = random_inputs(graph.data)
    whole = run_litert(graph.data, inputs)
    values: dict[int, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for group in groups:
        cut = slice_model(graph, group)
        verify(cut.data)
        values.update(_run(cut, values))
    for index, expected in zip(graph.outputs, whole, strict=True):
        assert values[index].dtype == expected.dtype
        np.testing.assert_array_equal(values[index], expected)


def _run(cut: Slice, values: Mapping[int, Value]) -> dict[int, Value]:
    results = run_litert(cut.data, [values[index] for index in cut.inputs])
    return dict(zip(cut.outputs, results, strict=True))
