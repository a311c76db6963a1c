"""Operators grouped into the functions of regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdse.errors import PlacementError, PlatformError, TargetError, TdseError, UsageError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import form_regions
from tdse.search.placement import make_placement

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

import tvm_ffi  # noqa: E402 - needs tvm
from relax_helpers import (  # noqa: E402
    compile_plainly,
    demand_equal,
    functions_in,
    placed,
    run,
    shown_functions,
    split_model,
    with_body,
)
from tvm import relax  # noqa: E402

import tdse.relax  # noqa: E402
from litert_reference import random_inputs  # noqa: E402
from models import RUNNABLE  # noqa: E402

ModelPath = Callable[[str], Path]


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def mains(module: Any) -> list[str]:
    """The functions that are not of one operator, printed without white space."""
    return [
        function for function in functions_in(module.script()) if "private=True" not in function
    ]


def regions(module: Any) -> list[tuple[str, list[int]]]:
    """Target and operators of each region, in the order in which they run."""
    found = [f.attrs for f in module.functions.values() if f.attrs and "tdse.region" in f.attrs]
    return [
        (str(attributes["tdse.target"]), [int(op) for op in attributes["tdse.ops"]])
        for attributes in sorted(found, key=lambda attributes: int(attributes["tdse.region"]))
    ]


def test_the_ir_is_as_documented(model_path: ModelPath) -> None:
    path = model_path("variable_tensor")
    before, after = shown_functions(tdse.relax.Partition)
    module = tdse.relax.from_tflite(path)
    assert mains(module) == before
    placement = placed(read_tflite(path), {2: "llvm"})
    partitioned = tdse.relax.Partition(placement=placement)(module)
    assert mains(partitioned) == after
    relax.analysis.well_formed(partitioned)
    # The pass gives a new module; what it was given is as before.
    assert mains(module) == before


@pytest.mark.parametrize("name", ["branches", "shared_output", "split"])
def test_a_partitioned_module_runs_plainly(name: str) -> None:
    data = split_model() if name == "split" else RUNNABLE[name]()
    graph = read_tflite(data)
    halves = {op: "llvm" for op in graph.placed_ops[::2]}
    module = tdse.relax.from_tflite(graph)
    partitioned = tdse.relax.Partition(placement=placed(graph, halves))(module)
    relax.analysis.well_formed(partitioned)
    assert {target for target, _ in regions(partitioned)} == {"litert", "llvm"}
    inputs = random_inputs(data, seed=2)
    expected = run(compile_plainly(module), inputs)
    for ours, reference in zip(run(compile_plainly(partitioned), inputs), expected, strict=True):
        assert ours.tobytes() == reference.tobytes()


def test_attributes_and_operators_stay(model_path: ModelPath) -> None:
    path = model_path("tiny_conv_int8")
    module = tdse.relax.from_tflite(path)
    placement = placed(read_tflite(path), {1: "llvm"}).model_copy(update={"threads": 2})
    partitioned = tdse.relax.Partition(placement=placement)(module)
    for name in ("tdse.model", "tdse.model_name", "tdse.model_sha256"):
        assert partitioned.attrs[name] == module.attrs[name]
    written = json.loads(partitioned.attrs["tdse.placement"])
    assert [region["ops"] for region in written["regions"]] == [
        ops for _, ops in regions(partitioned)
    ]
    assert partitioned["region1_llvm"].attrs["tdse.threads"] == 2
    for variable in module.get_global_vars():
        if variable.name_hint != "main":
            same = partitioned[variable.name_hint]
            assert tvm_ffi.structural_equal(module[variable], same, map_free_vars=True)


def test_it_searches_and_repeats_from_a_file(model_path: ModelPath, tmp_path: Path) -> None:
    path = model_path("tiny_float")
    module = tdse.relax.from_tflite(path)
    # What is not measured in time cannot be pinned; a quiet machine needs a fifth of the budget.
    searched = tdse.relax.Partition(budget_s=30, pins=["relu=llvm"], threads=1)(module)
    graph = read_tflite(path)
    relus = {op.index for op in graph.ops if op.kind == "relu"}
    assert len(relus) == 2
    assert relus <= {op for target, ops in regions(searched) if target == "llvm" for op in ops}
    file = tmp_path / "placement.json"
    file.write_text(searched.attrs["tdse.placement"])
    repeated = tdse.relax.Partition(placement=file)(module)
    assert regions(repeated) == regions(searched)
    inputs = random_inputs(path.read_bytes(), seed=4)
    first, second = (run(tdse.relax.build(m), inputs) for m in (searched, repeated))
    assert [y.tobytes() for y in first] == [y.tobytes() for y in second]


def test_in_a_sequential(model_path: ModelPath) -> None:
    path = model_path("branches")
    placement = placed(read_tflite(path), {})
    both = tvm.transform.Sequential(
        [tdse.relax.Partition(placement=placement), relax.transform.RemoveUnusedOutputs()]
    )
    module = both(tdse.relax.from_tflite(path))
    assert [target for target, _ in regions(module)] == ["litert"]
    demand_equal(path.read_bytes(), tdse.relax.build(module))


def test_errors_pass_through_a_sequential(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("tiny_float"))
    with pytest.raises(UsageError, match="pin 99=llvm") as caught:
        tvm.transform.Sequential([tdse.relax.Partition(pins=["99=llvm"])])(module)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_cut_is_one_region(model_path: ModelPath) -> None:
    path = model_path("resource_variable")
    module = tdse.relax.from_tflite(path)
    partitioned = tdse.relax.Partition(budget_s=1, threads=1)(module)
    assert regions(partitioned) == [("litert", [0, 1, 2, 3, 4])]


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"pins": ["99=llvm"]}, UsageError, "99=llvm"),
        ({"pins": ["relu=tpu"]}, UsageError, "relu=tpu"),
        (
            {"pins": ["svdf=llvm"]},
            PlacementError,
            "1:svdf is pinned to llvm",
        ),
        ({"platform": "no-such-board"}, TdseError, "no-such-board"),
        ({"platform": "rpi4"}, PlatformError, "cannot be compiled for on this machine"),
        ({"placement": "nowhere.json"}, TdseError, "nowhere.json"),
        ({"threads": 0}, UsageError, "0 threads"),
        ({"objective": "speed"}, UsageError, "choose latency, throughput, energy, edp, pareto"),
        ({"objective": "pareto"}, UsageError, "a pass gives one module, and no front"),
        ({"objective": "energy"}, PlatformError, "no power figures"),
    ],
)
def test_wrong_options(
    options: dict[str, Any], kind: type[TdseError], text: str, model_path: ModelPath
) -> None:
    module = tdse.relax.from_tflite(model_path("variable_tensor"))
    with pytest.raises(kind) as caught:
        tdse.relax.Partition(**options)(module)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_placement_leaves_nothing_to_pin(model_path: ModelPath) -> None:
    placement = placed(read_tflite(model_path("tiny_float")), {})
    for more in ({"pins": ["0=llvm"]}, {"threads": 2}):
        with pytest.raises(UsageError, match="leaves nothing to pin"):
            tdse.relax.Partition(placement=placement, **more)


def test_placements_that_do_not_fit(model_path: ModelPath, tmp_path: Path) -> None:
    module = tdse.relax.from_tflite(model_path("tiny_float"))
    fitting = placed(read_tflite(model_path("tiny_float")), {})
    with pytest.raises(PlatformError, match="cannot be compiled for on this machine"):
        tdse.relax.Partition("rpi4", placement=fitting)(module)
    other = placed(read_tflite(model_path("branches")), {})
    with pytest.raises(PlacementError, match="of another model"):
        tdse.relax.Partition(placement=other)(module)
    unknown = placed(read_tflite(model_path("tiny_float")), {}, others="npu")
    file = tmp_path / "placement.json"
    file.write_text(unknown.model_dump_json(by_alias=True))
    with pytest.raises(TargetError, match="npu"):
        tdse.relax.Partition(placement=file)(module)
    devices = {"litert": "npu0"}
    regions = form_regions(read_tflite(model_path("tiny_float")), fitting.assignment)
    elsewhere = make_placement(read_tflite(model_path("tiny_float")), regions, 1, None, 0, devices)
    with pytest.raises(PlacementError, match="region 0 is on device 'npu0', which platform"):
        tdse.relax.Partition(placement=elsewhere)(module)
    file.write_text("{")
    with pytest.raises(PlacementError, match=r"placement.json: not a placement that tdse can use"):
        tdse.relax.Partition(placement=file)(module)


def test_modules_that_are_not_tdse_s(model_path: ModelPath) -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 4), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))
    with pytest.raises(TdseError, match="was not made by tdse"):
        tdse.relax.build(builder.get())


def test_a_module_is_partitioned_once(model_path: ModelPath) -> None:
    path = model_path("tiny_float")
    placement = placed(read_tflite(path), {})
    once = tdse.relax.Partition(placement=placement)(tdse.relax.from_tflite(path))
    assert tdse.relax.Partition(placement=placement)(once).same_as(once)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (relax.transform.InlinePrivateFunctions(), "main has more than calls"),
        (
            lambda module: module.with_attr("tdse.model", b"another"),
            "the attribute tdse.model of the IRModule was changed",
        ),
        (lambda module: without(module, "main"), "the IRModule has no function main"),
        (
            lambda module: without(module, "op1_svdf"),
            "main calls op1_svdf, which is not in the IRModule",
        ),
        (
            lambda module: with_body(module, "main", lambda call, x: call("op0_relu", x)),
            "main does not call the function of 1:svdf",
        ),
        (
            lambda module: with_body(
                module, "main", lambda call, x: call("op0_relu", call("op0_relu", x))
            ),
            "main calls op0_relu, whose operator it computes twice",
        ),
    ],
    ids=["inlined", "other model", "no main", "no operator", "shorter", "twice"],
)
def test_modules_that_were_edited(
    edit: Callable[[Any], Any], text: str, model_path: ModelPath
) -> None:
    path = model_path("variable_tensor")
    partition = tdse.relax.Partition(placement=placed(read_tflite(path), {}))
    with pytest.raises(TdseError) as caught:
        partition(edit(tdse.relax.from_tflite(path)))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def without(module: Any, name: str) -> Any:
    del module[name]
    return module
