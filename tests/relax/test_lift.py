"""Modules of other importers: lifted, placed on several targets, built and loaded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tvm = pytest.importorskip("tvm")

import tvm_ffi  # noqa: E402 - needs tvm
from imported import NETWORKS, Array  # noqa: E402
from relax_helpers import functions_in, placed, run, shown_functions  # noqa: E402
from tvm import relax  # noqa: E402

import tdse.relax  # noqa: E402
from tdse.errors import TdseError, UsageError  # noqa: E402
from tdse.graph.model import Graph  # noqa: E402
from tdse.graph.signature import signature  # noqa: E402
from tdse.legality import find_legality  # noqa: E402
from tdse.lifted.reference import reference_values  # noqa: E402
from tdse.measure.conditions import current_conditions  # noqa: E402
from tdse.measure.records import RecordStore  # noqa: E402
from tdse.relax.attributes import attribute, graph_of  # noqa: E402
from tdse.search.placement import Placement  # noqa: E402

REPOSITORY = Path(__file__).parent.parent.parent
ModelPath = Callable[[str], Path]


def network(product_name: str = "product", divisor: int = 12) -> tvm.IRModule:
    """A matrix product with what follows it, without any importer."""
    weight = relax.const(np.arange(12, dtype=np.float32).reshape(4, 3) / np.float32(divisor))
    bias = relax.const(np.ones(3, np.float32))
    x = relax.Var("x", relax.TensorType((2, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x], attrs={"mine": 1}):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(x, weight), product_name)
            total = builder.emit(relax.op.add(product, bias), "total")
            flat = builder.emit(relax.op.nn.relu(total), "flat")
            y = builder.emit_output(relax.op.nn.softmax(flat), "y")
        builder.emit_func_output(y)
    return builder.get().with_attr("mine", 2)


def on_llvm(graph: Graph) -> Placement:
    return placed(graph, {}, others="llvm")


def demand_near(ours: list[Array], expected: list[Array]) -> None:
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libraries lie, with what they are given and what they must compute."""
    return tmp_path_factory.mktemp("exported")


@pytest.mark.opencl
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_run_on_llvm_and_opencl(name: str, exported: Path) -> None:
    module, inputs, expected = NETWORKS[name]()
    graph = graph_of(tdse.relax.lift(module))
    # A driver of OpenCL takes a second for each kernel.
    placement = placed(graph, {1: "opencl", 2: "opencl"}, others="llvm")
    assert {region.target for region in placement.regions} == {"llvm", "opencl"}
    compiled = tdse.relax.build(tdse.relax.Partition(placement=placement)(module))
    demand_near(run(compiled, inputs), expected)
    compiled.export_library(str(exported / f"{name}.so"))
    np.savez(exported / f"{name}.given.npz", *inputs)
    np.savez(exported / f"{name}.expected.npz", *expected)


_LOAD_ALL = """
import pathlib, numpy as np, tvm
for path in sorted(pathlib.Path().glob("*.so")):
    given = np.load(path.with_suffix(".given.npz"))
    main = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())["main"]
    y = main(*[tvm.runtime.tensor(given[n]) for n in given.files])
    results = [t.numpy() for t in ([y] if hasattr(y, "numpy") else y)]
    expected = np.load(path.with_suffix(".expected.npz"))
    for one, other in zip(results, [expected[n] for n in expected.files], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    print(path.stem)
"""


@pytest.mark.opencl
def test_exported_networks_run_in_a_new_process(exported: Path) -> None:
    names = sorted(path.stem for path in exported.glob("*.so"))
    if not names:
        pytest.skip("no network was exported by the tests before")
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL], cwd=exported, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


