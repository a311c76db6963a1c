"""Runs whole models in LiteRT's interpreter: the independent source of the tests' numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

Value = np.ndarray[Any, Any]


def run_litert(model: bytes | Path, inputs: Sequence[Value], *, threads: int = 1) -> list[Value]:
    """The outputs of one run of ``model``, in the model's order; inputs may resize it."""
    interpreter = load_litert(model, threads=threads)
    return run_interpreter(interpreter, inputs)


def load_litert(model: bytes | Path, *, threads: int = 1, keep: bool = False) -> Interpreter:
    """An interpreter for ``model``; with ``keep``, every tensor's value outlives the run."""
    source: dict[str, Any] = (
        {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    )
    with warnings.catch_warnings():
        # LiteRT warns that keeping every tensor is meant for debugging only.
        warnings.simplefilter("ignore", UserWarning)
        return Interpreter(**source, num_threads=threads, experimental_preserve_all_tensors=keep)


def run_interpreter(interpreter: Interpreter, inputs: Sequence[Value]) -> list[Value]:
    """One run; the state of variables goes on from the run before."""
    details = interpreter.get_input_details()
    for detail, value in zip(details, inputs, strict=True):
        if tuple(detail["shape"]) != value.shape:
            interpreter.resize_tensor_input(detail["index"], value.shape)
    # Does nothing where no shape has changed since the last run.
    interpreter.allocate_tensors()
    for detail, value in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]


def random_inputs(model: bytes | Path, *, seed: int = 0) -> list[Value]:
    """Inputs of the model's shapes and types: the whole range of integers, -2 to 2 of floats."""
    random = np.random.default_rng(seed)
    return [_random(random, detail) for detail in load_litert(model).get_input_details()]


def dequantized(value: Value, detail: Mapping[str, Any]) -> Value:
    """The real numbers that ``value`` stands for, given LiteRT's description of its tensor."""
    scale, zero_point = detail["quantization"]
    return (value.astype(np.float64) - zero_point) * scale if scale else value


def _random(random: np.random.Generator, detail: Mapping[str, Any]) -> Value:
    dtype = np.dtype(detail["dtype"])
    shape = tuple(detail["shape"])
    if dtype == np.bool_:
        return random.integers(0, 2, size=shape).astype(np.bool_)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    return random.uniform(-2.0, 2.0, size=shape).astype(dtype)
