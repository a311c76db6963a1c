"""Loaded models: what they take, and what they are when the artefact is replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from litert_reference import run_litert
from placed import compile_on
from tdse.errors import UsageError
from tdse.runtime.model import Model

ModelPath = Callable[[str], Path]

pytestmark = pytest.mark.tvm


@pytest.fixture
def model(small_artefact: Path) -> Model:
    return tdse.load(small_artefact)


@pytest.fixture
def inputs() -> list[Any]:
    """Of ``two_inputs_two_outputs``: beta and alpha."""
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, (1, 4)).astype(np.float32) for _ in range(2)]


def _demand_sum_and_product(outputs: Any, inputs: list[Any]) -> None:
    beta, alpha = (np.asarray(a, np.float32) for a in inputs)
    np.testing.assert_array_equal(outputs[0], beta - alpha)
    np.testing.assert_array_equal(outputs[1], beta * alpha)


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[:, ::-1].copy()[:, ::-1],
        np.asfortranarray,
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),  # read-only
        lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
        memoryview,
    ],
    ids=["strided", "reversed", "fortran", "read-only", "unaligned", "memoryview"],
)
def test_any_layout_in_memory(
    layout: Callable[[Any], Any], model: Model, inputs: list[Any]
) -> None:
    given = [layout(a) for a in inputs]
    _demand_sum_and_product(model(*given), inputs)
    _demand_sum_and_product(model(beta=given[0], alpha=given[1]), inputs)


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        ([np.zeros((1, 4), ">f4")] * 2, "dtype >f4.*takes .* float32"),
        ([np.zeros((1, 4), np.float64)] * 2, "dtype float64"),
        ([np.zeros((1, 4), np.int8)] * 2, "dtype int8"),
        ([np.zeros((1, 4), object)] * 2, "dtype object"),
        ([["a", "b"]] * 2, "dtype <U1"),
        ([[[1.0, 2.0, 3.0], [4.0]]] * 2, "'beta' is not an array"),
        ([np.zeros((4,), np.float32)] * 2, r"shape \(4,\)"),
        ([np.zeros((1, 5), np.float32)] * 2, r"shape \(1, 5\)"),
        ([np.zeros((2, 4), np.float32)] * 2, r"shape \(2, 4\)"),
        ([np.zeros((1, 0), np.float32)] * 2, r"shape \(1, 0\)"),
        ([np.float32(1)] * 2, r"shape \(\)"),
        ([None, None], "dtype object"),
        ([], "takes 2 inputs, not 0"),
        ([np.zeros((1, 4), np.float32)], "takes 2 inputs, not 1"),
        ([np.zeros((1, 4), np.float32)] * 3, "takes 2 inputs, not 3"),
    ],
)
def test_inputs_that_do_not_fit(given: list[Any], pattern: str, model: Model) -> None:
    with pytest.raises(UsageError, match=pattern):
        model(*given)


def test_names_that_do_not_fit(model: Model, inputs: list[Any]) -> None:
    beta, alpha = inputs
    with pytest.raises(UsageError, match="no input is named 'gamma'"):
        model(beta=beta, gamma=alpha)
    with pytest.raises(UsageError, match="input 'alpha' is missing"):
        model(beta=beta)
    with pytest.raises(UsageError, match="both by position and by name"):
        model(beta, alpha=alpha)


@pytest.mark.parametrize("target", ["litert", "llvm"])
@pytest.mark.parametrize("name", ["tiny_float", "tiny_conv_float", "two_inputs_two_outputs"])
def test_values_that_are_not_finite(
    name: str, target: str, model_path: ModelPath, tmp_path: Path
) -> None:
    path = model_path(name)
    compile_on(target, path, tmp_path / "out")
    model = tdse.load(tmp_path / "out")
    for value in (np.nan, np.inf, -np.inf):
        given = model.random_inputs(0)
        given[0].flat[1] = value
        for ours, litert in zip(model.run(given), run_litert(path, given), strict=True):
            np.testing.assert_allclose(ours, litert, rtol=1e-4, atol=1e-5)


def test_an_artefact_that_is_replaced_while_its_model_is_in_use(
    model_path: ModelPath, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    artefacts = {}
    for name in ("tiny_float", "branches"):
        artefacts[name] = tmp_path / name
        compile_on("litert", model_path(name), artefacts[name])
    loaded = []
    for i in range(9):
        name = ("tiny_float", "branches")[i % 2]
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(artefacts[name], out)
        loaded.append((name, tdse.load(out)))
    for name, model in loaded:
        given = model.random_inputs(0)
        for ours, litert in zip(model.run(given), run_litert(model_path(name), given), strict=True):
            np.testing.assert_array_equal(ours, litert)
