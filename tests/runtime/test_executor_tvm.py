"""Regions of kernels that TVM compiled, and executors inside TVM's runtime modules."""

# TVM's script notation has calls where annotations have types.
# mypy: disable-error-code="valid-type"

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdse.errors import ArtefactError, TargetError
from tdse.runtime import native
from tdse.runtime.plan import Plan, PlanRegion, PlanTensor, Step

tvm = pytest.importorskip("tvm")
from tvm.script import tirx as T  # noqa: E402

pytestmark = pytest.mark.tvm

Array = np.ndarray[Any, Any]

SHAPE = (64, 33)
# The kernel that doubles, and the iterations that threads may divide.
Scale = tuple[str, int]
WHOLE, BY_ROWS = ("scale", 0), ("scale_rows", SHAPE[0])


ROWS, COLUMNS = SHAPE


@tvm.script.tirx.prim_func(s_tir=True)
def scale_rows(
    x: T.Buffer((ROWS, COLUMNS), "float32"),
    y: T.Buffer((ROWS, COLUMNS), "float32"),
    begin: T.int32,
    end: T.int32,
) -> None:
    T.func_attr({"global_symbol": "scale_rows"})
    for i in range(end - begin):
        for j in range(COLUMNS):
            y[begin + i, j] = x[begin + i, j] * T.float32(2)


@pytest.fixture(scope="module")
def library() -> Any:
    """Kernels on float32 of SHAPE: scale(x, y) doubles, plus(a, b, y), and scale_rows."""
    return _library()


@pytest.fixture(scope="module")
def bare_library() -> Any:
    """The same as artefacts have them: they check no arguments, and so need nothing of TVM."""
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        return _library()


def _library() -> Any:
    module = tvm.IRModule(
        {
            "scale": _kernel("scale", lambda x: x * 2, 1),
            "plus": _kernel("plus", lambda a, b: a + b, 2),
            "scale_rows": scale_rows,
        }
    )
    return tvm.compile(module, target="llvm").mod


def _kernel(name: str, function: Callable[..., Any], arity: int) -> Any:
    inputs = [tvm.te.placeholder(SHAPE, "float32", name=f"x{i}") for i in range(arity)]
    output = tvm.te.compute(SHAPE, lambda *i: function(*(x(*i) for x in inputs)), name="y")
    kernel = tvm.te.create_prim_func([*inputs, output])
    return kernel.with_attr("global_symbol", name)


def tvm_plan(threads: int = 1, scale: Scale = WHOLE) -> tuple[Plan, Array]:
    """``y = 2 (2 x + c)`` in two regions, and the constant ``c``."""
    symbol, iterations = scale
    constant = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    tensors = (
        PlanTensor("x", "float32", SHAPE),
        PlanTensor("c", "float32", SHAPE, constant.tobytes()),
        PlanTensor("doubled", "float32", SHAPE),
        PlanTensor("sum", "float32", SHAPE),
        PlanTensor("y", "float32", SHAPE),
    )
    regions = (
        PlanRegion(
            "first",
            "tvm",
            threads,
            None,
            (0,),
            (3,),
            (Step(symbol, (0, 2), iterations), Step("plus", (2, 1, 3))),
        ),
        PlanRegion("second", "tvm", threads, None, (3,), (4,), (Step(symbol, (3, 4), iterations),)),
    )
    return Plan(tensors, (0,), (4,), regions), constant


def executor_of(plan: Plan, library: Any) -> Any:
    executor = native.create_executor(plan.to_bytes())
    executor.import_module(library)
    return executor


