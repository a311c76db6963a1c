"""Regions on an OpenCL device: results against LiteRT's, transfers, memory, several devices."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm_ffi
from hypothesis import given
from hypothesis import strategies as st
from target_models import pool, random_values, run_on

from litert_reference import random_inputs, run_litert
from tdse.assemble import Compiled, compile_regions
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.slice import slice_model
from tdse.measure.accuracy import difference
from tdse.platform import load_platform
from tdse.platform.opencl import find_opencl, target_number
from tdse.runtime import native
from tdse.targets import get_target

tvm = pytest.importorskip("tvm")
pytestmark = [pytest.mark.tvm, pytest.mark.opencl]

ModelPath = Callable[[str], Path]
REPOSITORY = Path(__file__).parents[2]


def device() -> Any:
    native.load_runtime()
    return tvm.device("opencl", 0)


def test_both_sides_number_the_devices_alike() -> None:
    found = find_opencl().devices
    native.load_runtime()
    for number, there in enumerate(found):
        here = tvm.device("opencl", number)
        assert here.exist
        assert here.device_name == there.name
        assert here.multi_processor_count == there.compute_units
        assert here.total_global_memory == there.memory_bytes
        assert here.driver_version == there.versions[1]
    assert not tvm.device("opencl", len(found)).exist


def test_the_platform_has_the_devices() -> None:
    cpu, first, *_ = load_platform("host").devices
    assert cpu.name == "cpu"
    assert (first.name, first.targets) == ("opencl0", ("opencl",))
    assert first.on_request == find_opencl().devices[0].is_cpu


@pytest.mark.parametrize("name", ["tiny_conv_float", "tiny_float", "two_inputs_two_outputs"])
def test_float_results(name: str, model_path: ModelPath) -> None:
    data = model_path(name).read_bytes()
    inputs = random_inputs(data)
    results = run_on(get_target("opencl"), read_tflite(data), inputs)
    assert difference(results, run_litert(data, inputs)).relative <= 1e-4


def test_int8_results_are_within_a_step(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("tiny_conv_int8"))
    # Operator by operator, so that differences do not add up.
    for op in graph.placed_ops:
        piece = read_tflite(slice_model(graph, [op]).data)
        inputs = random_values(piece)
        gap = difference(
            run_on(get_target("opencl"), piece, inputs), run_litert(piece.data, inputs)
        )
        assert gap.steps <= 1, graph.ops[op].label
        if graph.ops[op].kind == "hard_swish":
            # A table of what LiteRT makes of each byte.
            assert gap.is_exact


def test_a_bias_after_sums_of_one_element() -> None:
    layer = Layer("conv2d", channels=2)
    graph = build_graph(Configuration((Input((1, 5, 5, 1), "float32"),), (layer,)), "conv")
    inputs = random_values(graph)
    results = run_on(get_target("opencl"), graph, inputs)
    assert difference(results, run_litert(graph.data, inputs)).relative <= 1e-6


@pytest.mark.parametrize(
    ("shape", "window", "stride", "padding", "dtype"),
    [
        ((8, 8, 5), (2, 2), 2, "valid", "int8"),
        ((9, 7, 3), (3, 3), 2, "same", "uint8"),
        ((7, 7, 16), (7, 7), 1, "valid", "int8"),
    ],
)
def test_averages_are_exact(
    shape: tuple[int, int, int], window: tuple[int, int], stride: int, padding: str, dtype: str
) -> None:
    graph = pool("AVERAGE_POOL_2D", shape, window, stride, padding, dtype)
    inputs = random_values(graph)
    (result,) = run_on(get_target("opencl"), graph, inputs)
    np.testing.assert_array_equal(result, run_litert(graph.data, inputs)[0])


def mixed(graph: Graph) -> Compiled:
    """The operators by turns on litert, llvm and opencl."""
    targets = ("litert", "llvm", "opencl")
    regions = [Region(i, targets[i % 3], (op,)) for i, op in enumerate(graph.placed_ops)]
    return compile_regions(graph, regions, threads=1)


def test_mixed_with_the_other_targets(model_path: ModelPath, tmp_path: Path) -> None:
    data = model_path("tiny_conv_float").read_bytes()
    graph, inputs = read_tflite(data), random_inputs(data)
    whole = mixed(graph).whole()
    results = whole.model().run(inputs)
    assert difference(results, run_litert(data, inputs)).relative <= 1e-4
    # As a race does it: each library in a file of its own.
    plan, libraries = whole.save(tmp_path, {})
    module = native.create_executor(plan.read_bytes())
    for library in libraries:
        module.import_module(native.load_library(library))
    np.testing.assert_array_equal(native_run(module, results, inputs)[0], results[0])


def native_run(module: Any, like: list[Any], inputs: list[Any]) -> list[Any]:
    outputs = [np.empty_like(array) for array in like]
    addresses = [array.ctypes.data for array in (*inputs, *outputs)]
    native.call(module["run"], *addresses)
    return outputs


def test_nothing_between_kernels_is_in_the_memory_of_the_host(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("tiny_conv_float"))
    sizes = {}
    for target in ("llvm", "opencl"):
        regions = [Region(0, target, graph.placed_ops)]
        model = compile_regions(graph, regions, threads=1).whole().model()
        sizes[target] = model.arena_bytes
    assert sizes["llvm"] > 0
    assert sizes["opencl"] == 0


def test_a_thousand_runs_leave_nothing_behind(model_path: ModelPath) -> None:
    data = model_path("tiny_float").read_bytes()
    graph, inputs = read_tflite(data), random_inputs(data)
    before = device().available_global_memory
    compiled = compile_regions(graph, [Region(0, "opencl", graph.placed_ops)], threads=1)
    model = compiled.whole().model()
    (first,) = model.run(inputs)
    model.time_runs(inputs, 100)
    taken, resident = device().available_global_memory, resident_bytes()
    assert taken < before
    model.time_runs(inputs, 900)
    for _ in range(100):
        (result,) = model.run(inputs)
        np.testing.assert_array_equal(result, first)
    assert device().available_global_memory == taken
    assert resident_bytes() - resident < 4 << 20
    del model
    gc.collect()
    # What is left are workspaces of kernels, which the next region uses.
    assert device().available_global_memory - taken > 0
    again = compiled.whole().model()
    again.run(inputs)
    assert device().available_global_memory == taken


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_several_threads_use_one_device(model_path: ModelPath) -> None:
    data = model_path("two_inputs_two_outputs").read_bytes()
    graph = read_tflite(data)
    compiled = compile_regions(graph, [Region(0, "opencl", graph.placed_ops)], threads=1)
    wrong: list[str] = []

    def work(seed: int) -> None:
        # The kernels of all threads are the same objects.
        model, inputs = compiled.whole().model(), random_inputs(data, seed=seed)
        expected = run_litert(data, inputs)
        for _ in range(100):
            gap = difference(model.run(inputs), expected)
            if gap.relative > 1e-6:
                wrong.append(str(gap))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_several_devices(model_path: ModelPath) -> None:
    """PoCL shows the processor as two devices, if it is told to when it starts."""
    if "PoCL" not in find_opencl().devices[0].versions[0]:
        pytest.skip("needs PoCL")
    code = """
