"""What fuzzing found, each as the smallest model that shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tdse
from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tampering import changed
from tdse.admission import admit
from tdse.errors import ModelError
from tdse.graph import read_tflite
from tdse.measure.activations import activations, random_inputs


def _assigns_to_no_variable() -> bytes:
    """A setup that assigns to a variable that nothing made, at which LiteRT crashes."""

    def without(model: Any) -> None:
        del model.subgraphs[1].operators[0]

    return changed(MODELS["resource_variable"](), without)


def _loops_for_ever() -> bytes:
    """WHILE with a condition that always holds."""
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    main = Subgraph(
        [Tensor("x", (4,)), Tensor("y", (4,))], [Operator("WHILE", (0,), (1,), options)], (0,), (1,)
    )
    condition = Subgraph(
        [
            Tensor("x", (4,)),
            Tensor("one", (), data=np.array(1.0, np.float32)),
            Tensor("holds", (), "bool"),
        ],
        [Operator("EQUAL", (1, 1), (2,), schema.EqualOptionsT())],
        (0,),
        (2,),
        "condition",
    )
    body = Subgraph(
        [Tensor("x", (4,)), Tensor("y", (4,))], [Operator("ABS", (0,), (1,))], (0,), (1,), "body"
    )
    return write_model([main, condition, body])


def _refusal(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The error of compiling a model, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = tmp_path / "m.tflite"
    model.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        tdse.compile(model, out=tmp_path / "out", budget_s=1)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_a_model_that_crashes_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = _refusal(_assigns_to_no_variable(), tmp_path, monkeypatch)
    assert error.startswith(
        "m: LiteRT cannot run the model: running it crashed the process with SIGSEGV"
    )


def test_a_model_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdse.child.LITERT_SILENT_S", 3.0)
    error = _refusal(_loops_for_ever(), tmp_path, monkeypatch)
    assert error.startswith("m: LiteRT cannot run the model: running it did not finish within 3 s")


def test_a_shape_that_the_operator_does_not_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stride(model: Any) -> None:
        model.subgraphs[0].operators[1].builtinOptions.strideH = 16

    error = _refusal(changed(MODELS["branches"](), stride), tmp_path, monkeypatch)
    assert error.startswith("m: op 1:depthwise_conv2d makes another tensor than the model says")


def test_a_type_that_the_operator_does_not_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteRT gives a sum the type of its terms; the bytes were taken for floating-point numbers."""

    def wrong_type(model: Any) -> None:
        model.subgraphs[0].tensors[-1].type = schema.TensorType.FLOAT32

    error = _refusal(changed(MODELS["branches"](), wrong_type), tmp_path, monkeypatch)
    assert error.startswith("m: op 7:add makes another tensor than the model says")
    assert "makes 'join' of type int8 and shape [1, 16, 16, 8], the model says float32" in error


def test_an_operator_that_only_runs_with_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XNNPACK takes the pool with the operators around it, whatever type its output has."""

    def wrong_type(model: Any) -> None:
        pool = model.subgraphs[0].operators[7]
        model.subgraphs[0].tensors[pool.outputs[0]].type = schema.TensorType.UINT16

    error = _refusal(changed(MODELS["tiny_conv_float"](), wrong_type), tmp_path, monkeypatch)
    assert "MAX_POOL_2D" in error or "max_pool2d" in error


def test_an_input_that_is_a_state_tensor() -> None:
    """A slice would have had no such input."""

    def state(model: Any) -> None:
        model.subgraphs[0].tensors[0].isVariable = True

    graph = read_tflite(changed(MODELS["shared_output"](), state))
    assert graph.whole_reason == "an input of the model is a state tensor"


def _name(tensor: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[tensor].name = b"\xff\xfe"

    return change


def test_an_inner_name_that_is_no_text() -> None:
    graph = read_tflite(changed(MODELS["shared_output"](), _name(1)), "m")
    inner = read_tflite(changed(MODELS["variable_tensor"](), _name(1)))
    assert len(activations(inner, random_inputs(inner, 0))) == 4
    with pytest.raises(ModelError, match="the name of an output of the model is no text"):
        admit(graph)
