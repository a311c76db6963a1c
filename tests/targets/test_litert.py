"""LiteRT as a target: what it supports, and how its regions run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from target_models import run_on

from litert_reference import random_inputs, run_litert
from tdse.errors import ModelError, TargetError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.targets.litert import LitertTarget, demand_runs

ModelPath = Callable[[str], Path]


@pytest.fixture
def litert() -> LitertTarget:
    return LitertTarget()


def test_is_available(litert: LitertTarget) -> None:
    assert litert.available().ok


@pytest.mark.parametrize(
    ("cores", "threads"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])]
)
def test_variants_are_powers_of_two_and_all_cores(
    litert: LitertTarget, cores: int, threads: list[int]
) -> None:
    assert [variant.threads for variant in litert.variants(cores)] == threads


@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_float", "resource_variable"])
def test_supports_what_litert_runs(litert: LitertTarget, model_path: ModelPath, name: str) -> None:
    graph = read_tflite(model_path(name))
    assert all(litert.supports(graph, op).ok for op in graph.placed_ops)
    demand_runs(graph)


def test_unknown_custom_op_is_named_in_one_line(
    litert: LitertTarget, model_path: ModelPath, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = read_tflite(model_path("custom_op"))
    support = litert.supports(graph, 1)
    assert not support.ok
    assert support.reason == "ExampleFilter: Encountered unresolved custom op: ExampleFilter"
    with pytest.raises(ModelError, match=r"cannot run op 1:example_filter: .*ExampleFilter"):
        demand_runs(graph)
    assert capfd.readouterr().err == ""


def test_shape_that_is_not_known_is_refused(litert: LitertTarget, model_path: ModelPath) -> None:
    graph = read_tflite(model_path("dynamic_output"))
    reasons = [litert.supports(graph, op).reason for op in graph.placed_ops]
    assert any("only known at run time" in reason for reason in reasons)
    with pytest.raises(ModelError, match="only known when it runs: that of tensor"):
        demand_runs(graph)


@pytest.mark.parametrize("name", ["tiny_conv_int8", "two_inputs_two_outputs", "shared_output"])
def test_regions_give_litert_results(
    litert: LitertTarget, model_path: ModelPath, name: str
) -> None:
    path = model_path(name)
    graph, inputs = read_tflite(path), random_inputs(path)
    regions = [Region(i, "litert", (op,)) for i, op in enumerate(graph.placed_ops)]
    for result, expected in zip(
        run_on(litert, graph, inputs, regions), run_litert(path, inputs), strict=True
    ):
        np.testing.assert_array_equal(result, expected)


def test_state_tensor_needs_the_interpreter(litert: LitertTarget, model_path: ModelPath) -> None:
    path = model_path("variable_tensor")
    graph = read_tflite(path)
    (region,) = litert.compile(graph, [Region(0, "litert", graph.placed_ops)], 1).regions
    assert region.kind == "litert_interpreter"


def test_plain_region_uses_the_c_interface(litert: LitertTarget, tiny_float: Path) -> None:
    graph = read_tflite(tiny_float)
    (region,) = litert.compile(graph, [Region(0, "litert", graph.placed_ops)], 1).regions
    assert (region.kind, region.inputs, region.outputs) == ("litert", graph.inputs, graph.outputs)


def test_model_that_cannot_be_cut_is_one_region(
    litert: LitertTarget, model_path: ModelPath
) -> None:
    graph = read_tflite(model_path("resource_variable"))
    (region,) = litert.compile(graph, [Region(0, "litert", graph.placed_ops)], 1).regions
    assert region.blob == graph.data
    with pytest.raises(TargetError, match="cannot be cut"):
        litert.compile(graph, [Region(0, "litert", graph.placed_ops[:1])], 1)
