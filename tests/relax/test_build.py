"""Runtime modules from partitioned ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.errors import TargetError, TdseError
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
from tdse.runtime.native import find_executor  # noqa: E402

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


def test_the_ir_is_as_documented(model_path: ModelPath) -> None:
    data = model_path("variable_tensor").read_bytes()
    before, after = shown_functions(tdse.relax.build)
    module = partitioned(data, {2: "llvm"})
    printed = functions_in(module.script())
    assert [function for function in printed if "defmain" in function] == before
    assert functions_in(tdse.relax.Link()(module).script()) == after


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
    assert find_executor(library) is not None
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
        ("region1_llvm", "it has no function region1_llvm"),
        ("op2_relu", "it has no function for op 2:relu"),
    ],
)
def test_a_function_that_was_removed(name: str, text: str) -> None:
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    del module[name]
    demand_refused(module, text)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (
            "main",
            lambda call, x: relax.op.negative(call("region1_llvm", call("region0_litert", x))),
        ),
        ("main", lambda call, x: call("region0_litert", x)),
        ("main", lambda call, x: call("op1_svdf", x)),
        ("region0_litert", lambda call, x: call("op1_svdf", x)),
        ("region0_litert", lambda call, x: call("op0_relu", x)),
        ("region1_llvm", lambda call, x: call("op2_relu", call("op2_relu", x))),
    ],
)
def test_calls_that_were_edited(name: str, body: Body) -> None:
    """The regions of ``litert`` come from the model, so an edit must not be passed over."""
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    text = f"since it was partitioned: {name} does not make the calls that it did"
    demand_refused(with_body(module, name, body), text)


def test_outputs_that_were_swapped() -> None:
    module = partitioned(RUNNABLE["two_inputs_two_outputs"](), {})

    def swapped(call: Any, beta: Any, alpha: Any) -> Any:
        product, difference = (
            call("region0_litert", alpha, beta),
            call("region1_litert", beta, alpha),
        )
        return relax.Tuple([product, difference])

    demand_refused(with_body(module, "main", swapped), "main does not make the calls that it did")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("tdse.threads", 2), ("tdse.threads", None), ("tdse.ops", [1, 2]), ("tdse.target", "npu")],
)
def test_attributes_that_were_edited(attribute: str, value: Any) -> None:
    """They say what the placement says, which is what is built."""
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    text = f"region1_llvm has another attribute {attribute}"
    demand_refused(with_attribute(module, "region1_llvm", attribute, value), text)


@pytest.mark.parametrize("given", ["LegalizeOps", "CanonicalizeBindings", "ToNonDataflow"])
def test_other_passes_may_run_before(given: str) -> None:
    data = RUNNABLE["variable_tensor"]()
    module = getattr(relax.transform, given)()(partitioned(data, {2: "llvm"}))
    demand_equal(data, tdse.relax.build(module))


def test_an_operator_that_the_target_cannot_run() -> None:
    with pytest.raises(TargetError, match=r"1:svdf.*it keeps a state between runs"):
        built(RUNNABLE["variable_tensor"](), {1: "llvm"})
