"""Operators grouped into the functions of regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdse.errors import PlacementError, TdseError
from tdse.graph.reader import read_tflite

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

import tvm_ffi  # noqa: E402 - needs tvm
from relax_helpers import (  # noqa: E402
    compile_plainly,
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


def test_a_model_that_is_not_cut_is_one_region(model_path: ModelPath) -> None:
    path = model_path("resource_variable")
    module = tdse.relax.from_tflite(path)
    partitioned = tdse.relax.Partition(budget_s=1, threads=1)(module)
    assert regions(partitioned) == [("litert", [0, 1, 2, 3, 4])]


def test_wrong_pins_and_files(model_path: ModelPath, tmp_path: Path) -> None:
    module = tdse.relax.from_tflite(model_path("variable_tensor"))
    with pytest.raises(PlacementError, match="1:svdf is pinned to llvm") as caught:
        tdse.relax.Partition(pins=["svdf=llvm"])(module)
    assert "\n" not in str(caught.value)
    file = tmp_path / "placement.json"
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


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (relax.transform.InlinePrivateFunctions(), "it has no function for op 0:relu"),
        (
            lambda module: module.with_attr("tdse.model", b"another"),
            "the attribute tdse.model of the IRModule was changed",
        ),
        (lambda module: without(module, "main"), "the IRModule has no function main"),
        (
            lambda module: without(module, "op1_svdf"),
            "it has no function for op 1:svdf",
        ),
        (
            lambda module: with_body(module, "main", lambda call, x: call("op0_relu", x)),
            "main does not make the calls that it did",
        ),
        (
            lambda module: with_body(
                module, "main", lambda call, x: call("op0_relu", call("op0_relu", x))
            ),
            "main does not make the calls that it did",
        ),
        (
            lambda module: with_parameters(module, 2, "float32"),
            "main has not 1 parameters any more",
        ),
        (
            lambda module: with_parameters(module, 1, "float16"),
            "parameter x0 has type R.Tensor((1, 3), dtype=",
        ),
    ],
    ids=["inlined", "model", "no main", "no operator", "shorter", "twice", "inputs", "types"],
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


def with_parameters(module: Any, count: int, dtype: str) -> Any:
    """The module after an edit by hand: ``main`` has so many parameters of another type."""
    old = module["main"]
    new = [relax.Var(f"x{i}", relax.TensorType((1, 3), dtype)) for i in range(count)]
    renamed = (relax.Var, lambda variable: new[0] if variable.same_as(old.params[0]) else variable)
    body = tvm_ffi.structural_map(old.body, renamed)
    module["main"] = relax.Function(new, body, old.ret_ty, attrs=old.attrs)
    return module