import json, sys
import numpy as np
import tvm
from tdse.assemble import compile_regions
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.measure.activations import random_inputs
from tdse.platform import load_platform
from tdse.runtime.litert import run_litert
from tdse.targets import get_target

graph = read_tflite(open(sys.argv[1], "rb").read(), name="model")
inputs = random_inputs(graph, 0)
targets = ("opencl", "opencl:1", "litert")
regions = [Region(i, targets[i % 3], (op,)) for i, op in enumerate(graph.placed_ops)]
(result,) = compile_regions(graph, regions, threads=1).whole().model().run(inputs)
gap = np.abs(result - run_litert(graph.data, inputs)[0]).max()
# From one device to the other, through the host.
there = tvm.runtime.empty((4,), "float32", tvm.device("opencl", 1))
tvm.runtime.tensor(np.arange(4, dtype="float32"), tvm.device("opencl", 0)).copyto(there)
print(json.dumps({
    "devices": [device.name for device in load_platform("host").devices],
    "missing": get_target("opencl:2").available().reason,
    "gap": float(gap),
    "carried": there.numpy().tolist(),
}))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(model_path("tiny_float"))],
        env={**os.environ, "POCL_DEVICES": "basic basic"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["devices"] == ["cpu", "opencl0", "opencl1"]
    assert told["missing"] == "OpenCL has 2 devices, numbered from 0"
    assert told["gap"] <= 1e-6
    assert told["carried"] == [0, 1, 2, 3]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


CODE = "// Function: f\n__kernel void f(__global int* restrict x) { x[get_global_id(0)] = 3; }\n"
# As TVM stores it: the format; for each kernel its name twice, the types of its arguments (code,
# bits, lanes), the tags of its launch, other tags; then the code.
STORED = b"".join(
    (
        text("cl"),
        struct.pack("<Q", 1),
        text("f") * 2,
        struct.pack("<QBBH", 1, 3, 64, 1),
        struct.pack("<Q", 1) + text("threadIdx.x"),
        struct.pack("<Q", 0),
        text(CODE),
    )
)


def load_kernels(stored: bytes) -> Any:
    native.load_runtime()
    return tvm_ffi.get_global_func("ffi.Module.load_from_bytes.opencl")(stored)


def test_a_stored_module() -> None:
    module = load_kernels(STORED)
    assert (module.kind, module.inspect_source()) == ("opencl", CODE)
    with pytest.raises(RuntimeError, match="the kernel f takes 2 arguments, not 1"):
        module["f"](1)
    with pytest.raises(RuntimeError, match="another index than blockIdx or threadIdx"):
        load_kernels(STORED.replace(text("threadIdx.x"), text("vthread")))
    with pytest.raises(RuntimeError, match="a tensor has no memory on an OpenCL device"):
        module["f"](ctypes.c_void_p(0), 1)


@given(st.data())
def test_damaged_modules_are_refused_or_harmless(data: st.DataObject) -> None:
    with pytest.raises(RuntimeError, match="damaged"):
        load_kernels(STORED[: data.draw(st.integers(0, len(STORED) - 1), "length")])
    broken = bytearray(STORED)
    broken[data.draw(st.integers(0, len(STORED) - 1), "place")] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RuntimeError):
        load_kernels(bytes(broken))


def test_names_of_targets() -> None:
    assert [target_number(t) for t in ("opencl", "opencl:1", "opencl:x", "llvm", "opencl2")] == [
        0,
        1,
        None,
        None,
        None,
    ]
