"""What is read from a model file, and how files that cannot be read are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from litert_reference import load_litert
from modelkit import Operator, Signature, Subgraph, Tensor, write_model
from models import CUSTOM_NAME, MODELS, RUNNABLE
from tampering import changed
from tdse.errors import ModelError
from tdse.graph import Quantization, constant_bytes, read_tflite


@pytest.mark.parametrize("name", [*RUNNABLE, "demo"])
def test_tensors_agree_with_litert(name: str, model_path: Callable[[str], Path]) -> None:
    path = model_path(name)
    graph = read_tflite(path)
    interpreter = load_litert(path)
    interpreter.allocate_tensors()
    # LiteRT adds tensors of its own at the end.
    details = interpreter.get_tensor_details()[: len(graph.tensors)]
    for detail in details:
        tensor = graph.tensors[detail["index"]]
        assert tensor.name == detail["name"]
        if tensor.dtype == "resource":
            continue
        assert tensor.dtype == np.dtype(detail["dtype"]).name
        if not tensor.is_dynamic:
            assert tensor.shape == tuple(detail["shape"])
        assert tensor.size_bytes == np.prod(tensor.shape) * np.dtype(detail["dtype"]).itemsize
        _agrees(tensor.quantization, detail["quantization_parameters"])
    assert [detail["index"] for detail in interpreter.get_input_details()] == list(graph.inputs)
    assert [detail["index"] for detail in interpreter.get_output_details()] == list(graph.outputs)


def _agrees(ours: Quantization | None, theirs: dict[str, Any]) -> None:
    scales, zero_points = theirs["scales"].tolist(), theirs["zero_points"].tolist()
    if ours is None:
        assert not scales
        return
    # LiteRT repeats the one scale of a FULLY_CONNECTED's weights for each unit.
    assert scales == list(ours.scales) * (len(scales) // len(ours.scales))
    assert zero_points == list(ours.zero_points)
    assert len(ours.scales) == 1 or ours.axis == theirs["quantized_dimension"]


def test_operators_of_a_network(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    assert (graph.name, graph.whole_reason, graph.constant_ops) == (
        "tiny_conv_int8",
        "",
        frozenset(),
    )
    assert [op.kind for op in graph.ops] == [
        "conv2d",
        "hard_swish",
        "conv2d",
        "depthwise_conv2d",
        "hard_swish",
        "conv2d",
        "add",
        "max_pool2d",
        "average_pool2d",
        "mul",
        "reshape",
        "fully_connected",
        "softmax",
    ]
    stem = graph.ops[0]
    assert (stem.label, stem.tflite_name, stem.is_custom) == ("0:conv2d", "CONV_2D", False)
    assert stem.attributes["padding"] == "same"
    assert stem.attributes["stride_w"] == 2
    assert stem.attributes["fused_activation_function"] == "none"
    assert stem.macs == 8 * 8 * 8 * 3 * 3 * 3
    # Weights of int8 and bias of int32; images of int8.
    assert stem.parameter_bytes == 8 * 3 * 3 * 3 + 8 * 4
    assert (stem.input_bytes, stem.output_bytes) == (16 * 16 * 3, 8 * 8 * 8)
    assert graph.placed_ops == tuple(range(13))
    assert len(graph.edges) == 13
    assert (1, 6) in {(source, target) for source, target, _ in graph.edges}
    weights = graph.tensors[stem.inputs[1]]
    assert weights.is_constant
    assert len(constant_bytes(graph, weights.index)) == weights.size_bytes


def test_bytes_and_path_give_the_same(branches: Path) -> None:
    from_path, from_bytes = read_tflite(branches), read_tflite(branches.read_bytes(), "branches")
    assert from_path == from_bytes
    assert len(from_path.sha256) == 64
    assert read_tflite(branches, "other").name == "other"
    assert read_tflite(branches.read_bytes()).name == "model"


def test_names_come_from_the_signature(two_inputs_two_outputs: Path) -> None:
    graph = read_tflite(two_inputs_two_outputs)
    assert graph.input_names == ("beta", "alpha")
    assert graph.output_names == ("difference", "product")


def test_names_come_from_tensors_without_one_signature(two_inputs_two_outputs: Path) -> None:
    def without(model: Any) -> None:
        model.signatureDefs = None

    def twice(model: Any) -> None:
        model.signatureDefs *= 2

    data = two_inputs_two_outputs.read_bytes()
    plain = read_tflite(changed(data, without))
    assert plain.input_names == tuple(plain.tensors[index].name for index in plain.inputs)
    assert read_tflite(changed(data, twice)).input_names == plain.input_names


def test_names_are_made_unique() -> None:
    tensors = [Tensor(name, (1,)) for name in ("x", "x", "", "x_2", "sum")]
    ops = [Operator("ADD_N", (0, 1, 2, 3), (4,))]
    graph = read_tflite(write_model([Subgraph(tensors, ops, (0, 1, 2, 3), (4, 4))]))
    assert graph.input_names == ("x", "x_2", "input_2", "x_2_2")
    assert graph.output_names == ("sum", "sum_2")


def test_one_tensor_with_two_signature_names() -> None:
    tensors = [Tensor("x", (1,)), Tensor("y", (1,))]
    data = write_model(
        [Subgraph(tensors, [Operator("ABS", (0,), (1,))], (0,), (1, 1))],
        signature=Signature(("x",), ("first", "second")),
    )
    assert read_tflite(data).output_names == ("first", "second")


def test_name_that_is_not_utf8(branches: Path) -> None:
    def rename(model: Any) -> None:
        model.subgraphs[0].tensors[0].name = b"\xff\xfe"

    assert read_tflite(changed(branches.read_bytes(), rename)).tensors[0].name == "\ufffd\ufffd"


def test_custom_operator() -> None:
    op = read_tflite(MODELS["custom_op"]()).ops[1]
    assert (op.is_custom, op.tflite_name, op.kind) == (True, CUSTOM_NAME, "example_filter")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resource_variable", "operator 0:call_once runs another subgraph of the model"),
        ("conditional", "operator 0:if runs another subgraph of the model"),
    ],
)
def test_models_that_cannot_be_cut(name: str, reason: str) -> None:
    graph = read_tflite(MODELS[name]())
    assert graph.whole_reason == reason
    assert graph.ops
    assert not any(tensor.is_dynamic for tensor in graph.tensors)


def test_resources_alone_keep_a_model_whole() -> None:
    def without_call(model: Any) -> None:
        del model.subgraphs[0].operators[0]

    graph = read_tflite(changed(MODELS["resource_variable"](), without_call))
    assert graph.whole_reason == "operator 0:var_handle uses a resource that operators share"


def test_state_of_one_operator_does_not_keep_a_model_whole() -> None:
    graph = read_tflite(MODELS["variable_tensor"]())
    assert graph.whole_reason == ""
    assert [tensor.name for tensor in graph.tensors if tensor.is_variable] == ["state"]
    # Both matrices, once for each sequence of the batch.
    assert graph.ops[1].macs == 4 * 3 + 4 * 5


def test_shared_state_keeps_a_model_whole() -> None:
    def share(model: Any) -> None:
        model.subgraphs[0].operators[2].inputs = np.array([4], np.int32)

    graph = read_tflite(changed(MODELS["variable_tensor"](), share))
    assert graph.whole_reason == "operators 1:svdf and 2:relu share a state tensor"


def test_state_as_an_output_keeps_a_model_whole() -> None:
    def expose(model: Any) -> None:
        model.subgraphs[0].outputs = np.array([6, 4], np.int32)

    graph = read_tflite(changed(MODELS["variable_tensor"](), expose))
    assert graph.whole_reason == "an output of the model is a state tensor"


def test_constant_operators_are_not_placed() -> None:
    graph = read_tflite(MODELS["float16_weights"]())
    assert graph.constant_ops == {0, 1}
    assert graph.placed_ops == (2, 3)
    assert [edge[:2] for edge in graph.edges] == [(2, 3)]
    product = graph.ops[2]
    assert (product.parameter_bytes, product.input_bytes) == (4 * (4 * 8 + 4), 4 * 8)
    assert product.macs == 4 * 8


def test_an_operator_that_makes_a_constant_output_is_placed() -> None:
    value = np.ones((2,), np.float16)
    tensors = [Tensor("half", (2,), "float16", value), Tensor("full", (2,)), Tensor("x", (2,))]
    tensors.append(Tensor("sum", (2,)))
    ops = [Operator("DEQUANTIZE", (0,), (1,)), Operator("ADD", (1, 2), (3,))]
    data = write_model([Subgraph(tensors, ops, (2,), (3, 1))])
    assert read_tflite(data).constant_ops == frozenset()


def test_random_operators_are_placed() -> None:
    shape = np.array([4], np.int32)
    tensors = [Tensor("shape", (1,), "int32", shape), Tensor("noise", (4,)), Tensor("y", (4,))]
    ops = [Operator("RANDOM_UNIFORM", (0,), (1,)), Operator("ABS", (1,), (2,))]
    assert read_tflite(write_model([Subgraph(tensors, ops, (), (2,))])).placed_ops == (0, 1)


def test_values_stored_behind_the_flatbuffer(branches: Path) -> None:
    """As the converter does for models over 2 GB."""
    original = read_tflite(branches)
    weights = original.ops[0].inputs[1]
    value = bytes(constant_bytes(original, weights))

    def move(offset: int) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            buffer = model.buffers[model.subgraphs[0].tensors[weights].buffer]
            buffer.data, buffer.offset, buffer.size = None, offset, len(value)

        return change

    offset = len(changed(branches.read_bytes(), move(1 << 30)))
    data = changed(branches.read_bytes(), move(offset)) + value
    graph = read_tflite(data)
    assert graph.tensors == original.tensors
    assert bytes(constant_bytes(graph, weights)) == value
    with pytest.raises(ModelError, match=r"buffer \d+ goes beyond the file's \d+ bytes"):
        read_tflite(data[:-1])


def test_empty_constant_needs_no_buffer() -> None:
    tensors = [Tensor("x", (1,)), Tensor("none", (0,), "int32"), Tensor("y", ())]
    graph = read_tflite(
        write_model([Subgraph(tensors, [Operator("RESHAPE", (0, 1), (2,))], (0,), (2,))])
    )
    assert graph.tensors[1].is_constant
    assert len(constant_bytes(graph, 1)) == 0


def test_files_that_are_no_models(tmp_path: Path) -> None:
    def refusal(path: Path, content: bytes | None = None) -> str:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            read_tflite(path)
        assert "\n" not in str(caught.value)
        assert caught.value.where == str(path)
        return str(caught.value).removeprefix(f"{path}: ")

    assert refusal(tmp_path / "empty", b"") == (
        "cannot read the model: it has only 0 bytes; give the path of a .tflite file"
    )
    assert refusal(tmp_path / "text", b"Hello, world.\nHow are you?\n") == (
        "cannot read the model: bytes 4 to 7 are b'o, w' and not b'TFL3'; "
        "give the path of a .tflite file"
    )
    assert refusal(tmp_path / "keras", b"PK\x03\x04" + bytes(40)).endswith(
        "this looks like a Keras model, convert it to .tflite first"
    )
    assert refusal(tmp_path / "missing") == (
        "cannot read the model: no such file or directory; give the path of a .tflite file"
    )
    assert refusal(tmp_path) == (
        "cannot read the model: it is a directory; give the path of a .tflite file"
    )
    (tmp_path / "saved_model.pb").touch()
    assert refusal(tmp_path).endswith("convert the SavedModel to .tflite first")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == (
        "cannot read the model: it is not a regular file; give the path of a .tflite file"
    )


def test_path_with_a_zero_byte() -> None:
    with pytest.raises(ModelError, match="null"):
        read_tflite("a\0b.tflite")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.tflite"
    path.touch()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ModelError, match="permission denied"):
        read_tflite(path)


def test_operator_of_the_future() -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(MODELS["future_op"](), "new")
    assert str(caught.value) == (
        "new: cannot read the model: operator 1 has the unknown builtin code 9999; "
        "the model needs a newer ai-edge-litert"
    )


def _set(**fields: Any) -> Callable[[Any], None]:
    """Sets fields of operator 1 of a model, for example ``inputs=(9,)``."""

    def change(model: Any) -> None:
        for name, value in fields.items():
            array = np.array(value, np.int32) if isinstance(value, tuple) else value
            setattr(model.subgraphs[0].operators[1], name, array)

    return change


def _tensor(index: int, **fields: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for name, value in fields.items():
            array = np.array(value, np.int32) if isinstance(value, tuple) else value
            setattr(model.subgraphs[0].tensors[index], name, array)

    return change


def _subgraph(**fields: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for name, value in fields.items():
            array = np.array(value, np.int32) if isinstance(value, tuple) else value
            setattr(model.subgraphs[0], name, array)

    return change


def _model(**fields: Any) -> Callable[[Any], None]:
    return lambda model: [setattr(model, name, value) for name, value in fields.items()]


def _reverse(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def _nameless(model: Any) -> None:
    model.operatorCodes[1].customCode = None


# Tensors of custom_op: x -> before -> after -> y.
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_model(version=4), "its schema version is 4 and not 3"),
        (_model(subgraphs=None), "it has no subgraph"),
        (_model(operatorCodes=None), "operator 0 has code 0, but there are 0"),
        (_model(buffers=None), "tensor 0 is in buffer 0, but there are 0"),
        (_nameless, "operator 1 is a custom operator without a name"),
        (_reverse, "operator 0:relu reads tensor 2 ('after') before operator 1:example_filter"),
        (_set(inputs=(4,)), "operator 1 refers to tensor 4, but there are 4"),
        (_set(inputs=(-2,)), "operator 1 refers to tensor -2, but there are 4"),
        (_set(intermediates=(99,)), "operator 1 refers to tensor 99, but there are 4"),
        (_set(inputs=(3,)), "operator 1:example_filter reads tensor 3 ('y') before operator 2"),
        (_set(inputs=(2,)), "operator 1:example_filter reads tensor 2 ('after') before operator 1"),
        (_set(outputs=(3,)), "tensor 3 ('y') is produced by operator 1:example_filter and by"),
        (_set(outputs=(0,)), "operator 1:example_filter writes to tensor 0 ('x'), an input"),
        (_set(outputs=(-1,)), "operator 2:relu reads tensor 2 ('after'), which has no value"),
        (_set(largeCustomOptionsOffset=64, largeCustomOptionsSize=1 << 40), "the options of"),
        (_subgraph(inputs=(-1,)), "the model's input list refers to tensor -1"),
        (_subgraph(outputs=(4,)), "the model's output list refers to tensor 4"),
        (_subgraph(operators=[]), "output tensor 3 ('y') is produced by no operator"),
        (_tensor(0, type=100), "tensor 0 has the unknown element type 100"),
        (_tensor(0, externalBuffer=1), "the value of tensor 0 is in another file"),
        (_tensor(0, shape=(1 << 30, 1 << 30)), "tensor 0 has the impossible shape"),
        (_tensor(0, name=None, buffer=7), "tensor 0 is in buffer 7, but there are 1"),
    ],
)
def test_models_that_make_no_sense(change: Callable[[Any], None], why: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(changed(MODELS["custom_op"](), change))
    assert caught.value.why.startswith(why)


def _scales(scales: list[float], zero_points: list[int], axis: int = 0) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        quantization = model.subgraphs[0].tensors[0].quantization
        quantization.scale = np.array(scales, np.float32)
        quantization.zeroPoint = np.array(zero_points, np.int64)
        quantization.quantizedDimension = axis

    return change


def _padding(model: Any) -> None:
    model.subgraphs[0].operators[0].builtinOptions.padding = 9


def _short(model: Any) -> None:
    operator = model.subgraphs[0].operators[0]
    buffer = model.buffers[model.subgraphs[0].tensors[operator.inputs[1]].buffer]
    buffer.data = buffer.data[:-1]


def _signature(model: Any) -> None:
    entry = schema.TensorMapT(name="x", tensorIndex=1000)
    model.signatureDefs = [schema.SignatureDefT(inputs=[entry], subgraphIndex=0)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_scales([1.0, 2.0], [0]), "tensor 0 has 2 scales and 1 zero points"),
        (_scales([1.0, 2.0], [0, 0], 4), "tensor 0 is quantised along dimension 4 of 4"),
        (_padding, "operator 0 (CONV_2D): padding has the unknown value 9"),
        (_short, r"tensor 1 has 575 bytes, but its shape [8, 3, 3, 8] of int8 needs 576"),
        (_signature, "a signature refers to tensor 1000, but there are"),
    ],
)
def test_parts_that_do_not_fit(change: Callable[[Any], None], why: str, branches: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(changed(branches.read_bytes(), change))
    assert caught.value.why.startswith(why)


def test_missing_zero_points_are_zero(branches: Path) -> None:
    graph = read_tflite(changed(branches.read_bytes(), _scales([0.5], [])))
    assert graph.tensors[0].quantization == Quantization((0.5,), (0,), 0)


def test_old_file_without_wide_operator_codes(branches: Path) -> None:
    def narrow(model: Any) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    old = read_tflite(changed(branches.read_bytes(), narrow))
    # HARD_SWISH is 117, so all codes fit into the narrow field.
    assert [op.kind for op in old.ops] == [op.kind for op in read_tflite(branches).ops]
