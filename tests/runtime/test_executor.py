"""The executor against LiteRT's interpreter and against numpy."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from litert_reference import load_litert, random_inputs, run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tdse.errors import TargetError, TdseError
from tdse.runtime import native
from tdse.runtime.plan import Plan, PlanRegion, PlanTensor

Array = np.ndarray[Any, Any]

KINDS = ("litert", "litert_interpreter")


def whole_plan(model: bytes, kind: str = "litert", threads: int = 1) -> Plan:
    """A plan of one region, the whole model."""
    interpreter = load_litert(model)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    tensors = tuple(
        PlanTensor(d["name"], np.dtype(d["dtype"]).name, tuple(d["shape"].tolist()))
        for d in (*inputs, *outputs)
    )
    ins = tuple(range(len(inputs)))
    outs = tuple(range(len(inputs), len(tensors)))
    return Plan(tensors, ins, outs, (PlanRegion("whole", kind, threads, model, ins, outs),))


def run(executor: Any, plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """One run through addresses, outputs filled with a pattern first."""
    outputs = [np.empty(plan.tensors[i].shape, plan.tensors[i].dtype) for i in plan.outputs]
    for output in outputs:
        output.reshape(-1).view(np.uint8)[...] = 0xA5
    native.call(executor["run"], *addresses(inputs), *addresses(outputs))
    return outputs


def addresses(arrays: Sequence[Array]) -> list[int]:
    """Where the arrays' elements are."""
    return [array.__array_interface__["data"][0] for array in arrays]


def check_against_litert(model: bytes, kind: str, threads: int = 1) -> None:
    """Two runs of the executor, each with other inputs, equal LiteRT's bit by bit."""
    plan = whole_plan(model, kind, threads)
    executor = native.create_executor(plan.to_bytes())
    for seed in (0, 1):
        inputs = random_inputs(model, seed=seed)
        expected = run_litert(model, inputs, threads=threads)
        for got, want in zip(run(executor, plan, inputs), expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "name", ["tiny_conv_int8", "tiny_float", "branches", "two_inputs_two_outputs", "conditional"]
)
def test_whole_models(name: str, threads: int, kind: str) -> None:
    check_against_litert(MODELS[name](), kind, threads)


def unary(code: str, shape: tuple[int, ...], dtypes: tuple[str, str], options: object) -> bytes:
    """A model of one operator."""
    tensors = [Tensor("x", shape, dtypes[0]), Tensor("y", shape, dtypes[1])]
    return write_model([Subgraph(tensors, [Operator(code, (0,), (1,), options)], (0,), (1,))])


@pytest.mark.parametrize("shape", [(), (1,), (1, 2, 1, 2, 1, 2, 1, 2)])
def test_ranks(shape: tuple[int, ...]) -> None:
    check_against_litert(unary("NEG", shape, ("float32", "float32"), None), "litert")


@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "int64"),
        ("int64", "int32"),
        ("float16", "float32"),
        ("float32", "float16"),
        ("float64", "float32"),
        ("uint8", "float32"),
        ("int16", "int32"),
        ("uint16", "float32"),
        ("uint32", "int32"),
        ("bool", "float32"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_element_types(dtypes: tuple[str, str], kind: str) -> None:
    check_against_litert(unary("CAST", (2, 3), dtypes, schema.CastOptionsT()), kind)


def test_bool_output() -> None:
    tensors = [Tensor("a", (3,)), Tensor("b", (3,)), Tensor("y", (3,), "bool")]
    less = Operator("LESS", (0, 1), (2,), schema.LessOptionsT())
    check_against_litert(write_model([Subgraph(tensors, [less], (0, 1), (2,))]), "litert")


def high_rank() -> bytes:
    return unary("NEG", (1,) * 9, ("float32", "float32"), None)


def empty() -> bytes:
    return unary("NEG", (0, 3), ("float32", "float32"), None)


def same_names() -> bytes:
    tensors = [Tensor("t", (4,)), Tensor("t", (4,)), Tensor("y", (4,))]
    subtract = Operator("SUB", (0, 1), (2,), schema.SubOptionsT())
    return write_model([Subgraph(tensors, [subtract], (0, 1), (2,))])


def passed_through() -> bytes:
    tensors = [Tensor("x", (4,)), Tensor("y", (4,))]
    return write_model([Subgraph(tensors, [Operator("NEG", (0,), (1,))], (0,), (1, 0))])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (high_rank, r"cannot compile the region: unsupported \(status 5\): .*rank \(9\)"),
        (empty, "cannot take input 'x': it has no elements"),
        (same_names, "cannot tell two inputs of the slice apart: both are named 't'"),
        (passed_through, "cannot take output 'x': it is an input or output of the slice twice"),
        (MODELS["dynamic_batch"], "cannot take input 'x': its shape is not fixed"),
        (MODELS["variable_tensor"], "cannot compile .* Variable tensors not yet supported"),
    ],
)
def test_what_the_c_interface_refuses(
    model: Callable[[], bytes], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = whole_plan(model())
    executor = native.create_executor(plan.to_bytes())
    capfd.readouterr()
    with pytest.raises(TargetError, match=f"^region whole: litert: {message}"):
        run(executor, plan, random_inputs(model()))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "model", [high_rank, empty, same_names, passed_through, MODELS["dynamic_batch"]]
)
def test_the_interpreter_runs_it_instead(model: Callable[[], bytes]) -> None:
    check_against_litert(model(), "litert_interpreter")


