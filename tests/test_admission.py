"""Models that are refused before anything runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tdse.admission import admit
from tdse.errors import ModelError
from tdse.graph import read_tflite


def _relus(count: int, shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    tensors = [Tensor(f"t{i}", shape, dtype) for i in range(count + 1)]
    operators = [Operator("RELU", (i,), (i + 1,)) for i in range(count)]
    return write_model([Subgraph(tensors, operators, (0,), (count,))])


def test_a_small_file_cannot_ask_for_petabytes() -> None:
    graph = read_tflite(_relus(1000, (1 << 19, 1 << 19)), "huge")
    with pytest.raises(ModelError) as caught:
        admit(graph)
    assert str(caught.value).startswith(
        "huge: the model does not fit into memory: its tensors take 1025024.0 GiB, most of them at "
        "op 0:relu, and "
    )


def test_the_limit_is_what_there_is() -> None:
    data = _relus(3, (256,))
    graph = read_tflite(data)
    admit(graph, 4 * 1024 + len(data))
    with pytest.raises(ModelError, match="does not fit into memory"):
        admit(graph, 4 * 1024 + len(data) - 1)


def test_a_model_that_is_not_cut_needs_one_operator_at_a_time() -> None:
    graph = read_tflite(MODELS["conditional"]())
    needed = 1 + 2 * 8 + 8 + len(graph.data)
    admit(graph, needed)
    with pytest.raises(ModelError, match="most of them at op 0:if"):
        admit(graph, needed - 1)


@pytest.mark.parametrize("role", ["input", "output"])
def test_what_is_no_array(role: str) -> None:
    kinds = {"input": "float32", "output": "float32", role: "string"}
    tensors = [Tensor("x", (1,), kinds["input"]), Tensor("y", (1,), kinds["output"])]
    cast = Operator("CUSTOM", (0,), (1,), custom_name="Words")
    graph = read_tflite(write_model([Subgraph(tensors, [cast], (0,), (1,))]), "words")
    with pytest.raises(ModelError) as caught:
        admit(graph)
    assert f"has an {role} that is no array of numbers: tensor {'xy'[role == 'output']!r}" in str(
        caught.value
    )


def test_shapes_only_known_at_run_time(model_path: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="a shape that is only known when it runs"):
        admit(read_tflite(model_path("dynamic_output")))
