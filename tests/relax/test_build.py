"""Runtime modules from partitioned ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.errors import ArtefactError, TargetError, TdseError
from tdse.graph.reader import read_tflite

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from relax_helpers import (  # noqa: E402 - needs tvm
    Body,
    demand_equal,
    demand_near,
    functions_in,
    placed,
    run,
    shown_functions,
    split_model,
    with_body,
)
from tvm import relax  # noqa: E402

import tdse.relax  # noqa: E402
from litert_reference import random_inputs, run_litert  # noqa: E402
from models import RUNNABLE  # noqa: E402
from tdse.relax.build import executor_call, executor_of  # noqa: E402

ModelPath = Callable[[str], Path]


def partitioned(data: bytes, targets: dict[int, str], *, others: str = "litert") -> Any:
    graph = read_tflite(data)
    placement = placed(graph, targets, others=others)
    return tdse.relax.Partition(placement=placement)(tdse.relax.from_tflite(graph))


def built(data: bytes, targets: dict[int, str], *, others: str = "litert") -> Any:
    return tdse.relax.build(partitioned(data, targets, others=others))


def with_attribute(module: Any, name: str, attribute: str, value: Any) -> Any:
    """The module after an edit by hand of a function's attribute; None removes it."""
    old = module[name]
    edited = old.without_attr(attribute) if value is None else old.with_attr(attribute, value)
    module.update_func(module.get_global_var(name), edited)
    return module


def demand_refused(module: Any, text: str) -> None:
    with pytest.raises(TdseError) as caught:
        tdse.relax.build(module)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def _linked_main(data: bytes) -> Any:
    main = tdse.relax.from_tflite(data)["main"]
    return executor_call(main.params, main.ret_ty)


def test_the_ir_is_as_documented(model_path: ModelPath) -> None:
    data = model_path("variable_tensor").read_bytes()
    before, after = shown_functions(tdse.relax.build)
    printed = functions_in(partitioned(data, {2: "llvm"}).script())
    assert [function for function in printed if "defmain" in function] == before
    assert functions_in(_linked_main(data).script()) == after


@pytest.mark.parametrize("name", sorted(set(RUNNABLE) - {"dynamic_output"}))
def test_all_on_litert_is_exact(name: str) -> None:
    data = RUNNABLE[name]()
    demand_equal(data, built(data, {}))


def test_tables_between_litert_regions_are_exact() -> None:
    data = RUNNABLE["tiny_conv_int8"]()
    kinds = {op.index: op.kind for op in read_tflite(data).ops}
    tables = {op: "llvm" for op, kind in kinds.items() if kind == "hard_swish"}
    library = built(data, tables)
    assert len(tables) == 2
    assert executor_of(library) is not None
    demand_equal(data, library)


@pytest.mark.parametrize("name", ["tiny_float", "branches", "two_inputs_two_outputs"])
def test_all_on_llvm_is_near(name: str) -> None:
    data = RUNNABLE[name]()
    demand_near(data, built(data, {}, others="llvm"), steps=2)


def test_regions_of_both_targets_are_near() -> None:
    data = split_model()
    ops = read_tflite(data).placed_ops
    demand_near(data, built(data, {op: "llvm" for op in ops[::2]}), steps=2)


def test_an_operator_that_nothing_needs() -> None:
    tensors = [Tensor(name, (1, 4)) for name in ("x", "y", "unused")]
    operators = [Operator("ABS", (0,), (1,), schema.AbsOptionsT()), Operator("EXP", (0,), (2,))]
    data = write_model([Subgraph(tensors, operators, (0,), (1,))])
    demand_equal(data, built(data, {1: "llvm"}))


def test_bodies_are_compiled_and_not_the_flatbuffer() -> None:
    """A pass that rewrites a body changes what an ``llvm`` region computes."""
    data = RUNNABLE["variable_tensor"]()
    module = with_body(partitioned(data, {2: "llvm"}), "op2_relu", lambda _, x: relax.op.abs(x))
    x = random_inputs(data, seed=3)
    (y,) = run(tdse.relax.build(module), x)
    (reference,) = run_litert(data, x)
    positive = reference > 0
    assert 0 < positive.sum() < positive.size
    np.testing.assert_array_equal(y[positive], reference[positive])
    assert (y[~positive] > 0).all()