def test_the_ir_is_as_documented() -> None:
    x = relax.Var("x", relax.TensorType((1, 4), "float32"))
    w = relax.Var("w", relax.TensorType((4, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w]):
        with builder.dataflow():
            a = builder.emit(relax.op.matmul(x, w), "a")
            b = builder.emit(relax.op.nn.relu(a), "b")
            y = builder.emit_output(relax.op.nn.softmax(b), "y")
        builder.emit_func_output(y)
    before, after = shown_functions(tdse.relax.lift)
    assert functions_in(builder.get().script()) == before
    assert functions_in(tdse.relax.lift(builder.get()).script()) == after


def test_operators_are_groups_with_names_and_origins() -> None:
    graph = graph_of(tdse.relax.lift(network()))
    assert [op.label for op in graph.ops] == ["0:fully_connected", "1:softmax"]
    assert graph.ops[0].macs == 2 * 3 * 4
    assert graph.ops[0].parameter_bytes == (12 + 3) * 4
    functions = tdse.relax.lift(network()).functions.values()
    origins = {str(attribute(f, "tdse.origin")) for f in functions if attribute(f, "tdse.kind")}
    assert origins == {"relax:product+total+flat", "relax:y"}


def test_neither_names_nor_weights_make_another_operator() -> None:
    graphs = [graph_of(tdse.relax.lift(network(*given))) for given in ((), ("p", 7))]
    assert graphs[0].sha256 != graphs[1].sha256
    first, second = ([signature(graph, op) for op in graph.placed_ops] for graph in graphs)
    assert first == second
    assert first[0] != first[1]


def returning(kind: str) -> tvm.IRModule:
    """A module that returns what SPLIT gives, as it is or within another tuple."""
    x = relax.Var("x", relax.TensorType((2, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            parts = builder.emit(relax.op.split(x, 2, axis=1), "parts")
            y = builder.emit_output(relax.Tuple([parts]) if kind == "nested" else parts)
        builder.emit_func_output(y)
    return builder.get()


def test_a_tuple_that_an_operator_makes_is_returned() -> None:
    module = returning("as it is")
    placement = on_llvm(graph_of(tdse.relax.lift(module)))
    partitioned = tdse.relax.Partition(placement=placement)(module)
    assert tvm_ffi.structural_equal(partitioned["main"].ret_ty, module["main"].ret_ty)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    demand_near(run(tdse.relax.build(partitioned), [x]), [x[:, :2], x[:, 2:]])
    nested = returning("nested")
    with pytest.warns(UserWarning, match="parts is no tensor that an operator computes"):
        assert tdse.relax.Partition()(nested).same_as(nested)


def test_what_is_not_tdses_stays() -> None:
    module = network()
    module.update_global_info("mine", [relax.DummyGlobalInfo()])
    lifted = tdse.relax.lift(module)
    placement = on_llvm(graph_of(lifted))
    partitioned = tdse.relax.Partition(placement=placement)(module)
    linked = tdse.relax.Link()(partitioned)
    assert list(partitioned.global_infos) == ["mine"]
    for one in (partitioned, linked):
        assert int(attribute(one, "mine")) == 2
        assert int(attribute(one["main"], "mine")) == 1
        assert [p.name for p in one["main"].params] == ["x"]
    assert tdse.relax.Partition()(partitioned).same_as(partitioned)
    assert tdse.relax.Link()(linked).same_as(linked)
    assert tdse.relax.lift(lifted).same_as(lifted)


def test_the_pass_is_one_of_tvms(tmp_path: Path) -> None:
    seen = []

    @tvm.instrument.pass_instrument
    class Watch:
        def run_before_pass(self, module: Any, info: Any) -> None:
            seen.append(str(info.name))

    module = network()
    partition = tdse.relax.Partition(placement=on_llvm(graph_of(tdse.relax.lift(module))))
    with tvm.transform.PassContext(opt_level=3, instruments=[Watch()]):
        library = tvm.compile(
            module,
            tvm.target.Target("llvm"),
            relax_pipeline=tdse.relax.get_pipeline(partition=partition),
        )
    assert {"tdse.Partition", "tdse.Link"} <= set(seen)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    plain = run(tvm.compile(module, "llvm"), [x])
    demand_near(run(library, [x]), plain)
    library.export_library(str(tmp_path / "m.so"))
    demand_near(run(tvm.runtime.load_module(str(tmp_path / "m.so")), [x]), plain)


def test_without_a_tflite_origin_litert_is_not_legal(tmp_path: Path) -> None:
    graph = graph_of(tdse.relax.lift(network()))
    records = RecordStore(current_conditions(), tmp_path / "records.sqlite")
    with contextlib.closing(records) as store:
        legality = find_legality(graph, ["litert", "llvm"], store)
    assert "no TFLite origin" in legality.support["litert"][0].reason
    assert legality.support["llvm"][0].ok


def test_the_reference_is_what_tvm_computes() -> None:
    graph = graph_of(tdse.relax.lift(network()))
    x = np.random.default_rng(2).standard_normal((2, 4)).astype(np.float32)
    values = reference_values(graph, [x])
    product = np.maximum(x @ (np.arange(12, dtype=np.float32).reshape(4, 3) / 12) + 1, 0)
    np.testing.assert_allclose(values[1], product, rtol=1e-5)
    assert set(values) == {0, 1, 2}


def test_a_module_of_tvms_tflite_importer_regains_its_origin(model_path: ModelPath) -> None:
    import tflite
    from tvm.relax.frontend.tflite import from_tflite

    path = model_path("tiny_float")
    module = from_tflite(tflite.Model.GetRootAsModel(path.read_bytes(), 0))
    lifted = tdse.relax.lift(module, tflite_path=path)
    assert graph_of(lifted).data == path.read_bytes()
    with pytest.raises(UsageError, match="not what TVM imports from the file"):
        tdse.relax.lift(network(), tflite_path=path)
    with pytest.raises(UsageError, match="there is no such file"):
        tdse.relax.Partition(tflite_path=path.with_name("none.tflite"))(network())


def test_what_cannot_be_placed_stays_with_a_warning() -> None:
    n = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((n, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(relax.op.nn.relu(x))
        builder.emit_func_output(y)
    module = builder.get()
    with pytest.warns(UserWarning, match="x is no tensor of a known shape"):
        assert tdse.relax.Partition()(module).same_as(module)


def test_the_reasons_are_given_where_an_operator_runs_on_no_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    form = relax.TensorType((4,), "float32")
    x = relax.Var("x", form)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            call = relax.call_dps_packed("elsewhere", relax.Tuple([x]), form)
            y = builder.emit_output(call)
        builder.emit_func_output(y)
    module = builder.get()
    with pytest.warns(UserWarning) as caught:
        kept = tdse.relax.Partition(targets=["litert", "llvm"], budget_s=1)(module)
    assert kept.same_as(module)
    text = str(caught[0].message)
    assert "op 0:elsewhere" in text
    assert "litert: it has no TFLite origin" in text
    assert "llvm: it needs relax.call_dps_packed" in text


def test_effects_are_not_lost() -> None:
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x], pure=False):
        builder.emit(relax.op.print(format="hello"))
        builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))
    module = builder.get()
    with pytest.warns(UserWarning, match="stays as it is"):
        assert tdse.relax.Partition()(module).same_as(module)


def test_what_is_never_read_is_left_out() -> None:
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            builder.emit(relax.op.split(x, 2))
            y = builder.emit_output(relax.op.nn.relu(x))
        builder.emit_func_output(y)
    assert [op.label for op in graph_of(tdse.relax.lift(builder.get())).ops] == ["0:relu"]


def test_kernels_of_a_legalised_module_are_operators() -> None:
    module = relax.transform.LegalizeOps()(network())
    graph = graph_of(tdse.relax.lift(module))
    assert [op.kind for op in graph.ops] == ["matmul", "add", "relu", "softmax"]
    compiled = tdse.relax.build(tdse.relax.Partition(placement=on_llvm(graph))(module))
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    demand_near(run(compiled, [x]), run(tvm.compile(network(), "llvm"), [x]))


def test_it_runs_behind_tvms_rpc_server(tmp_path: Path) -> None:
    module = network()
    placement = on_llvm(graph_of(tdse.relax.lift(module)))
    compiled = tdse.relax.build(tdse.relax.Partition(placement=placement)(module))
    compiled.export_library(str(tmp_path / "network.so"))
    server = tvm.rpc.Server("127.0.0.1")
    try:
        remote = tvm.rpc.connect("127.0.0.1", server.port)
        remote.upload(str(tmp_path / "network.so"))
        machine = relax.VirtualMachine(remote.load_module("network.so"), remote.cpu())
        x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
        result = machine["main"](tvm.runtime.tensor(x, remote.cpu())).numpy()
        demand_near([result], run(tvm.compile(module, "llvm"), [x]))
    finally:
        server.terminate()


def test_a_module_that_is_not_in_normal_form_is_refused() -> None:
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    nested = relax.op.nn.relu(relax.op.nn.relu(x))
    y = relax.Var("y", relax.TensorType((4,), "float32"))
    block = relax.BindingBlock([relax.VarBinding(y, nested)])
    main = relax.Function([x], relax.SeqExpr([block], y), relax.TensorType((4,), "float32"))
    with pytest.raises(TdseError, match="not in normal form") as caught:
        tdse.relax.Partition()(tvm.IRModule({"main": main}))
    assert "Normalize" in str(caught.value)


def test_wrong_targets_are_told() -> None:
    graph = graph_of(tdse.relax.lift(network()))
    with pytest.raises(TdseError, match="nowhere"):
        tdse.relax.Partition(placement=placed(graph, {0: "nowhere"}, others="llvm"))(network())
    with pytest.raises(UsageError, match="has no target 'cuda:7'"):
        tdse.relax.Partition(targets=["cuda:7"])(network())


def test_the_example_has_two_lines_more_than_without_tdse(tmp_path: Path) -> None:
    example = REPOSITORY / "examples" / "tvm_compile.py"
    lines = example.read_text(encoding="utf-8").splitlines()
    with_tdse = [line for line in lines if "tdse" in line and not line.startswith('"""')]
    assert len(with_tdse) == 2
    assert all(line.endswith("# added") for line in with_tdse)
    plain, quick = tmp_path / "plain.py", tmp_path / "quick.py"
    plain.write_text("\n".join(line for line in lines if line not in with_tdse))
    # One target, because launches and transfers of each are measured first.
    options = 'partition=tdse.relax.Partition(targets=["llvm"], threads=1, budget_s=1)'
    quick.write_text("\n".join(lines).replace("get_pipeline()", f"get_pipeline({options})"))
    said = [
        subprocess.run(
            [sys.executable, str(script), "m.so"],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for script in (plain, quick)
    ]
    assert said[0] == said[1]
