"""What TVM makes of operators: results, reasons, shared kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from target_models import byte_tensor, one_op, random_values, run_compiled, run_on

from litert_reference import random_inputs, run_litert
from modelkit import NetworkBuilder, Operator, Subgraph, Tensor, write_model
from tdse.assemble import Compiled
from tdse.errors import TargetError
from tdse.graph.border import op_border
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.slice import slice_model

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets.llvm import LlvmTarget, import_op  # noqa: E402 - needs tvm

ModelPath = Callable[[str], Path]
SAMPLES = np.random.default_rng(5).uniform(-1.0, 1.0, (8, 9, 9, 6))


@pytest.fixture(scope="module")
def llvm() -> LlvmTarget:
    return LlvmTarget()


def network(kind: str) -> NetworkBuilder:
    builder = NetworkBuilder(seed=4)
    x = builder.input("x", SAMPLES)
    match kind:
        case "conv2d":
            builder.result = builder.conv2d(x, 8, 3, stride=2, activation="relu")
        case "fully_connected":
            builder.result = builder.fully_connected(builder.reshape(x, (1, 9 * 9 * 6)), 7)
        case "add":
            builder.result = builder.add(x, builder.conv2d(x, 6, 1))
        case "mul":
            builder.result = builder.mul(x, builder.constant(0.3))
        case "mean":
            builder.result = builder.mean(x)
        case "softmax":
            builder.result = builder.softmax(builder.reshape(x, (1, 9 * 9 * 6)))
        case "concat":
            builder.result = builder.concat([x, builder.conv2d(x, 3, 1), x])
        case "depthwise_conv2d":
            builder.result = builder.depthwise_conv2d(x, 3)
        case "pools":
            builder.result = builder.average_pool2d(builder.max_pool2d(x))
    return builder


KINDS = [
    "conv2d",
    "fully_connected",
    "add",
    "mul",
    "mean",
    "softmax",
    "concat",
    "depthwise_conv2d",
    "pools",
]


@pytest.mark.parametrize("kind", KINDS)
def test_float_results(llvm: LlvmTarget, kind: str) -> None:
    builder = network(kind)
    data = builder.float32({"y": builder.result})
    inputs = random_inputs(data)
    (expected,) = run_litert(data, inputs)
    (result,) = run_on(llvm, read_tflite(data), inputs)
    assert np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
def test_int8_results_are_within_a_step(llvm: LlvmTarget, kind: str) -> None:
    builder = network(kind)
    graph = read_tflite(builder.int8({"y": builder.result}))
    # Operator by operator, so that differences do not add up.
    for op in graph.placed_ops:
        piece = read_tflite(slice_model(graph, [op]).data)
        inputs = random_values(piece)
        (expected,) = run_litert(piece.data, inputs)
        (result,) = run_on(llvm, piece, inputs)
        assert np.abs(result.astype(int) - expected.astype(int)).max() <= 1


def test_whole_network_in_one_region(llvm: LlvmTarget, model_path: ModelPath) -> None:
    path = model_path("tiny_conv_int8")
    graph, inputs = read_tflite(path), random_inputs(path)
    assert all(llvm.supports(graph, op).ok for op in graph.placed_ops)
    (expected,) = run_litert(path, inputs)
    (result,) = run_on(llvm, graph, inputs)
    assert np.abs(result.astype(int) - expected.astype(int)).max() <= 2


def test_a_region_of_two_operators_and_a_constant(llvm: LlvmTarget) -> None:
    builder = NetworkBuilder(seed=2)
    x = builder.input("x", SAMPLES)
    y = builder.relu(builder.add(x, builder.constant(np.linspace(-1, 1, 6))))
    data = builder.float32({"y": y})
    graph = read_tflite(data)
    (region,) = llvm.compile(graph, [Region(0, "llvm", graph.placed_ops)], 1).regions
    # TVM fuses both into one kernel; the constant is its second argument.
    (step,) = region.steps
    assert step.arguments == (graph.inputs[0], -1, graph.outputs[0])
    assert region.tensors[0].constant == np.linspace(-1, 1, 6).astype(np.float32).tobytes()
    inputs = random_inputs(data)
    np.testing.assert_allclose(run_on(llvm, graph, inputs)[0], run_litert(data, inputs)[0])


def test_threads_divide_elementwise_operators(llvm: LlvmTarget) -> None:
    """With a broadcast operand, and with operands of one shape, which become one loop."""
    shape = (1, 30, 41, 33)
    builder = NetworkBuilder(seed=2)
    x = builder.input("x", np.random.default_rng(0).uniform(-1.0, 1.0, (4, *shape[1:])))
    doubled = builder.add(x, x)
    y = builder.mul(doubled, builder.constant(np.linspace(-1, 1, 33)))
    data = builder.float32({"y": y})
    graph = read_tflite(data)
    regions = [Region(i, "llvm", (op,)) for i, op in enumerate(graph.placed_ops)]
    compiled = llvm.compile(graph, regions, 2)
    divided = [region.steps[0].iterations for region in compiled.regions]
    assert divided == [math.prod(shape), 30 * 41]
    inputs = random_inputs(data)
    expected = run_litert(data, inputs)[0]
    for threads in (1, 2):
        whole = Compiled(graph, tuple(regions), compiled.regions, compiled.libraries, threads)
        np.testing.assert_array_equal(whole.whole().model().run(inputs)[0], expected)


def test_equal_kernels_are_compiled_once(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("branches"))
    regions = [Region(i, "llvm", (op,)) for i, op in enumerate(graph.placed_ops)]
    compiled = LlvmTarget().compile(graph, regions, 1)
    kinds = {op: graph.ops[op].kind for op in graph.placed_ops}
    for kind in ("depthwise_conv2d", "hard_swish"):
        symbols = {compiled.regions[op].steps[-1].symbol for op in kinds if kinds[op] == kind}
        # Both branches have this operator, with other weights and scales.
        assert list(kinds.values()).count(kind) == 2
        assert len(symbols) == 1


def test_compiled_kernels_are_taken_up_again(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("branches"))
    target, regions = LlvmTarget(), [Region(0, "llvm", graph.placed_ops)]
    first, second = (target.compile(graph, regions, 1) for _ in range(2))
    assert first.libraries[0] is second.libraries[0]


def test_bodies_of_another_front_door(llvm: LlvmTarget, model_path: ModelPath) -> None:
    path = model_path("tiny_float")
    graph, inputs = read_tflite(path), random_inputs(path)
    bodies = {op: import_op(graph, op) for op in graph.placed_ops}
    # Without a flatbuffer there are only the bodies to go by.
    bare = replace(graph, data=b"")
    regions = [Region(0, "llvm", graph.placed_ops)]
    compiled = llvm.compile_bodies(bare, regions, bodies, 1)
    assert len(compiled.libraries) == 1
    (result,) = run_compiled(bare, regions, compiled, inputs)
    (expected,) = run_litert(path, inputs)
    assert np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


def test_body_that_does_not_fit_is_refused(llvm: LlvmTarget, model_path: ModelPath) -> None:
    imported = read_tflite(model_path("tiny_float"))
    # Without a flatbuffer, no operator has a kernel of its own.
    graph = replace(imported, data=b"")
    other = {op: import_op(imported, graph.placed_ops[-1]) for op in graph.placed_ops}
    with pytest.raises(TargetError, match=r"cannot lower 0:conv2d.*its body takes R.Tensor"):
        llvm.compile_bodies(graph, [Region(0, "llvm", (0,))], other, 1)


def test_border_is_that_of_the_slice(model_path: ModelPath) -> None:
    for name in ("branches", "shared_output", "two_inputs_two_outputs", "float16_weights"):
        graph = read_tflite(model_path(name))
        for ops in [*((op,) for op in graph.placed_ops), graph.placed_ops]:
            piece = slice_model(graph, ops)
            assert op_border(graph, ops) == (piece.inputs, piece.outputs)


def test_reason_is_one_line_and_nothing_is_printed(
    llvm: LlvmTarget, model_path: ModelPath, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = read_tflite(model_path("custom_op"))
    support = llvm.supports(graph, 1)
    assert support.reason == "Custom operators are currently not supported"
    assert capfd.readouterr().err == ""


def test_state_and_shared_resources_are_refused(llvm: LlvmTarget, model_path: ModelPath) -> None:
    graph = read_tflite(model_path("variable_tensor"))
    assert "it keeps a state between runs" in {llvm.supports(graph, i).reason for i in (0, 1)}
    graph = read_tflite(model_path("resource_variable"))
    assert llvm.supports(graph, 0).reason.startswith("the model can only run whole: ")


@pytest.mark.parametrize("name", ["float16_weights", "sparse_weights"])
def test_constant_operators_are_folded(name: str, llvm: LlvmTarget, model_path: ModelPath) -> None:
    path = model_path(name)
    graph, inputs = read_tflite(path), random_inputs(path)
    assert all(llvm.supports(graph, op).ok for op in graph.placed_ops)
    (dense,) = (op for op in graph.placed_ops if graph.ops[op].kind == "fully_connected")
    assert llvm.own_calls(graph, (dense,)), "it has the kernel of weights that are there as read"
    (expected,) = run_litert(path, inputs)
    (result,) = run_on(llvm, graph, inputs)
    assert np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


def test_tensors_of_equal_names_are_told_apart(llvm: LlvmTarget) -> None:
    tensors = [Tensor("", (1, 4)), Tensor("same", (1, 4)), Tensor("same", (1, 4))]
    subgraph = Subgraph(
        tensors, [Operator("SUB", (0, 1), (2,), schema.SubOptionsT())], (0, 1), (2,)
    )
    graph = read_tflite(write_model([subgraph]))
    inputs = random_values(graph)
    np.testing.assert_array_equal(run_on(llvm, graph, inputs)[0], inputs[0] - inputs[1])


@pytest.mark.parametrize(
    ("code", "shape", "operand", "options"),
    [
        ("PAD", (1, 5, 9, 3), [[0, 0], [1, 2], [3, 2], [0, 0]], schema.PadOptionsT()),
        ("TRANSPOSE", (1, 3, 2, 4), [0, 3, 1, 2], schema.TransposeOptionsT()),
        ("REVERSE_V2", (1, 2, 4, 3), [2], schema.ReverseV2OptionsT()),
    ],
)
def test_moving_bytes_is_exact(
    llvm: LlvmTarget, code: str, shape: tuple[int, ...], operand: list[object], options: object
) -> None:
    x = byte_tensor("x", (1, 2, 4, 3), zero=5)
    constant = np.array(operand, np.int32)
    amounts = Tensor("a", constant.shape, "int32", constant)
    version = 3 if code == "REVERSE_V2" else 2
    graph = one_op(code, [x, amounts], [replace(x, name="y", shape=shape)], options, version)
    assert llvm.supports(graph, 0).ok
    inputs = random_values(graph)
    np.testing.assert_array_equal(run_on(llvm, graph, inputs)[0], run_litert(graph.data, inputs)[0])