def image(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def run(executor: Any, x: Array) -> Array:
    y = np.empty(SHAPE, np.float32)
    native.call(executor["run"], x.ctypes.data, y.ctypes.data)
    return y


def test_kernels_in_order(library: Any) -> None:
    plan, constant = tvm_plan()
    executor = executor_of(plan, library)
    for seed in range(3):
        x = image(seed)
        np.testing.assert_array_equal(run(executor, x), (x * 2 + constant) * 2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_kernels_that_are_divided(library: Any, threads: int) -> None:
    plan, constant = tvm_plan(threads, BY_ROWS)
    executor = executor_of(plan, library)
    before = os.sched_getaffinity(0)
    for seed in range(3):
        x = image(seed)
        np.testing.assert_array_equal(run(executor, x), (x * 2 + constant) * 2)
    assert os.sched_getaffinity(0) == before


def test_a_part_that_fails(library: Any) -> None:
    tensors = (PlanTensor("x", "float32", (3,)), PlanTensor("y", "float32", (3,)))
    region = PlanRegion("odd", "tvm", 2, None, (0,), (1,), (Step("scale_rows", (0, 1), ROWS),))
    executor = executor_of(Plan(tensors, (0,), (1,), (region,)), library)
    for _ in range(3):
        with pytest.raises(TargetError, match=r"^region odd: "):
            run(executor, image())


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_helpers_end_with_the_thread_that_they_help(library: Any) -> None:
    """And sleep before: an idle thread of ours takes no time from LiteRT's."""
    plan, constant = tvm_plan(2, BY_ROWS)
    executor, x = executor_of(plan, library), image()

    def threads() -> set[str]:
        return set(os.listdir("/proc/self/task"))

    def becomes(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 10
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.001)
        return condition()

    found: list[bool] = []

    def work() -> None:
        np.testing.assert_array_equal(run(executor, x), (x * 2 + constant) * 2)
        (helper,) = threads() - before - {str(threading.get_native_id())}
        state = Path(f"/proc/self/task/{helper}/stat")
        found.append(becomes(lambda: state.read_text().split()[2] == "S"))

    before = threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
    # Python does not wait for what ends with a thread.
    assert becomes(lambda: threads() == before)


def test_kernel_that_is_not_there() -> None:
    plan, _ = tvm_plan()
    executor = native.create_executor(plan.to_bytes())
    with pytest.raises(TargetError, match="region first: no imported module has the kernel scale"):
        run(executor, image())


def test_kernel_that_fails(library: Any) -> None:
    tensors = (PlanTensor("x", "float32", (3,)), PlanTensor("y", "float32", (3,)))
    region = PlanRegion("odd", "tvm", 1, None, (0,), (1,), (Step("scale", (0, 1)),))
    executor = executor_of(Plan(tensors, (0,), (1,), (region,)), library)
    with pytest.raises(TargetError, match=r"^region odd: ") as error:
        run(executor, image())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("load", [native.load_executor, native.load_tvm_executor])
def test_export_and_load(load: Callable[[Path], Any], bare_library: Any, tmp_path: Path) -> None:
    plan, constant = tvm_plan()
    path = export(executor_of(plan, bare_library), tmp_path)
    executor = load(path)
    x = image()
    np.testing.assert_array_equal(run(executor, x), (x * 2 + constant) * 2)


def export(executor: Any, directory: Path) -> Path:
    """A VM executable whose ``main`` is one call of the executor, as a shared library."""
    from tvm import relax

    executable_type = relax.TensorType(SHAPE, "float32")
    builder = relax.BlockBuilder()
    x = relax.Var("x", executable_type)
    with builder.function("main", [x]):
        y = relax.call_dps_packed("tdse_main", relax.Tuple([x]), [executable_type])
        builder.emit_func_output(builder.emit(y))
    executable = tvm.compile(builder.get(), target="llvm")
    executable.mod.import_module(executor)
    path = directory / "model.so"
    executable.export_library(str(path))
    return path


def test_only_tvm_is_imported(library: Any, tmp_path: Path) -> None:
    """A new process that knows nothing of tdse but that it is installed."""
    plan, constant = tvm_plan()
    path = export(executor_of(plan, library), tmp_path)
    x = image()
    np.save(tmp_path / "x.npy", x)
    code = """
        import sys
        import numpy as np
        import tvm
        from tvm import relax
        machine = relax.VirtualMachine(tvm.runtime.load_module(sys.argv[1]), tvm.cpu())
        y = machine["main"](tvm.runtime.tensor(np.load(sys.argv[2])))
        np.save(sys.argv[3], y.numpy())
        """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path, tmp_path / "x.npy", tmp_path / "y.npy"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((*entry_point(tmp_path), *sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), (x * 2 + constant) * 2)


def entry_point(directory: Path) -> list[str]:
    """What makes tdse look installed, if the tests run on its source tree."""
    if any(e.name == "tdse" for e in metadata.entry_points(group="tvm.backends")):
        return []
    installed = directory / "tdse-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tdse\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text(
        "[tvm.backends]\ntdse = tdse.runtime.native:load_runtime\n"
    )
    return [str(directory)]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_fork_of_a_process_with_workers(bare_library: Any, tmp_path: Path) -> None:
    """A child has none of the threads that help; it starts its own, and ends as any process."""
    plan, constant = tvm_plan(2, BY_ROWS)
    export(executor_of(plan, bare_library), tmp_path)
    x = image()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "expected.npy", (x * 2 + constant) * 2)
    code = """
        import os, signal, sys
        import numpy as np
        from tdse.runtime import native

        x, expected = np.load("x.npy"), np.load("expected.npy")

        def is_right(executor):
            y = np.empty_like(x)
            native.call(executor["run"], x.ctypes.data, y.ctypes.data)
            return np.array_equal(y, expected)

        executor = native.load_executor("model.so")
        assert is_right(executor)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            assert is_right(native.load_executor("model.so"))
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert is_right(executor)
        """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_files_that_are_no_artefact(library: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="the runtime module cannot be loaded"):
        native.load_executor(tmp_path / "missing.so")
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(ArtefactError, match="the runtime module cannot be loaded"):
        native.load_executor(tmp_path / "text.so")
    library.export_library(str(tmp_path / "kernels.so"))
    for load in (native.load_executor, native.load_tvm_executor):
        with pytest.raises(ArtefactError, match=r"holds no executor.*not written by tdse"):
            load(tmp_path / "kernels.so")
    assert native.load_library(tmp_path / "kernels.so")["scale"] is not None
