"""What a user is told where OpenCL is missing, its memory runs out, or the device is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tdse.errors import UsageError
from tdse.legality import chosen_targets
from tdse.link import find_linker
from tdse.platform import Platform, discover_host
from tdse.platform.opencl import Opencl, find_opencl
from tdse.runtime import native

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

ModelPath = Callable[[str], Path]
HERE = Path(__file__).parent


def run(code: str, *arguments: object) -> dict[str, str]:
    """What a process prints as JSON; OpenCL is opened once in a process, and may stay broken."""
    paths = [str(HERE.parent), str(HERE.parents[1] / "examples")]
    setup = f"import json, sys\nsys.path[:0] = {paths}\n"
    result = subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    printed: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return printed


COMPILE = """
    import tvm, tvm_ffi
    from tdse.assemble import compile_regions
    from tdse.errors import TargetError
    from tdse.graph.reader import read_tflite
    from tdse.graph.regions import Region
    from tdse.measure.activations import random_inputs
    from tdse.runtime import native
    from tdse.targets import get_target

    get_target("opencl")
    tvm_ffi.get_global_func("tdse.set_opencl_library")(sys.argv[1])
    graph = read_tflite(open(sys.argv[2], "rb").read(), name="model")
    inputs = random_inputs(graph, 0)

    def model():
        regions = [Region(0, "opencl", graph.placed_ops)]
        return compile_regions(graph, regions, threads=1).whole().model()

    def failure(call):
        try:
            call()
        except (TargetError, RuntimeError) as error:
            return str(error)
        return ""
"""


def test_a_machine_without_opencl(model_path: ModelPath) -> None:
    told = run(
        COMPILE
        + """
    print(json.dumps({
        "exists": tvm.device("opencl", 0).exist,
        "run": failure(lambda: model().run(inputs)),
        "tensor": failure(lambda: tvm.runtime.empty((4,), "float32", tvm.device("opencl", 0))),
    }))
    """,
        "libNoOpenCL.so.1",
        model_path("two_inputs_two_outputs"),
    )
    # It is compiled all the same.
    assert told["exists"] is False
    assert told["run"].startswith(
        "region region0_opencl: OpenCL is not installed: libNoOpenCL.so.1 cannot be opened ("
    )
    assert told["run"].endswith("such as Debian's ocl-icd-libopencl1")
    assert "OpenCL is not installed: libNoOpenCL.so.1" in told["tensor"]


def test_devices_of_a_machine_without_opencl() -> None:
    found = find_opencl("libNoOpenCL.so.1")
    assert found.devices == ()
    assert found.missing.startswith("OpenCL is not installed: libNoOpenCL.so.1 cannot be opened")


def test_a_library_that_is_none() -> None:
    assert "does not serve" in find_opencl("libm.so.6").missing


def test_the_target_where_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdse.targets.opencl.find_opencl", lambda: Opencl((), "it is not there"))
    cpu = Platform(name="host", source="found", devices=discover_host().devices)
    with pytest.raises(UsageError) as caught:
        chosen_targets(cpu, ["opencl"])
    assert str(caught.value) == (
        "platform host has no target 'opencl': it is not there; it has litert, llvm"
    )


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OpenCL library that can be told to fail."""
    library = tmp_path_factory.mktemp("failing") / "libfailing.so"
    source = str(HERE / "failing_opencl.cc")
    options = ["-shared", "-fPIC", "-Wl,--no-as-needed", "-l:libOpenCL.so.1", "-ldl"]
    subprocess.run([str(find_linker()), source, *options, "-o", str(library)], check=True)
    return library


FAIL = """
    import ctypes
    fail = ctypes.CDLL(sys.argv[1]).fail
    device = get_target("opencl").available() and tvm.device("opencl", 0).device_name
"""


@pytest.mark.opencl
def test_memory_that_runs_out(failing: Path, model_path: ModelPath) -> None:
    told = run(
        COMPILE
        + FAIL
        + """
    fail(b"clCreateBuffer", -4, 2)
    first = model()
    print(json.dumps({
        "device": device,
        "run": failure(lambda: first.run(inputs)),
        "much": failure(lambda: tvm.runtime.empty((1 << 50,), "int8", tvm.device("opencl", 0))),
        "again": (fail(b"", 0, 0), failure(lambda: first.run(inputs)))[1],
    }))
    """,
        failing,
        model_path("two_inputs_two_outputs"),
    )
    assert told["run"] == (
        f"region region0_opencl: OpenCL device '{told['device']}': clCreateBuffer of 16 bytes "
        "failed with CL_MEM_OBJECT_ALLOCATION_FAILURE (the device's memory ran out)"
    )
    # Once there is memory, it runs.
    assert told["again"] == ""


@pytest.mark.opencl
def test_more_memory_than_there_is() -> None:
    import tvm

    native.load_runtime()
    with pytest.raises(RuntimeError, match=r"clCreateBuffer of \d+ bytes failed with CL_"):
        tvm.runtime.empty((1 << 50,), "int8", tvm.device("opencl", 0))


@pytest.mark.opencl
@pytest.mark.parametrize(
    ("function", "why"),
    [
        (
            "clEnqueueNDRangeKernel",
            "clEnqueueNDRangeKernel failed with CL_DEVICE_NOT_AVAILABLE (the device was lost)",
        ),
        ("clGetEventInfo", "a kernel failed with CL_DEVICE_NOT_AVAILABLE (the device was lost)"),
    ],
)
def test_a_device_that_is_lost(
    failing: Path, model_path: ModelPath, function: str, why: str
) -> None:
    told = run(
        COMPILE
        + FAIL
        + """
    first = model()
    before = failure(lambda: first.run(inputs))
    fail(sys.argv[3].encode(), -2, 1)
    print(json.dumps({
        "device": device,
        "before": before,
        "lost": failure(lambda: first.run(inputs)),
        # A lost device does not come back in the same process.
        "later": (fail(b"", 0, 0), failure(lambda: first.run(inputs)))[1],
    }))
    """,
        failing,
        model_path("two_inputs_two_outputs"),
        function,
    )
    assert told["before"] == ""
    expected = f"region region0_opencl: OpenCL device '{told['device']}' was lost: {why}; restart"
    assert told["lost"].startswith(expected)
    assert told["later"] == told["lost"]
