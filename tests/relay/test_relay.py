"""Relay modules: what ``tests/conformance`` does not ask of both doors."""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdse.doors import RELAY

if RELAY.why_not():
    pytest.skip(f"no TVM with Relay: {RELAY.why_not()}", allow_module_level=True)

import tflite
import tvm
from tvm import relax, relay
from tvm.contrib import graph_executor

import tdse.relay
from litert_reference import random_inputs, run_litert
from modelkit import NetworkBuilder
from tdse.assemble import compile_regions
from tdse.cli import tdsec
from tdse.cost.model import MINIMUM_RECORDS
from tdse.cost.region import MINIMUM_CHAINS
from tdse.errors import PlacementError, TargetError, TdseError, UsageError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, form_regions
from tdse.graph.workload import workload
from tdse.measure.activations import activations
from tdse.measure.conditions import current_conditions
from tdse.measure.records import Record, RecordStore
from tdse.relay.placement import one_after_the_other
from tdse.runtime.native import REGION_LIBRARY, litert_library
from tdse.search.placement import PlacedRegion, Placement, make_placement
from tdse.targets import get_target, opencl_relay
from tdse.verify import check_against_litert

pytestmark = pytest.mark.relay

ModelPath = Callable[[str], Path]
Array = np.ndarray[Any, Any]
BOARD = "rpi4-coral-usb3"


@pytest.fixture(scope="module", autouse=True)
def own_records(record_store_of_module: None) -> None:
    """Nothing is measured that other tests have measured."""


def imported(path: Path) -> tuple[Any, Any]:
    """What a user's script begins with."""
    return relay.frontend.from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))


def placed(path: Path, targets: Mapping[int, str], others: str = "litert") -> Placement:
    """A placement of operators on ``targets``, by index, and of all others on ``others``."""
    graph = read_tflite(path)
    assignment = {op: targets.get(op, others) for op in graph.placed_ops}
    return make_placement(graph, form_regions(graph, assignment), 1, None, 0)


def half(path: Path) -> Placement:
    """A placement of every other operator on ``llvm``."""
    return placed(path, dict.fromkeys(read_tflite(path).placed_ops[::2], "llvm"))


def built(module: Any) -> Any:
    """What a user's script ends with."""
    with tvm.transform.PassContext(opt_level=3):
        return relay.build(module, target=tdse.relay.host_target())


def run(library: Any, names: list[str], inputs: list[Array]) -> list[Array]:
    executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
    for name, value in zip(names, inputs, strict=True):
        executor.set_input(name, value)
    executor.run()
    return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]


def input_names(path: Path) -> list[str]:
    graph = read_tflite(path)
    return [graph.tensors[t].name for t in graph.inputs]


def compilers(module: Any) -> dict[str, list[int]]:
    """The operators of regions, by the name of their function's code generator."""
    found: dict[str, list[int]] = {}
    for function in module.functions.values():
        if function.attrs is not None and "Compiler" in function.attrs:
            ops = found.setdefault(str(function.attrs["Compiler"]), [])
            ops += [int(op) for op in function.attrs["tdse.ops"]]
    return found


def demand_near(ours: list[Array], expected: list[Array]) -> None:
    """One step of integers, 1e-4 of the peak of floats, as a region may differ."""
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        limit = 1e-4 * np.abs(other).max() if other.dtype.kind == "f" else 1
        assert np.abs(one.astype(float) - other.astype(float)).max() <= limit


def test_a_board_with_an_edgetpu(model_path: ModelPath) -> None:
    path = model_path("branches")
    pins = ("conv2d=tpu", "depthwise_conv2d=tpu", "hard_swish=cpu", "add=llvm")
    module = tdse.relay.partition(*imported(path), model=path, platform=BOARD, pins=pins)
    graph = read_tflite(path)
    found = compilers(module)
    assert {graph.ops[op].kind for op in found["litert"]} == {"hard_swish"}
    assert {graph.ops[op].kind for op in found["edgetpu"]} == {"conv2d", "depthwise_conv2d"}
    inputs = random_inputs(path, seed=3)
    demand_near(run(built(module), input_names(path), inputs), run_litert(path, inputs))


