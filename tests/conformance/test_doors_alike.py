"""What holds of both doors into TVM: the same networks, the same checks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litert_reference import random_inputs, run_litert
from tdse.errors import PlacementError, PlatformError, TargetError, TdseError, UsageError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import form_regions
from tdse.search.placement import Placement, make_placement

ModelPath = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def own_records(record_store_of_module: None) -> None:
    """Nothing is measured that other tests have measured."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libraries lie, with what they are given and what they must compute."""
    return tmp_path_factory.mktemp("exported")


def halves(path: Path, other: str = "llvm", device: str = "cpu") -> Placement:
    """A placement of every other operator on ``other``, the rest on ``litert``."""
    graph = read_tflite(path)
    targets = {op: (other, "litert")[i % 2] for i, op in enumerate(graph.placed_ops)}
    devices = {"litert": device, other: device}
    return make_placement(graph, form_regions(graph, targets), 1, None, 0, devices)


def placement_of(module: Any) -> Placement:
    return Placement.model_validate_json(str(module.attrs["tdse.placement"]))


def input_names(path: Path) -> list[str]:
    graph = read_tflite(path)
    return [graph.tensors[t].name for t in graph.inputs]


def demand_near(ours: list[Any], expected: list[Any]) -> None:
    """A step of integers, 1e-4 of the peak of floats, as a region may differ."""
    for one, other in zip(ours, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        limit = 1e-4 * np.abs(other).max() if other.dtype.kind == "f" else 1
        assert np.abs(one.astype(float) - other.astype(float)).max() <= limit


@pytest.mark.parametrize(
    "name",
    ["tiny_float", "tiny_conv_float", "branches", "two_inputs_two_outputs", "shared_output"],
)
def test_models_run(door: Any, name: str, exported: Path, model_path: ModelPath) -> None:
    path = model_path(name)
    placement = halves(path)
    assert {region.target for region in placement.regions} == {"litert", "llvm"}
    module = door.partition_pass(path, placement=placement)(door.imported(path))
    library, inputs = door.build(module), random_inputs(path, seed=3)
    expected = run_litert(path, inputs)
    demand_near(door.run(library, input_names(path), inputs), expected)
    library.export_library(str(exported / f"{name}.so"))
    given = dict(zip(input_names(path), inputs, strict=True))
    np.savez(exported / f"{name}.given.npz", **given)
    np.savez(exported / f"{name}.expected.npz", *expected)


_LOAD_ALL = """
import pathlib, sys, numpy as np
for path in sorted(pathlib.Path().glob("*.so")):
    expected = np.load(path.with_suffix(".expected.npz"))
    results = run(path, dict(np.load(path.with_suffix(".given.npz"))))
    for one, other in zip(results, [expected[n] for n in expected.files], strict=True):
        limit = 1e-4 * np.abs(other).max() if other.dtype.kind == "f" else 1
        assert np.abs(one.astype(float) - other.astype(float)).max() <= limit
    print(path.stem)
"""


def test_what_was_exported_runs_where_nothing_is_registered(door: Any, exported: Path) -> None:
    names = sorted(path.stem for path in exported.glob("*.so"))
    if not names:
        pytest.skip("no model was exported by the tests before")
    script = door.LOAD + _LOAD_ALL
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


def test_the_search_obeys_pins_and_can_be_repeated(
    door: Any, model_path: ModelPath, tmp_path: Path
) -> None:
    path = model_path("tiny_float")
    # What is not measured in time cannot be pinned; a quiet machine needs a part of the budget.
    search = door.partition_pass(path, pins=["reshape=llvm"], threads=1, budget_s=8)
    searched = search(door.imported(path))
    found = placement_of(searched)
    reshape = read_tflite(path).placed_ops[-1]
    assert {op.index: op.target for op in found.ops}[reshape] == "llvm"
    (tmp_path / "placement.json").write_text(str(searched.attrs["tdse.placement"]))
    repeat = door.partition_pass(path, placement=tmp_path / "placement.json")
    assert door.is_equal(repeat(door.imported(path)), searched)
    inputs = random_inputs(path, seed=4)
    ours = door.run(door.build(searched), input_names(path), inputs)
    demand_near(ours, run_litert(path, inputs))


def test_the_pass_is_one_of_tvms(door: Any, model_path: ModelPath) -> None:
    tvm = pytest.importorskip("tvm")
    path, seen = model_path("tiny_float"), []

    @tvm.instrument.pass_instrument
    class Watch:
        def run_before_pass(self, module: Any, info: Any) -> None:
            seen.append(str(info.name))

    first = door.partition_pass(path, placement=halves(path))
    flow = tvm.transform.Sequential([first, door.other_pass()])
    with tvm.transform.PassContext(opt_level=3, instruments=[Watch()]):
        module = flow(door.imported(path))
    assert "tdse.Partition" in seen
    inputs = random_inputs(path, seed=1)
    ours = door.run(door.build(module), input_names(path), inputs)
    demand_near(ours, run_litert(path, inputs))
    wrong = door.partition_pass(path, placement=halves(path, "npu"))
    with pytest.raises(Exception, match="no target 'npu'"):
        tvm.transform.Sequential([wrong])(door.imported(path))


def test_what_is_not_tdses_stays(door: Any, model_path: ModelPath) -> None:
    path = model_path("two_inputs_two_outputs")
    module = door.with_marks(door.imported(path))
    before = module["main"]
    once = door.partition_pass(path, placement=halves(path))(module)
    assert int(once.attrs["mine"]) == 2
    assert int(once["main"].attrs["mine"]) == 1
    assert door.parameters(once)[:2] == door.parameters(module)[:2]
    assert door.is_equal(once["other"], module["other"])
    assert module["main"].same_as(before)
    # Once is enough: nothing is searched, and the placement that is asked for does not matter.
    assert door.partition_pass(path)(once).same_as(once)
    assert door.partition_pass(path, placement=halves(path, "npu"))(once).same_as(once)


def test_what_cannot_be_placed_stays_with_the_reasons(
    door: Any, model_path: ModelPath, tmp_path: Path
) -> None:
    path, options, reason = door.unplaceable(model_path, tmp_path)
    module = door.imported(path)
    with pytest.warns(UserWarning, match="stays as it is") as warned:
        assert door.partition_pass(path, **options)(module).same_as(module)
    assert reason in str(warned[0].message)


def test_a_module_without_main_is_refused(door: Any, model_path: ModelPath) -> None:
    tvm = pytest.importorskip("tvm")
    path = model_path("tiny_float")
    with pytest.raises(TdseError, match="the IRModule has no function main"):
        door.partition_pass(path, placement=halves(path))(tvm.IRModule())


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"platform": "abacus"}, UsageError, "there is no platform abacus"),
        ({"platform": "foreign"}, PlatformError, "cannot be compiled for on this machine"),
        ({"pins": ["99=llvm"]}, UsageError, "99=llvm"),
        ({"pins": ["relu=tpu"]}, UsageError, "relu=tpu"),
        ({"targets": ["npu"]}, UsageError, "npu"),
        ({"threads": 0}, UsageError, "0 threads"),
        ({"objective": "speed"}, UsageError, "choose latency, throughput, energy, edp, pareto"),
        ({"objective": "pareto"}, UsageError, "a pass gives one module, and no front"),
        ({"objective": "energy"}, PlatformError, "no power figures"),
        ({"placement": "nowhere.json"}, TdseError, "nowhere.json"),
        ({"placement": "half", "pins": ["0=llvm"]}, UsageError, "leaves nothing to pin"),
        ({"placement": "half", "threads": 2}, UsageError, "leaves nothing to pin"),
        ({"placement": "half", "platform": "foreign"}, PlatformError, "cannot be compiled for"),
        ({"placement": "of another"}, PlacementError, "the placement is of another model"),
        ({"placement": "elsewhere"}, PlacementError, "is on device 'npu0', which platform"),
        ({"placement": "npu"}, TargetError, "there is no target 'npu'"),
    ],
)
def test_wrong_requests_are_told(
    door: Any,
    options: dict[str, Any],
    kind: type[TdseError],
    text: str,
    model_path: ModelPath,
) -> None:
    path = model_path("tiny_float")
    placements = {
        "half": lambda: halves(path),
        "of another": lambda: halves(model_path("branches")),
        "elsewhere": lambda: halves(path, device="npu0"),
        "npu": lambda: halves(path, "npu"),
    }
    given = dict(options)
    if given.get("platform") == "foreign":
        given["platform"] = door.FOREIGN
    if given.get("placement") in placements:
        given["placement"] = placements[given["placement"]]()
    with pytest.raises(kind) as caught:
        door.partition_pass(path, **given)(door.imported(path))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
