"""Kernels for NVIDIA's GPUs: compiled for an architecture without one, run where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from target_models import run_on

from litert_reference import random_inputs, run_litert
from tdse.errors import TargetError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.link import write_library
from tdse.measure.accuracy import difference
from tdse.runtime import native
from tdse.targets import get_target

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm
ModelPath = Callable[[str], Path]


@pytest.mark.parametrize("arch", ["sm_87", "sm_90"])
@pytest.mark.parametrize("name", ["tiny_conv_float", "tiny_conv_int8"])
def test_a_model_compiles_without_a_gpu(
    arch: str, name: str, model_path: ModelPath, tmp_path: Path
) -> None:
    graph, target = read_tflite(model_path(name)), get_target(f"cuda:{arch}")
    assert all(target.supports(graph, op).ok for op in graph.placed_ops)
    compiled = target.compile(graph, [Region(0, target.name, graph.placed_ops)], 1)
    (region,), (library,) = compiled.regions, compiled.libraries
    assert region.kind == "cuda"
    assert target.tvm_target.attrs["arch"] == arch
    (kernels,) = library.imports
    assert kernels.kind == "cuda"
    for symbol in (step.symbol for step in region.steps):
        assert f"{symbol}_kernel" in kernels.inspect_source()
    write_library(library, tmp_path / "kernels.so")
    assert (tmp_path / "kernels.so").stat().st_size > 0


def test_equal_kernels_of_two_targets_have_different_symbols(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("tiny_float"))
    symbols: set[str] = set()
    for name in ("opencl", "opencl:1", "cuda:sm_87", "llvm"):
        (region,) = get_target(name).compile(graph, [Region(0, name, graph.placed_ops)], 1).regions
        added = {step.symbol for step in region.steps}
        # They may be linked into one library.
        assert not added & symbols
        symbols |= added


def test_names() -> None:
    with pytest.raises(TargetError, match=r"there is no target 'cuda:87'; name the architecture"):
        get_target("cuda:87")
    with pytest.raises(TargetError, match=r"there is no target 'opencl:x'; opencl is the first"):
        get_target("opencl:x")


def test_no_architecture_and_no_gpu(model_path: ModelPath) -> None:
    if tvm.cuda(0).exist:
        pytest.skip("there is a GPU")
    target = get_target("cuda")
    assert target.available().reason.startswith("there is no NVIDIA GPU")
    graph = read_tflite(model_path("tiny_float"))
    with pytest.raises(TargetError, match=r"no GPU whose architecture.*name one, for example"):
        target.compile(graph, [Region(0, "cuda", graph.placed_ops)], 1)


@pytest.mark.cuda
def test_results(model_path: ModelPath) -> None:
    native.load_runtime()
    if not tvm.cuda(0).exist:
        pytest.skip("there is no NVIDIA GPU")
    data = model_path("tiny_conv_float").read_bytes()
    inputs = random_inputs(data)
    results = run_on(get_target("cuda"), read_tflite(data), inputs)
    assert difference(results, run_litert(data, inputs)).relative <= 1e-4