def test_what_follows_each_other_on_a_boards_cpu_is_one_region(model_path: ModelPath) -> None:
    # The board's cores would run branches side by side; the graph executor does not.
    graph = read_tflite(model_path("branches"))
    *others, last = graph.placed_ops

    def runs(target: str, left: set[int]) -> list[tuple[str, str, tuple[int, ...]]]:
        regions = [
            PlacedRegion(index=i, device=target, target=target, ops=(op,), predicted_us=1.0)
            for i, op in enumerate(graph.placed_ops)
        ]
        return one_after_the_other(graph, regions, left)

    assert runs("litert", set()) == [("litert", "litert", graph.placed_ops)]
    assert [run[1:] for run in runs("litert", {last})] == [
        ("litert", tuple(others)),
        ("llvm", (last,)),
    ]
    assert len(runs("edgetpu", set())) == len(graph.placed_ops)


def test_regions_are_compiled_for_opencl(
    model_path: ModelPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise TVM fetches schedules that others have tuned.
    monkeypatch.setenv("TOPHUB_LOCATION", "NONE")
    path = model_path("tiny_float")
    graph = read_tflite(path)
    targets = {"conv2d": "opencl", "relu": "litert", "concatenation": "opencl"}
    ops = {op.index: targets[op.kind] for op in graph.ops if op.kind in targets}
    placement = placed(path, ops, others="llvm")
    module = tdse.relay.partition(*imported(path), model=path, placement=placement)
    with tvm.transform.PassContext(opt_level=3):
        library = relay.build(module, target=tdse.relay.build_target(module))
    kernels = sources(library.get_lib(), "opencl")
    assert "__kernel" in kernels
    assert "conv2d" in kernels and "concatenate" in kernels
    steps = [node["name"] for node in json.loads(library.get_graph_json())["nodes"]]
    # To the device for two convolutions, back for LiteRT, and so again.
    assert sum(step.startswith("__copy") for step in steps) >= 4
    assert sum("litert" in step for step in steps) == 2
    library.export_library(str(tmp_path / "model.so"))
    refused = placed(path, {graph.placed_ops[-1]: "opencl"})
    with pytest.raises(TargetError, match=r"region \d for OpenCL: schedule not reg"):
        tdse.relay.partition(*imported(path), model=path, placement=refused)
    assert "cannot run it" in get_target("opencl").available().reason


def test_opencl_needs_its_code_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm, "get_global_func", lambda name, allow_missing: None)
    with pytest.raises(TargetError, match="built without OpenCL's code generator"):
        opencl_relay.opencl_target()


def sources(module: Any, kind: str) -> str:
    """The code of all modules of a kind within another."""
    own = str(module.get_source()) if module.type_key == kind else ""
    return own + "".join(sources(inner, kind) for inner in module.imported_modules)


