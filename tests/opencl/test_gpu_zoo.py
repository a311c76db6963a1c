"""The benchmark of networks on an OpenCL device, on small models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tdse.graph.reader import read_tflite

pytest.importorskip("tvm")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from gpu_zoo import examine

pytestmark = [pytest.mark.tvm, pytest.mark.opencl]
ModelPath = Callable[[str], Path]


def test_a_model_that_may_run_there(model_path: ModelPath) -> None:
    line = examine(read_tflite(model_path("tiny_float")), "opencl", ["sm_87"], runs=20)
    assert line.faults == ()
    assert line.legal == line.ops == line.compiled["sm_87"].legal
    assert line.compiled["sm_87"].regions == 1
    assert set(line.runs["alone"].regions) == {"opencl"}
    assert set(line.runs["mixed"].regions) == {"litert", "llvm", "opencl"}
    assert all(0 <= run.outputs.ours.relative <= 1e-4 for run in line.runs.values())
    assert line.runs["alone"].grown_bytes < 4 << 20


def test_a_model_that_keeps_a_state(model_path: ModelPath) -> None:
    line = examine(read_tflite(model_path("variable_tensor")), "opencl", [])
    assert line.legal < line.ops
    assert set(line.refused.values()) == {"it keeps a state between runs"}


def test_a_model_that_litert_cannot_run(model_path: ModelPath) -> None:
    line = examine(read_tflite(model_path("custom_op")), "opencl", ["sm_90"])
    assert (line.runs, line.faults) == ({}, ())
    assert line.litert
    assert (line.legal, line.compiled["sm_90"].legal) == (2, 2)