def test_state_lives_from_run_to_run() -> None:
    model = MODELS["variable_tensor"]()
    plan = whole_plan(model, "litert_interpreter")
    executor = native.create_executor(plan.to_bytes())
    interpreter = load_litert(model)
    interpreter.allocate_tensors()
    for seed in range(3):
        (x,) = random_inputs(model, seed=seed)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(run(executor, plan, [x])[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_instead_of_a_model(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    region = PlanRegion("bad", kind, 1, b"not a model" * 100, (0,), (1,))
    tensors = (PlanTensor("x", "int8", (1,)), PlanTensor("y", "int8", (1,)))
    plan = Plan(tensors, (0,), (1,), (region,))
    with pytest.raises(TargetError, match=r"^region bad: "):
        run(native.create_executor(plan.to_bytes()), plan, [np.zeros(1, np.int8)])
    assert capfd.readouterr().err == ""


def test_a_plan_that_is_not_the_model() -> None:
    model = MODELS["tiny_float"]()
    plan = whole_plan(model)
    image = dataclasses.replace(plan.tensors[0], dtype="int8")
    wrong = dataclasses.replace(plan, tensors=(image, plan.tensors[1]))
    with pytest.raises(TargetError, match="cannot take input 'image' as int8"):
        run(native.create_executor(wrong.to_bytes()), wrong, [np.zeros((1, 8, 8, 4), np.int8)])


def test_unknown_kind() -> None:
    tensors = (PlanTensor("x", "int8", (1,)), PlanTensor("y", "int8", (1,)))
    plan = Plan(tensors, (0,), (1,), (PlanRegion("r", "npu", 1, None, (0,), (1,)),))
    with pytest.raises(
        TargetError, match="region r: no installed package runs regions of kind 'npu'"
    ):
        run(native.create_executor(plan.to_bytes()), plan, [np.zeros(1, np.int8)])


def test_another_package_brings_a_kind_of_region(monkeypatch: pytest.MonkeyPatch) -> None:
    import tvm_ffi

    def make(blob: bytes, threads: int, sizes: Sequence[int]) -> object:
        assert (bytes(blob), threads, list(sizes)) == (b"shift", 2, [3, 3])

        def shift(source: int, target: int) -> None:
            values = (ctypes.c_int8 * 3).from_address(source)
            (ctypes.c_int8 * 3).from_address(target)[:] = [value + 1 for value in values]

        return tvm_ffi.convert(shift)

    def register() -> None:
        tvm_ffi.register_global_func("tdse.region.shifter", make, override=True)

    package = ModuleType("package_of_regions")
    package.__dict__.update(register=register)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    point = EntryPoint("shifter", "package_of_regions:register", native.REGION_ENTRY_POINTS)
    monkeypatch.setattr(native, "entry_points", lambda group: [point])
    tensors = (PlanTensor("x", "int8", (3,)), PlanTensor("y", "int8", (3,)))
    plan = Plan(tensors, (0,), (1,), (PlanRegion("r", "shifter", 2, b"shift", (0,), (1,)),))
    executor = native.create_executor(plan.to_bytes())
    (result,) = run(executor, plan, [np.array([1, 2, -3], np.int8)])
    np.testing.assert_array_equal(result, [2, 3, -2])


def test_wrong_number_of_arguments() -> None:
    plan = whole_plan(MODELS["tiny_float"]())
    executor = native.create_executor(plan.to_bytes())
    with pytest.raises(TargetError, match="run takes 2 arguments, not 1"):
        native.call(executor["run"], 0)


def test_litert_is_quiet(tmp_path: Path) -> None:
    """In a new process, because LiteRT greets once."""
    plan = tmp_path / "plan.bin"
    plan.write_bytes(whole_plan(MODELS["tiny_float"]()).to_bytes())
    result = python(
        """
        import sys
        import numpy as np
        from tdse.runtime import native
        executor = native.create_executor(open(sys.argv[1], "rb").read())
        x = np.zeros((1, 8, 8, 4), np.float32)
        executor["time_runs"](1, x.ctypes.data)
        print("done", file=sys.stderr)
        """,
        str(plan),
    )
    assert (result.stdout, result.stderr) == ("", "done\n")


def python(
    code: str, *arguments: str, path: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a new process with this one's module path, and ``path`` before it."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((*path, *filter(None, sys.path)))},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def chain(model: bytes, count: int) -> Plan:
    """``model``, of one input and output of the same type, ``count`` times in a row."""
    first = whole_plan(model)
    tensors = tuple(dataclasses.replace(first.tensors[0], name=f"t{i}") for i in range(count + 1))
    regions = tuple(
        dataclasses.replace(first.regions[0], name=f"r{i}", inputs=(i,), outputs=(i + 1,))
        for i in range(count)
    )
    return Plan(tensors, (0,), (count,), regions)


def negation() -> bytes:
    return unary("NEG", (4, 8), ("float32", "float32"), None)


def test_times_and_profile() -> None:
    plan = chain(negation(), 5)
    executor = native.create_executor(plan.to_bytes())
    (x,) = random_inputs(negation())
    times = np.frombuffer(native.call(executor["time_runs"], 7, *addresses([x])))
    profile = np.frombuffer(native.call(executor["profile"], 7, *addresses([x]))).reshape(7, 5)
    assert times.shape == (7,)
    assert (times > 0).all() and (profile > 0).all()
    # The inputs were copied in, and the last of them ran.
    np.testing.assert_array_equal(read(executor, plan, 5), -x)


def read(executor: Any, plan: Plan, tensor: int) -> Array:
    """A tensor's value after a run."""
    described = plan.tensors[tensor]
    raw = native.call(executor["read_tensor"], tensor)
    return np.frombuffer(raw, described.dtype).reshape(described.shape)


def test_reading_a_tensor_whose_memory_was_reused() -> None:
    plan = chain(negation(), 5)
    executor = native.create_executor(plan.to_bytes())
    (x,) = random_inputs(negation())
    run(executor, plan, [x])
    np.testing.assert_array_equal(read(executor, plan, 4), x)
    with pytest.raises(TargetError, match="tensor 't1' cannot be read: its memory is reused"):
        read(executor, plan, 1)
    with pytest.raises(TargetError, match="the plan has no tensor 6"):
        native.call(executor["read_tensor"], 6)


def test_arena_is_shared() -> None:
    executor = native.create_executor(chain(negation(), 20).to_bytes())
    # Two buffers of 4 * 8 floats and 64 bytes of padding, for 19 tensors between the regions.
    assert json.loads(executor["describe"]())["arena_bytes"] == 2 * (128 + 64)


@pytest.fixture
def counting_regions() -> Iterator[None]:
    """Regions of kind ``litert_interpreter`` that write 1 + the sum of their inputs' elements.

    Their inputs must be of one size; every element of an output is the same.
    """
    native.register()
    import tvm_ffi

    def make(model: bytes, threads: int, sizes: Sequence[int]) -> Any:
        inputs = int(model)

        def run(*addresses: int) -> None:
            arrays = [
                np.frombuffer((ctypes.c_char * size).from_address(address), np.int64)
                for address, size in zip(addresses, sizes, strict=True)
            ]
            value = 1 + sum(int(array[0]) + int(array[-1]) for array in arrays[:inputs])
            for array in arrays[inputs:]:
                array[...] = value % 1_000_003

        return tvm_ffi.convert(run)

    name = "tdse.region.litert_interpreter"
    real = tvm_ffi.get_global_func(name)
    tvm_ffi.register_global_func(name, make, override=True)
    yield
    tvm_ffi.register_global_func(name, real, override=True)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
@pytest.mark.usefixtures("counting_regions")
def test_no_live_tensor_is_overwritten(data: st.DataObject) -> None:
    """Random graphs: the results are those of the same graph with a buffer for each tensor."""
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    tensors = [PlanTensor(f"x{i}", "int64", (size,)) for i, size in enumerate(sizes)]
    inputs = tuple(range(len(tensors)))
    regions: list[PlanRegion] = []
    for r in range(data.draw(st.integers(1, 12))):
        sources = data.draw(st.lists(st.integers(0, len(tensors) - 1), max_size=3, unique=True))
        new = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
        results = tuple(range(len(tensors), len(tensors) + len(new)))
        tensors += [PlanTensor(f"t{r}_{i}", "int64", (size,)) for i, size in enumerate(new)]
        blob = str(len(sources)).encode()
        regions.append(PlanRegion(f"r{r}", "litert_interpreter", 1, blob, tuple(sources), results))
    last = len(tensors) - 1
    outputs = tuple(data.draw(st.lists(st.integers(0, last), min_size=1, max_size=3)))
    plan = Plan(tuple(tensors), inputs, outputs, tuple(regions))

    values = {i: i + 5 for i in inputs}
    for region in regions:
        value = (1 + sum(2 * values[i] for i in region.inputs)) % 1_000_003
        values.update(dict.fromkeys(region.outputs, value))
    executor = native.create_executor(plan.to_bytes())
    given_inputs = [np.full(tensors[i].shape, i + 5) for i in inputs]
    for got, tensor in zip(run(executor, plan, given_inputs), outputs, strict=True):
        np.testing.assert_array_equal(got, np.full(tensors[tensor].shape, values[tensor]))


def test_calls_from_several_threads() -> None:
    model = MODELS["branches"]()
    plan = whole_plan(model)
    executor = native.create_executor(plan.to_bytes())
    wrong: list[int] = []

    def work(seed: int) -> None:
        inputs = random_inputs(model, seed=seed)
        (expected,) = run_litert(model, inputs)
        for _ in range(50):
            if not np.array_equal(run(executor, plan, inputs)[0], expected):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_tensors_instead_of_addresses() -> None:
    tvm = pytest.importorskip("tvm")
    model = MODELS["two_inputs_two_outputs"]()
    plan = whole_plan(model)
    main = native.create_executor(plan.to_bytes())["tdse_main"]
    inputs = random_inputs(model)
    arguments = [tvm.runtime.tensor(x) for x in inputs]
    results = [tvm.runtime.empty((1, 4), "float32") for _ in range(2)]
    main(*arguments, *results)
    for got, want in zip(results, run_litert(model, inputs), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    with pytest.raises(TargetError, match="tensor 'beta_tensor' is not of type float32"):
        native.call(main, tvm.runtime.empty((1, 4), "int32"), arguments[1], *results)
    with pytest.raises(TargetError, match="tensor 'alpha_tensor' has a shape that is not the"):
        native.call(main, arguments[0], tvm.runtime.empty((4,), "float32"), *results)


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_library", None)
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "libtdse_tvm.so")
    with pytest.raises(TdseError, match="the native library is not built; run pip install"):
        native.register()
    (tmp_path / "libtdse_tvm.so").write_bytes(b"text")
    with pytest.raises(TdseError, match=r"the native library cannot be loaded: .*(ELF|too short)"):
        native.register()


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("/nowhere/libLiteRt.so", "LiteRT's library cannot be loaded: /nowhere/libLiteRt"),
        ("libm.so.6", "libm.so.6 has no function LiteRtCreateEnvironment; tdse works with"),
    ],
)
def test_other_litert_library(tmp_path: Path, library: str, message: str) -> None:
    """In a new process: this one keeps the library it has."""
    plan = tmp_path / "plan.bin"
    plan.write_bytes(whole_plan(MODELS["tiny_float"]()).to_bytes())
    result = python(
        """
        import sys
        import tvm_ffi
        from tdse.errors import TargetError
        from tdse.runtime import native
        native.register()
        tvm_ffi.get_global_func("tdse.set_litert_library")(sys.argv[2])
        executor = native.create_executor(open(sys.argv[1], "rb").read())
        try:
            native.call(executor["time_runs"], 1, 0)
        except TargetError as error:
            print(error)
        """,
        str(plan),
        library,
    )
    assert result.stdout.startswith(f"region whole: {message}")
