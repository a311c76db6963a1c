"""The whole way with an OpenCL device: measured, searched, written, loaded, run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tdse
from litert_reference import random_inputs, run_litert
from tdse.errors import ArtefactError
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.legality import chosen_targets, device_names
from tdse.measure.accuracy import difference
from tdse.measure.conditions import current_conditions
from tdse.measure.launch import launch_graph
from tdse.measure.records import RecordStore
from tdse.measure.transfers import SIZES, device_transfers, find_transfers
from tdse.platform import Device, Platform, load_platform
from tdse.platform.opencl import Opencl, find_opencl
from tdse.search.placement import load_placement

pytest.importorskip("tvm")
pytestmark = [
    pytest.mark.tvm,
    pytest.mark.opencl,
    pytest.mark.usefixtures("record_store_of_module"),
]
ModelPath = Callable[[str], Path]


@pytest.fixture(scope="module")
def alone(model_path: ModelPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_float`` on opencl alone."""
    out = tmp_path_factory.mktemp("alone") / "out"
    tdse.compile(model_path("tiny_float"), out=out, targets=["opencl"], budget_s=10)
    return out


def test_opencl_alone(alone: Path, model_path: ModelPath) -> None:
    data = model_path("tiny_float").read_bytes()
    inputs = random_inputs(data, seed=3)
    model = tdse.load(alone)
    assert {region["kind"] for region in model.regions} == {"opencl"}
    assert difference(model.run(inputs), run_litert(data, inputs)).relative <= 1e-4
    placement = load_placement(alone / "placement.json")
    assert {(op.device, op.target) for op in placement.ops} == {("opencl0", "opencl")}
    metadata = json.loads((alone / "metadata.json").read_text())
    assert set(metadata["region_kinds"]) == {"opencl"}
    # The code that launches the kernels is this processor's.
    assert metadata["cpu"]["features"] == list(load_platform("host").devices[0].features)


def test_mixed_with_pins(model_path: ModelPath, tmp_path: Path) -> None:
    path = model_path("tiny_conv_int8")
    tdse.compile(
        path,
        out=tmp_path / "out",
        targets=["litert", "llvm", "opencl"],
        pins=["conv2d=opencl", "hard_swish=llvm"],
        threads=1,
        budget_s=6,
    )
    placement = load_placement(tmp_path / "out" / "placement.json")
    target = {op.label.partition(":")[2]: op.target for op in placement.ops}
    assert (target["conv2d"], target["hard_swish"]) == ("opencl", "llvm")
    inputs = random_inputs(path.read_bytes(), seed=3)
    expected = run_litert(path.read_bytes(), inputs)
    assert difference(tdse.load(tmp_path / "out").run(inputs), expected).steps <= 2


def test_the_artefact_is_an_ordinary_tvm_module(
    alone: Path, model_path: ModelPath, tmp_path: Path
) -> None:
    inputs = random_inputs(model_path("tiny_float").read_bytes(), seed=1)
    np.save(tmp_path / "x.npy", inputs[0])
    code = (
        "import sys, numpy as np, tvm\n"
        "from tvm import relax\n"
        "import tdse.runtime.native as native; native.load_runtime()\n"
        "vm = relax.VirtualMachine(tvm.runtime.load_module(sys.argv[1]), tvm.cpu())\n"
        "y = vm['main'](tvm.runtime.tensor(np.load(sys.argv[2] + '/x.npy')))\n"
        "np.save(sys.argv[2] + '/y.npy', y.numpy())\n"
    )
    command = [sys.executable, "-c", code, str(alone / "model.so"), str(tmp_path)]
    subprocess.run(command, check=True)
    result = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(result, tdse.load(alone).run(inputs)[0])


@pytest.mark.parametrize("isolate", [False, True])
def test_an_isolated_model_runs(alone: Path, model_path: ModelPath, isolate: bool) -> None:
    data = model_path("tiny_float").read_bytes()
    inputs = random_inputs(data, seed=5)
    results = tdse.load(alone, isolate=isolate).run(inputs)
    assert difference(results, run_litert(data, inputs)).relative <= 1e-4


def test_loading_where_there_is_no_opencl(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Opencl((), "OpenCL is not installed: libOpenCL.so.1 cannot be opened (no such file)")
    monkeypatch.setattr("tdse.platform.opencl.find_opencl", lambda: missing)
    with pytest.raises(ArtefactError) as caught:
        tdse.load(alone)
    assert str(caught.value) == (
        f"{alone / 'model.so'}: the runtime module uses OpenCL device 0, which is not there: "
        "OpenCL is not installed: libOpenCL.so.1 cannot be opened (no such file); install the "
        "driver of the device, or compile the model again for what is there"
    )


def test_a_device_that_is_the_processor_is_used_on_request_only() -> None:
    cpu = Device(name="cpu", targets=("litert", "llvm"))
    own = Device(name="opencl0", targets=("opencl",), on_request=True)
    gpu = Device(name="opencl0", targets=("opencl",))
    platform = Platform(name="host", source="found", devices=(cpu, own))
    assert chosen_targets(platform, None) == ("litert", "llvm")
    assert chosen_targets(platform, ["litert", "opencl"]) == ("litert", "opencl")
    with_gpu = platform.model_copy(update={"devices": (cpu, gpu)})
    assert chosen_targets(with_gpu, None) == ("litert", "llvm", "opencl")
    assert device_names(with_gpu) == {"litert": "cpu", "llvm": "cpu", "opencl": "opencl0"}


def test_records_are_those_of_one_device(
    alone: Path, model_path: ModelPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = read_tflite(model_path("tiny_float"))
    keys = [signature(launch_graph(), 0), *(signature(graph, op) for op in graph.placed_ops)]
    here = RecordStore(current_conditions())
    found = here.find(keys)
    on_device = {key for key in found if key[1] == "opencl"}
    assert on_device
    assert here.count("opencl", 1) >= len(on_device)
    assert find_transfers("opencl", here) is not None
    # The machine is one, whatever devices it has.
    (machine,) = here.machines()
    assert machine.records >= len(found)
    # Another driver, or another device that gets the same number.
    (device, *others) = find_opencl().devices
    other = Opencl((replace(device, versions=("OpenCL 3.0", "another")), *others))
    monkeypatch.setattr("tdse.platform.opencl.find_opencl", lambda: other)
    there = RecordStore(current_conditions())
    assert set(there.find(keys)) == set(found) - on_device
    assert there.count("opencl", 1) == 0
    assert find_transfers("opencl", there) is None
    assert there.find_support(keys[1], "opencl") is None


def test_transfers_are_measured_once(tmp_path: Path) -> None:
    store = RecordStore(current_conditions(), tmp_path / "records.sqlite")
    times = device_transfers(["litert", "opencl"], store)
    assert list(times) == ["opencl"]
    assert len(times["opencl"].to_device_us) == len(times["opencl"].from_device_us) == len(SIZES)
    assert all(0 < t < 1e6 for t in times["opencl"].to_device_us)
    assert times["opencl"].from_device_us[-1] > times["opencl"].from_device_us[0]
    assert device_transfers(["litert", "opencl"], store) == times