def test_a_module_that_is_not_partitioned(model_path: ModelPath) -> None:
    with pytest.raises(TdseError, match=r"not partitioned.*run tdse.relax.Partition"):
        tdse.relax.build(tdse.relax.from_tflite(model_path("tiny_float")))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("main", "the IRModule has no function main"),
        ("region1_llvm", "main calls region1_llvm, which is not in the IRModule"),
        ("op2_relu", "region1_llvm calls op2_relu, which is not in the IRModule"),
    ],
)
def test_a_function_that_was_removed(name: str, text: str) -> None:
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    del module[name]
    demand_refused(module, text)


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        (
            "main",
            lambda call, x: relax.op.negative(call("region1_llvm", call("region0_litert", x))),
            "main has more than calls of the module's functions: R.negative(",
        ),
        (
            "main",
            lambda call, x: call("region0_litert", x),
            "main does not compute op 2:relu",
        ),
        (
            "main",
            lambda call, x: call("op1_svdf", x),
            "main calls op1_svdf, which is no region",
        ),
        (
            "region0_litert",
            lambda call, x: call("op1_svdf", x),
            "region0_litert gives op1_svdf other tensors than the model does",
        ),
        (
            "region0_litert",
            lambda call, x: call("op0_relu", x),
            "region0_litert does not compute the operators in its tdse.ops",
        ),
        (
            "region1_llvm",
            lambda call, x: call("op2_relu", call("op2_relu", x)),
            "2:relu is computed twice",
        ),
    ],
)
def test_calls_that_were_edited(name: str, body: Body, text: str) -> None:
    """The regions of ``litert`` come from the model, so an edit must not be passed over."""
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    demand_refused(with_body(module, name, body), text)


def test_outputs_that_were_swapped() -> None:
    module = partitioned(RUNNABLE["two_inputs_two_outputs"](), {})

    def swapped(call: Any, beta: Any, alpha: Any) -> Any:
        product, difference = (
            call("region0_litert", alpha, beta),
            call("region1_litert", beta, alpha),
        )
        return relax.Tuple([product, difference])

    demand_refused(
        with_body(module, "main", swapped), "main does not return the outputs of the model"
    )


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("tdse.threads", 2, "regions have thread counts 1 and 2"),
        ("tdse.threads", None, "region1_llvm has no attribute tdse.threads"),
        ("tdse.ops", [1, 2], "region1_llvm does not compute the operators in its tdse.ops"),
        ("tdse.target", "npu", "there is no target 'npu'"),
    ],
)
def test_attributes_that_were_edited(attribute: str, value: Any, text: str) -> None:
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    demand_refused(with_attribute(module, "region1_llvm", attribute, value), text)


def test_regions_run_in_the_order_of_main() -> None:
    data = RUNNABLE["variable_tensor"]()
    module = partitioned(data, {2: "llvm"})
    renumbered = with_attribute(module, "region0_litert", "tdse.region", 5)
    demand_equal(data, tdse.relax.build(renumbered))


@pytest.mark.parametrize("given", ["LegalizeOps", "CanonicalizeBindings", "ToNonDataflow"])
def test_other_passes_may_run_before(given: str) -> None:
    data = RUNNABLE["variable_tensor"]()
    module = getattr(relax.transform, given)()(partitioned(data, {2: "llvm"}))
    demand_equal(data, tdse.relax.build(module))


def test_an_operator_that_the_target_cannot_run() -> None:
    with pytest.raises(TargetError, match=r"1:svdf.*it keeps a state between runs"):
        built(RUNNABLE["variable_tensor"](), {1: "llvm"})


def test_a_module_without_an_executor(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("tiny_float"))
    library = tvm.compile(module, target="llvm").mod
    with pytest.raises(ArtefactError, match="holds no executor"):
        executor_of(library)
