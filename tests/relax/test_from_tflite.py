"""Models as Relax modules that run as they are."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from litert_reference import load_litert, run_interpreter
from modelkit import Operator, Subgraph, Tensor, write_model
from models import RUNNABLE
from tdse.errors import ModelError, TargetError
from tdse.graph.reader import read_tflite
from tdse.graph.slice import slice_model
from tdse.measure.activations import activations, random_inputs

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

import tvm_ffi  # noqa: E402 - needs tvm
from relax_helpers import (  # noqa: E402
    compile_plainly,
    demand_equal,
    demand_near,
    functions_in,
    run,
    shown_functions,
    split_model,
)
from tvm import relax  # noqa: E402

import tdse.relax  # noqa: E402
from tdse.relax.bodies import Bodies  # noqa: E402

ModelPath = Callable[[str], Path]
# LiteRT runs it, but its shapes are not known before.
STATIC = sorted(set(RUNNABLE) - {"dynamic_output"})


def function_names(module: Any) -> list[str]:
    return sorted(variable.name_hint for variable in module.get_global_vars())


@pytest.mark.parametrize("name", STATIC)
def test_it_runs_unpartitioned(name: str) -> None:
    data = RUNNABLE[name]()
    module = tdse.relax.from_tflite(data)
    relax.analysis.well_formed(module)
    # TVM rounds some halves to the other side, and the steps of 13 operators add up.
    demand_near(data, compile_plainly(module), steps=16 if name == "tiny_conv_int8" else 1)


@pytest.mark.parametrize("name", ["tiny_conv_int8", "branches"])
def test_each_body_is_within_a_step(name: str) -> None:
    """On the activations of a real run, so that steps do not add up."""
    graph = read_tflite(RUNNABLE[name]())
    module = tdse.relax.from_tflite(graph)
    values = activations(graph, random_inputs(graph, 1))
    functions = {
        op: module.get_global_var(f"op{op}_{graph.ops[op].kind}") for op in graph.placed_ops
    }
    bodies = Bodies(module, functions)
    for op, body in ((op, bodies[op]) for op in functions):
        piece = slice_model(graph, [op])
        (ours,) = run(compile_plainly(body), [values[t] for t in piece.inputs])
        difference = ours.astype(int) - values[piece.outputs[0]].astype(int)
        assert np.abs(difference).max() <= 1, graph.ops[op].label


def test_the_ir_is_as_documented(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("variable_tensor"))
    (shown,) = shown_functions(tdse.relax.from_tflite)
    printed = functions_in(module.script())
    assert len(shown) == 3
    assert [function for function in printed if "defop2_relu(" not in function] == shown


def test_functions_carry_their_origin(model_path: ModelPath) -> None:
    path = model_path("tiny_conv_int8")
    graph = read_tflite(path)
    module = tdse.relax.from_tflite(graph)
    for op in graph.ops:
        attributes = module[f"op{op.index}_{op.kind}"].attrs
        assert attributes["tdse.op"] == op.index
        assert attributes["tdse.kind"] == op.kind
        assert attributes["tdse.label"] == op.label
        assert attributes["tdse.origin"] == f"tflite:{op.index}"
        assert "tdse.litert" not in attributes
    assert bytes(module.attrs["tdse.model"]) == path.read_bytes()
    assert module.attrs["tdse.model_sha256"] == graph.sha256
    assert module.attrs["tdse.model_name"] == "tiny_conv_int8"


@pytest.mark.parametrize("name", ["tiny_conv_int8", "variable_tensor", "resource_variable"])
def test_it_can_be_saved_and_read(name: str, model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path(name))
    assert tvm_ffi.structural_equal(module, tvm.ir.load_json(tvm.ir.save_json(module)))
    printed = module.script(show_meta=True)
    assert tvm_ffi.structural_equal(module, tvm.script.from_source(printed))


def test_bytes_of_models_are_not_printed(demo_model: Path) -> None:
    module = tdse.relax.from_tflite(demo_model)
    assert len(module.script()) < 0.1 * demo_model.stat().st_size
    assert len(function_names(module)) == 1 + len(read_tflite(demo_model).placed_ops)


def test_constant_operators_have_no_function(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("float16_weights"))
    assert function_names(module) == ["main", "op2_fully_connected", "op3_relu"]


def test_litert_serves_what_tvm_cannot_import(model_path: ModelPath) -> None:
    """An operator with a state, three runs one after the other."""
    data = model_path("variable_tensor").read_bytes()
    module = tdse.relax.from_tflite(data)
    assert module["op1_svdf"].attrs["tdse.litert"] == "it keeps a state between runs"
    main = relax.VirtualMachine(compile_plainly(module), tvm.cpu())["main"]
    interpreter = load_litert(data)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(1, 3)).astype(np.float32)
        expected = run_interpreter(interpreter, [x])[0]
        np.testing.assert_array_equal(main(tvm.runtime.tensor(x)).numpy(), expected)


@pytest.mark.parametrize("name", ["tiny_conv_int8", "branches", "two_inputs_two_outputs", "split"])
def test_litert_serves_all_if_tvm_imports_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(graph: Any, op: int) -> Any:
        raise TargetError("no", why="nothing is imported here")

    monkeypatch.setattr("tdse.relax.bodies.import_op", refuse)
    data = split_model() if name == "split" else RUNNABLE[name]()
    module = tdse.relax.from_tflite(data)
    for variable, function in module.functions.items():
        if variable.name_hint != "main":
            assert function.attrs["tdse.litert"] == "nothing is imported here"
    demand_equal(data, compile_plainly(module))


def test_litert_serves_what_tvm_has_no_code_for(
    model_path: ModelPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hint(graph: Any, op: int) -> Any:
        x = relax.Var("x", relax.TensorType((1, 4), "float32"))
        builder = relax.BlockBuilder()
        with builder.function("main", [x]):
            builder.emit_func_output(builder.emit(relax.op.hint_on_device(x, tvm.cpu())))
        return builder.get()

    monkeypatch.setattr("tdse.relax.bodies.import_op", hint)
    data = RUNNABLE["shared_output"]()
    module = tdse.relax.from_tflite(data)
    assert "relax.hint_on_device" in module["op0_abs"].attrs["tdse.litert"]
    demand_equal(data, compile_plainly(module))


def test_several_outputs_of_an_operator() -> None:
    data = split_model()
    module = tdse.relax.from_tflite(data)
    assert "tdse.litert" not in module["op0_split"].attrs
    demand_equal(data, compile_plainly(module))


def test_a_model_that_is_not_cut_is_one_function(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("resource_variable"))
    assert function_names(module) == ["main", "whole_model"]
    assert list(module["whole_model"].attrs["tdse.ops"]) == [0, 1, 2, 3, 4]
    assert "runs another subgraph" in module["whole_model"].attrs["tdse.litert"]


def test_names_are_identifiers() -> None:
    tensors = [Tensor(name, (1, 4)) for name in ("lambda", "2x/y:0", "2x/y:0", "", "R", "t5", "")]
    add = schema.AddOptionsT
    operators = [
        Operator("ADD", (0, 1), (5,), add()),
        Operator("ADD", (5, 2), (6,), add()),
        Operator("ADD", (6, 3), (4,), add()),
    ]
    data = write_model([Subgraph(tensors, operators, (0, 1, 2, 3), (4, 0, 4))])
    module = tdse.relax.from_tflite(data)
    names = [parameter.name for parameter in module["main"].params]
    assert names == ["lambda_", "x2x_y_0", "x2x_y_0_2", "input_3"]
    for block in module["main"].body.blocks:
        names += [binding.var.name for binding in block.bindings]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    demand_near(data, compile_plainly(module), steps=0)


def test_the_same_model_gives_the_same_module() -> None:
    first, second = (tdse.relax.from_tflite(RUNNABLE["branches"]()) for _ in range(2))
    assert first.script(show_meta=True) == second.script(show_meta=True)


def test_a_path_bytes_and_a_graph_give_the_same(model_path: ModelPath) -> None:
    path = model_path("two_inputs_two_outputs")
    scripts = {
        functions_in(tdse.relax.from_tflite(source).script())[-1]
        for source in (path, str(path), path.read_bytes(), read_tflite(path))
    }
    assert len(scripts) == 1
    assert "defmain(beta:" in scripts.pop()


def test_models_that_cannot_be_run_are_refused(model_path: ModelPath, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"only known when it runs.*made by op 1:where"):
        tdse.relax.from_tflite(model_path("dynamic_output"))
    with pytest.raises(ModelError, match="LiteRT cannot run op 1:example_filter"):
        tdse.relax.from_tflite(model_path("custom_op"))
    with pytest.raises(ModelError, match="no such file"):
        tdse.relax.from_tflite(tmp_path / "none.tflite")


def test_an_output_that_is_constant_is_refused() -> None:
    tensors = [
        Tensor("x", (1, 4)),
        Tensor("y", (1, 4)),
        Tensor("c", (1, 4), data=np.ones((1, 4), np.float32)),
    ]
    data = write_model(
        [Subgraph(tensors, [Operator("ABS", (0,), (1,), schema.AbsOptionsT())], (0,), (1, 2))]
    )
    with pytest.raises(ModelError, match="output 'c' is computed by no operator"):
        tdse.relax.from_tflite(data)


def test_an_input_may_be_returned() -> None:
    tensors = [Tensor("x", (1, 4)), Tensor("y", (1, 4))]
    abs_op = Operator("ABS", (0,), (1,), schema.AbsOptionsT())
    data = write_model([Subgraph(tensors, [abs_op], (0,), (0, 1))])
    x = np.array([[1, -2, 3, -4]], np.float32)
    same, positive = run(compile_plainly(tdse.relax.from_tflite(data)), [x])
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(positive, np.abs(x))