def python(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """What a new process says to a script."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=directory, capture_output=True, text=True, check=False
    )


def test_operators_are_as_near_to_litert_as_regions_may_be(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("tiny_conv_int8"))
    values = activations(graph, random_inputs(graph.data, seed=2))
    regions = [Region(i, "llvm", (op,)) for i, op in enumerate(graph.placed_ops)]
    compiled = compile_regions(graph, regions, threads=1)
    gap = check_against_litert(compiled, values)
    assert gap.is_allowed, gap


def test_weights_may_be_constants_already(model_path: ModelPath) -> None:
    path = model_path("tiny_float")
    module, params = imported(path)
    module["main"] = relay.build_module.bind_params_by_name(module["main"], params)
    assert compilers(tdse.relay.partition(module, model=path, placement=half(path)))


def test_a_module_of_another_file_is_refused(model_path: ModelPath) -> None:
    path = model_path("tiny_float")
    module, params = imported(path)
    wrong = {name: tvm.nd.array(value.numpy() + 1) for name, value in params.items()}
    for given, weights, file in (
        (imported(model_path("branches"))[0], params, path),
        (module, params, model_path("tiny_conv_float")),
        (module, wrong, path),
        (module, None, path),
    ):
        with pytest.raises(UsageError, match="not what TVM imports from the file") as caught:
            tdse.relay.partition(given, weights, model=file)
        assert "the params that came with it" in caught.value.hint
    with pytest.raises(UsageError, match=r"nowhere\.tflite: there is no such file"):
        tdse.relay.partition(module, params, model="nowhere.tflite")
    x = relax.Var("x", relax.TensorStructInfo((1,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(x)
    with pytest.raises(UsageError, match=r"not of Relay: its function main is a tvm\.relax"):
        tdse.relay.partition(builder.get(), model=path)


def test_wrong_requests_are_told(model_path: ModelPath, tmp_path: Path) -> None:
    path = model_path("branches")

    def refused(kind: type[TdseError], text: str, **options: Any) -> None:
        module, params = imported(path)
        with pytest.raises(kind, match=text) as caught:
            tdse.relay.Partition(path, params, **options)(module)
        assert "\n" not in str(caught.value)

    refused(UsageError, "jetson-orin-nano: gpu is no Edge TPU", platform="jetson-orin-nano")
    board = tmp_path / "board.toml"
    board.write_text(
        'name = "odd"\n[[devices]]\nname = "array"\n[devices.dataflow.architecture]\n'
        "pes = 64\nrf_bytes = 64\nspm_kib = 32\nelement_bytes = 1\nclock_mhz = 200\n"
        "dma_clock_mhz = 800\ndma_init_cycles = 100\ndma_cycles_per_byte = 0.5\n"
        "energy_pj = { mac = 0.05, rf = 0.1, noc = 1, spm = 6, dram = 100 }\n"
        '[[devices]]\nname = "tpu"\n[devices.edgetpu]\nlink = "usb3"\n'
    )
    refused(UsageError, "odd: array, its first device, is no CPU", platform=str(board))
    refused(UsageError, "cannot be placed on opencl by a search", targets=["opencl"])
    refused(UsageError, "one item at a time", objective="throughput")
    refused(UsageError, "one way to run an operator", platform=BOARD, threads=2)
    elsewhere = make_placement(
        read_tflite(path), half(path).graph_regions, 1, None, 0, {"litert": "npu0"}
    )
    refused(PlacementError, "has no device 'npu0'", placement=elsewhere, platform=BOARD)
    refused(PlacementError, "no predicted_us", placement=half(path), platform=BOARD)


def small() -> bytes:
    """A dense layer with RELU, and a softmax."""
    network = NetworkBuilder(seed=1)
    x = network.input("x", np.ones((8, 4), np.float32))
    dense = network.fully_connected(x, 3, activation="relu")
    return network.float32({"y": network.softmax(dense)}, "small")


def shown(text: str) -> list[str]:
    """Functions in Relay's text, without white space, types of expressions and sources."""
    text = re.sub(r"/\*.*?\*/", "", text)
    text = re.sub(r',hash="\w+"', "", re.sub(r"\s+", "", text))
    return sorted(part for part in re.split(r"(?=def@|fn\()", text) if part)


def test_the_ir_is_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(small())
    module, params = imported(path)
    documented = re.findall(r"::\n\n((?: {4}.*\n|\n)+)", inspect.getdoc(tdse.relay.Partition) or "")
    before, after = map(shown, documented[:2])
    assert shown(str(module["main"])) == before
    placement = placed(path, {read_tflite(path).placed_ops[-1]: "llvm"})
    made = tdse.relay.partition(module, params, model=path, placement=placement)
    assert shown(str(made)) == after


def test_xgboost_is_loaded_where_tvm_was_not(
    tmp_path: Path, model_path: ModelPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind tvm.relay, it crashes at the first model that it trains."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = model_path("tiny_float")
    graph = read_tflite(path)
    works = [workload(graph, graph.ops[op]) for op in graph.placed_ops]
    # Single operators enough to learn from, and chains, so that what was learnt is asked for.
    learnt = [(works[i % len(works)],) for i in range(MINIMUM_RECORDS)]
    learnt += [(works[0], works[1])] * MINIMUM_CHAINS
    with contextlib.closing(RecordStore(current_conditions())) as store:
        store.add(
            [
                Record(f"{i}", "litert", 1, work, 10.0 * len(work) + i, 0.1, 10)
                for i, work in enumerate(learnt)
            ]
        )
    search = f"""
import tflite
from tvm import relay
import tdse
with open({str(path)!r}, "rb") as file:
    module, params = relay.frontend.from_tflite(tflite.Model.GetRootAsModel(file.read(), 0))
options = dict(targets=["litert"], threads=1, budget_s=0.5)
tdse.relay.Partition({str(path)!r}, params, **options)(module)
"""
    predict = f"from tdse.cli.main import main; main(['predict', {str(path)!r}])"
    for script in (search, predict):
        done = python(script, tmp_path)
        assert done.returncode == 0, done.stderr
        (models,) = (tmp_path / "tdse").glob("models-*.json")
        kept = json.loads(models.read_text())["variants"]["litert x1"]["models"]
        assert kept["operators"]["records"] >= MINIMUM_RECORDS
        models.unlink()


def test_a_library_that_is_not_there_is_told(tmp_path: Path, model_path: ModelPath) -> None:
    path = model_path("shared_output")
    script = f"""
import pathlib, tflite, tvm
from tvm import relay
import tdse.relay.codegen as codegen
from tdse.relay.compile import compile
codegen.REGION_LIBRARY = pathlib.Path("/nowhere/libtdse_region.so")
from tdse.runtime.native import REGION_LIBRARY, litert_library
from tdse.search.placement import load_placement
compile({str(path)!r}, out="out", placement="placement.json")
from tvm.contrib import graph_executor
library = tvm.runtime.load_module("out/model.so")
graph_executor.GraphModule(library["default"](tvm.cpu())).run()
"""
    placed(path, {}).save(tmp_path / "placement.json")
    done = python(script, tmp_path)
    assert done.returncode == 1
    assert "libtdse_region.so: cannot open shared object file" in done.stderr


def test_memory_that_litert_cannot_use_as_it_is_is_copied(model_path: ModelPath) -> None:
    path = model_path("tiny_float")
    module = tdse.relay.partition(*imported(path), model=path, placement=placed(path, {}))
    (region,) = (f for f in module.functions.values() if f.attrs and "tdse.plan" in f.attrs)
    plan = aligned(region.attrs["tdse.plan"].numpy(), 0)
    run_plan = ctypes.CDLL(str(REGION_LIBRARY)).tdse_run_plan
    executor = ctypes.c_void_p()
    for seed, offset in enumerate((0, 0, 4, 0, 60)):
        inputs = random_inputs(path, seed=seed)
        (expected,) = run_litert(path, inputs)
        tensors = [aligned(value, offset) for value in (*inputs, np.zeros_like(expected))]
        addresses = (ctypes.c_void_p * len(tensors))(*(t.ctypes.data for t in tensors))
        status = run_plan(
            ctypes.byref(executor),
            ctypes.c_void_p(plan.ctypes.data),
            ctypes.c_uint64(plan.nbytes),
            str(litert_library()).encode(),
            addresses,
        )
        assert status == 0
        np.testing.assert_array_equal(tensors[-1], expected)


def aligned(array: Array, offset: int) -> Array:
    """A copy so many bytes behind a multiple of 64, with room behind it."""
    memory = np.zeros(array.nbytes + 256, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_tdsec_writes_a_library(
    tmp_path: Path, model_path: ModelPath, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = model_path("branches"), tmp_path / "out"
    options = ["--platform", BOARD, "--emulate", "correctness", "--pin", "add=llvm"]
    assert tdsec.main([str(path), "-o", str(out), "--ir", "relay", *options]) == 0
    said = capsys.readouterr().out
    assert f"emulated: {BOARD}" in said
    assert "on llvm: 7:add" in said
    inputs = random_inputs(path, seed=1)
    library = tvm.runtime.load_module(str(out / "model.so"))
    demand_near(run(library, input_names(path), inputs), run_litert(path, inputs))
    with pytest.raises(TdseError, match="for TVM's graph executor"):
        tdse.load(out)
    # Without --ir, the installed TVM decides.
    assert tdsec.main([str(path), "-o", str(out), *options]) == 0
    assert tdsec.main([str(path), "-o", str(out), "--ir", "relax"]) == 1
    assert "tdse.relax needs TVM 0.27" in capsys.readouterr().err
