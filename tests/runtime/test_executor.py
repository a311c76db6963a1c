"""The executor against LiteRT's interpreter and against numpy."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from litert_reference import load_litert, random_inputs, run_litert
from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tdse.errors import ArtefactError, TargetError
from tdse.runtime import native
from tdse.runtime.plan import Plan, PlanRegion, PlanTensor, Step

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
        output.view(np.uint8)[...] = 0xA5 if output.ndim else output.view(np.uint8)
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
        (MODELS["variable_tensor"], "cannot compile .*: Variable tensors not yet supported"),
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
    wrong = Plan(
        (PlanTensor("image", "int8", plan.tensors[0].shape), plan.tensors[1]), (0,), (1,),
        plan.regions,
    )  # fmt: skip
    with pytest.raises(TargetError, match="cannot take input 'image' as int8"):
        run(native.create_executor(wrong.to_bytes()), wrong, [np.zeros((1, 8, 8, 4), np.int8)])


def test_unknown_kind() -> None:
    tensors = (PlanTensor("x", "int8", (1,)), PlanTensor("y", "int8", (1,)))
    plan = Plan(tensors, (0,), (1,), (PlanRegion("r", "npu", 1, None, (0,), (1,)),))
    with pytest.raises(TargetError, match="region r: this library cannot run regions of kind 'npu'"):
        run(native.create_executor(plan.to_bytes()), plan, [np.zeros(1, np.int8)])


def test_wrong_number_of_arguments() -> None:
    plan = whole_plan(MODELS["tiny_float"]())
    executor = native.create_executor(plan.to_bytes())
    with pytest.raises(TargetError, match="run takes 2 arguments, not 1"):
        native.call(executor["run"], 0)


def test_litert_is_quiet() -> None:
    """A new process, because LiteRT prints its greeting once."""
    code = f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parent.parent), *sys.path]!r}
        from tdse.runtime import native
        plan = open(sys.argv[1], "rb").read()
        native.create_executor(plan)["time_runs"](1, *map(int, sys.argv[2:]))
    """
    x = np.zeros((1, 16, 16, 8), np.int8)
    plan = Path(subprocess.check_output(["mktemp"], text=True).strip())
    plan.write_bytes(whole_plan(MODELS["resource_free"]()).to_bytes()) if False else None
    del code, x, plan
