"""Runtime modules from partitioned ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdse.errors import ArtefactError, TargetError, TdseError
from tdse.graph.reader import read_tflite

tvm = pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from relax_helpers import (  # noqa: E402 - needs tvm
    demand_equal,
    demand_near,
    functions_in,
    placed,
    run,
    shown_functions,
)

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


def test_the_ir_is_as_documented(model_path: ModelPath) -> None:
    data = model_path("variable_tensor").read_bytes()
    before, after = shown_functions(tdse.relax.build)
    printed = functions_in(partitioned(data, {2: "llvm"}).script())
    assert [function for function in printed if "defmain" in function] == before
    assert functions_in(executor_call(read_tflite(data)).script()) == after


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


def test_bodies_are_compiled_and_not_the_flatbuffer() -> None:
    """A pass that rewrites a body changes what an ``llvm`` region computes."""
    data = RUNNABLE["variable_tensor"]()
    module = partitioned(data, {2: "llvm"})
    relu, abs_ = module["op2_relu"], _abs_like(module["op2_relu"])
    assert relu.attrs["tdse.op"] == 2
    module.update_func(module.get_global_var("op2_relu"), abs_)
    x = random_inputs(data, seed=3)
    (y,) = run(tdse.relax.build(module), x)
    (reference,) = run_litert(data, x)
    positive = reference > 0
    assert 0 < positive.sum() < positive.size
    np.testing.assert_array_equal(y[positive], reference[positive])
    assert (y[~positive] > 0).all()


def _abs_like(function: Any) -> Any:
    from tvm import relax

    (x,) = function.params
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(relax.op.abs(x))
        builder.emit_func_output(y)
    return builder.get()["main"].with_attrs(dict(function.attrs))


def test_it_runs_in_another_process(model_path: ModelPath, tmp_path: Path) -> None:
    data = model_path("tiny_conv_int8").read_bytes()
    library = built(data, {1: "llvm", 5: "llvm"})
    library.export_library(str(tmp_path / "model.so"))
    inputs = random_inputs(data, seed=5)
    np.save(tmp_path / "x.npy", inputs[0])
    code = (
        "import numpy as np, tvm\n"
        "from tdse.runtime import native\n"
        "native.register()\n"
        "library = tvm.runtime.load_module('model.so')\n"
        "main = tvm.relax.VirtualMachine(library, tvm.cpu())['main']\n"
        "np.save('y.npy', main(tvm.runtime.tensor(np.load('x.npy'))).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), run_litert(data, inputs)[0])


def test_a_module_that_is_not_partitioned(model_path: ModelPath) -> None:
    with pytest.raises(TdseError, match=r"not partitioned.*run tdse.relax.Partition"):
        tdse.relax.build(tdse.relax.from_tflite(model_path("tiny_float")))


def test_a_region_that_was_removed() -> None:
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    del module["region1_llvm"]
    with pytest.raises(TdseError, match="regions of the IRModule are not all"):
        tdse.relax.build(module)


def test_regions_that_disagree_on_threads() -> None:
    module = partitioned(RUNNABLE["variable_tensor"](), {2: "llvm"})
    region = module["region1_llvm"].with_attr("tdse.threads", 2)
    module.update_func(module.get_global_var("region1_llvm"), region)
    with pytest.raises(TdseError, match="thread counts 1 and 2"):
        tdse.relax.build(module)


def test_an_operator_that_the_target_cannot_run() -> None:
    with pytest.raises(TargetError, match=r"1:svdf.*it keeps a state between runs"):
        built(RUNNABLE["variable_tensor"](), {1: "llvm"})


def test_a_module_without_an_executor(model_path: ModelPath) -> None:
    module = tdse.relax.from_tflite(model_path("tiny_float"))
    library = tvm.compile(module, target="llvm").mod
    with pytest.raises(ArtefactError, match="holds no executor"):
        executor_of(library)
