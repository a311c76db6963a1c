"""OpenVINO as a target: what it reads, and that its regions give LiteRT's results."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import tdse
from models import MODELS
from tdse.assemble import compile_regions
from tdse.bench import bench
from tdse.errors import UsageError
from tdse.graph import Graph, Region, read_tflite
from tdse.graph.regions import form_regions
from tdse.legality import chosen_targets
from tdse.measure.accuracy import difference
from tdse.measure.activations import activations, random_inputs
from tdse.platform import Device, Platform
from tdse.processor import Processor
from tdse.runtime.litert import run_litert
from tdse.targets import get_target
from tdse.verify import verified_regions
from tdse_openvino import target as module
from tdse_openvino.target import OpenvinoTarget

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def graph_of(name: str) -> Graph:
    return read_tflite(MODELS[name](), name)


def assignment(graph: Graph) -> dict[int, str]:
    """What OpenVINO reads there, the rest on LiteRT."""
    target = OpenvinoTarget()
    return {
        op: "openvino" if target.supports(graph, op).ok else "litert" for op in graph.placed_ops
    }


def test_is_found_by_its_entry_point() -> None:
    assert isinstance(get_target("openvino"), OpenvinoTarget)


@needs_openvino
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["tiny_conv_int8", "tiny_conv_float", "branches"])
def test_regions_are_cut_until_their_results_are_litert_s(name: str, threads: int) -> None:
    graph = graph_of(name)
    values = activations(graph, random_inputs(graph, seed=0))
    regions = form_regions(graph, assignment(graph))
    assert any(region.device == "openvino" for region in regions)
    found = verified_regions(graph, regions, threads=threads, values=values)
    assert found.difference.is_allowed
    assert sorted(op for region in found.regions for op in region.ops) == list(graph.placed_ops)
    for i, (region, result) in enumerate(zip(found.regions, found.compiled.results, strict=True)):
        if region.device == "openvino":
            model = found.compiled.alone(i).model()
            for _ in range(2):
                outputs = model.run([values[index] for index in result.inputs])
                assert difference(outputs, [values[index] for index in result.outputs]).is_allowed


@needs_openvino
def test_a_region_runs_on_several_frames_at_once() -> None:
    graph = graph_of("tiny_conv_float")
    regions = [Region(0, "openvino", graph.placed_ops, lanes=(0, 1))]
    model = compile_regions(graph, regions, threads=1).whole().model()
    cases = [random_inputs(graph, seed) for seed in range(6)]
    outputs = [[result] for result in model.stream(tuple(case) for case in cases)]
    for case, result in zip(cases, outputs, strict=True):
        assert difference(result, run_litert(graph.data, case)).is_allowed


@needs_openvino
def test_what_openvino_cannot_read_has_its_reason() -> None:
    graph = graph_of("custom_op")
    answers = [OpenvinoTarget().supports(graph, op) for op in graph.placed_ops]
    assert any(not answer.ok and answer.reason for answer in answers)


@needs_openvino
@pytest.mark.parametrize(
    ("features", "ok"), [((), False), (("avx512_vnni",), True)], ids=["without_vnni", "vnni"]
)
def test_sums_that_saturate_are_not_for_openvino(
    features: tuple[str, ...], ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = Processor("x86_64", frozenset(features))
    monkeypatch.setattr(module, "this_processor", lambda: processor)
    graph = graph_of("tiny_conv_int8")
    answers = {graph.ops[op].kind: OpenvinoTarget().supports(graph, op) for op in graph.placed_ops}
    assert answers["conv2d"].ok == ok and ("saturates" in answers["conv2d"].reason) != ok
    assert answers["hard_swish"].ok


@needs_openvino
@pytest.mark.usefixtures("record_store_of_module")
def test_a_placement_is_timed_against_the_whole_model(tmp_path: Path) -> None:
    model = tmp_path / "tiny.tflite"
    model.write_bytes(MODELS["tiny_conv_float"]())
    tdse.compile(model, out=tmp_path / "out", targets=["litert"], threads=1, budget_s=1)
    report = bench(tmp_path / "out", against=("openvino",), launches=1, seconds=0.1)
    timed = {row.name for row in report.rows if row.result}
    assert {"tdse", "openvino x1"} <= timed, [row.why_not for row in report.rows]


def test_absent_it_is_left_out_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "openvino_library", lambda: None)
    device = Device(name="cpu", targets=("litert", "openvino"), triple="x86_64-linux-gnu")
    platform = Platform(name="host", source="found", devices=(device,))
    assert chosen_targets(platform, None) == ("litert",)
    with pytest.raises(UsageError, match=r"pip install tdse\[openvino\]"):
        chosen_targets(platform, ["openvino"])


def test_threads_are_variants() -> None:
    assert [v.threads for v in OpenvinoTarget().variants(2)] == [1, 2]
