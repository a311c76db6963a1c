"""The models that the other tests build on are what they are said to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from demo_model import mobilenet_v3_small, synthetic_images
from litert_reference import (
    Value,
    dequantized,
    load_litert,
    random_inputs,
    run_interpreter,
    run_litert,
)
from modelkit import NetworkBuilder
from models import CUSTOM_NAME, MODELS, RUNNABLE


@pytest.mark.parametrize("name", RUNNABLE)
def test_runs_in_litert(name: str) -> None:
    model = MODELS[name]()
    outputs = run_litert(model, random_inputs(model))
    assert outputs
    assert all(output.size for output in outputs)


@pytest.mark.parametrize("name", MODELS)
def test_same_bytes_every_time(name: str) -> None:
    assert MODELS[name]() == MODELS[name]()


def test_float_network_computes_what_the_builder_did() -> None:
    random = np.random.default_rng(7)
    network = NetworkBuilder(seed=7)
    x = network.input("image", random.uniform(-1.0, 1.0, size=(4, 9, 12, 3)))
    y = network.conv2d(x, 5, 3, stride=2, activation="relu6", name="same")
    y = network.depthwise_conv2d(y, 3, padding="valid", name="valid")
    y = network.concat([network.hard_swish(y), network.relu(y)])
    y = network.average_pool2d(network.max_pool2d(y, 2, stride=1), 2, padding="same")
    y = network.mul(network.mean(y), network.constant(np.arange(10) / 4.0))
    y = network.softmax(network.fully_connected(network.reshape(y, (1, 10)), 6))
    outputs = run_litert(network.float32({"y": y}), [x.sample[:1].astype(np.float32)])
    np.testing.assert_allclose(outputs[0], y.sample[:1], rtol=1e-4)


def test_int8_network_follows_its_float_twin() -> None:
    image = np.random.default_rng(0).uniform(-1.0, 1.0, size=(1, 16, 16, 3))
    exact = run_litert(MODELS["tiny_conv_float"](), [image.astype(np.float32)])[0]
    interpreter = load_litert(MODELS["tiny_conv_int8"]())
    stored = run_interpreter(interpreter, [_stored(image, interpreter.get_input_details()[0])])[0]
    scores = dequantized(stored, interpreter.get_output_details()[0])
    np.testing.assert_allclose(scores, exact, atol=0.05)


def test_two_inputs_two_outputs_by_name() -> None:
    interpreter = load_litert(MODELS["two_inputs_two_outputs"]())
    run = interpreter.get_signature_runner("serving_default")
    alpha, beta = _floats([[1, 2, 3, 4]]), _floats([[5, 5, 7, 7]])
    outputs = run(alpha=alpha, beta=beta)
    np.testing.assert_array_equal(outputs["difference"], beta - alpha)
    np.testing.assert_array_equal(outputs["product"], alpha * beta)


def test_resource_variable_accumulates() -> None:
    interpreter = load_litert(MODELS["resource_variable"]())
    step = _floats([[1, 2]])
    sums = [run_interpreter(interpreter, [step])[0].tolist() for _ in range(2)]
    assert sums == [[[11, 12]], [[12, 14]]]


def test_conditional_takes_both_ways() -> None:
    x, y = _floats([[2, 3]]), _floats([[4, 5]])
    results = [
        run_litert(MODELS["conditional"](), [np.array([choose]), x, y])[0].tolist()
        for choose in (True, False)
    ]
    assert results == [[[6, 8]], [[8, 15]]]


def test_variable_tensor_keeps_its_state() -> None:
    interpreter = load_litert(MODELS["variable_tensor"]())
    x = _floats([[1, 2, 3]])
    first, second = (run_interpreter(interpreter, [x])[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_dynamic_shapes() -> None:
    random = np.random.default_rng(0)
    batch = run_litert(MODELS["dynamic_batch"](), [random.normal(size=(5, 4)).astype(np.float32)])
    assert batch[0].shape == (5, 3)
    places = run_litert(MODELS["dynamic_output"](), [_floats([1, -1, 0, 2, -3, 4])])
    assert places[0].tolist() == [[0], [3], [5]]


def test_custom_op_is_refused() -> None:
    with pytest.raises(RuntimeError, match=CUSTOM_NAME):
        load_litert(MODELS["custom_op"]()).allocate_tensors()


def test_future_op_is_refused() -> None:
    with pytest.raises(ValueError, match="9999"):
        load_litert(MODELS["future_op"]())


def test_demo_model_is_deterministic(demo_model: Path) -> None:
    assert mobilenet_v3_small() == demo_model.read_bytes()


def test_demo_model_is_quantised_properly(demo_model: Path) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(demo_model.read_bytes(), 0))
    graph = model.subgraphs[0]
    convolutions = 0
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code == schema.BuiltinOperator.CONV_2D:
            image, weights, bias = (graph.tensors[i].quantization for i in operator.inputs)
            assert len(weights.scale) == graph.tensors[operator.inputs[1]].shape[0]
            np.testing.assert_allclose(bias.scale, image.scale * weights.scale, rtol=1e-6)
            convolutions += 1
    stem, expansions, projections, gates, head = 1, 10, 11, 9, 3
    assert convolutions == stem + expansions + projections + 2 * gates + head


def test_demo_model_is_not_degenerate(demo_model: Path) -> None:
    """On images it was not calibrated on: little saturation, varied scores, near its twin."""
    quantized = load_litert(demo_model, keep=True)
    exact = load_litert(mobilenet_v3_small(quantized=False), keep=True)
    details = {item["name"]: item for item in quantized.get_tensor_details()}
    likenesses, classes = [], set()
    saturated: dict[str, list[float]] = {}
    for image in synthetic_images(8, 224, seed=99)[:, None]:
        run_interpreter(quantized, [_stored(image, quantized.get_input_details()[0])])
        run_interpreter(exact, [image.astype(np.float32)])
        logits = _tensor(quantized, "head/logits").ravel()
        likenesses.append(np.corrcoef(logits, _tensor(exact, "head/logits").ravel())[0, 1])
        classes.add(int(logits.argmax()))
        for name in details:
            if name.endswith(("hard_swish", "/project", "/add", "/logits")):
                stored = quantized.get_tensor(details[name]["index"])
                saturated.setdefault(name, []).append(float((stored == 127).mean()))
    assert np.median(likenesses) > 0.9
    assert len(classes) >= 4
    assert max(np.mean(shares) for shares in saturated.values()) < 0.02


def _floats(values: Sequence[float] | Sequence[Sequence[float]]) -> Value:
    return np.array(values, np.float32)


def _stored(values: Value, detail: Mapping[str, Any]) -> Value:
    scale, zero_point = detail["quantization"]
    stored: Value = np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8)
    return stored


def _tensor(interpreter: Interpreter, name: str) -> Value:
    detail = next(item for item in interpreter.get_tensor_details() if item["name"] == name)
    return dequantized(interpreter.get_tensor(detail["index"]), detail)
