"""Native code that crashes or hangs is a reason, and not the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import demand_right, sabotage

import tdse
from tdse.bench import bench
from tdse.errors import TdseError
from tdse.explain import explain
from tdse.graph.reader import read_tflite
from tdse.search.placement import load_placement

pytestmark = pytest.mark.tvm

# Runs ``FAULT`` when an operator of kind relu is measured on llvm.
_WHILE_MEASURING = """
import os, time
import tdse.measure.ops as ops
record = ops._record
def faulty(point, outcome, values, store):
    item = point.item
    if item.target == "llvm" and point.compiled.graph.ops[item.op].kind == "relu":
        FAULT
    return record(point, outcome, values, store)
ops._record = faulty
"""
_WHILE_COMPILING = """
import ctypes
import tdse.measure.ops as ops
compile_regions = ops.compile_regions
def faulty(graph, regions, **options):
    kinds = {graph.ops[op].kind for region in regions for op in region.ops}
    if regions[0].device == "llvm" and "relu" in kinds:
        ctypes.string_at(0)
    return compile_regions(graph, regions, **options)
ops.compile_regions = faulty
"""
_WITHOUT_MEMORY = """
import tdse.measure.activations as activations
def faulty(graph, seed):
    raise MemoryError("Unable to allocate 8.00 GiB")
activations.random_inputs = faulty
"""
_WHILE_BUILDING = """
import os
import tdse.verify as verify
compile_regions = verify.compile_regions
def faulty(graph, regions, **options):
    if any(region.device == "llvm" for region in regions):
        os.abort()
    return compile_regions(graph, regions, **options)
verify.compile_regions = faulty
"""
_WHILE_WRITING = """
import os
import tdse.relax
tdse.relax.build = lambda module: os.abort()
"""
_WHILE_BUILDING_AS_TVM_DOES = """
import os
import tvm.relax.frontend.tflite as frontend
frontend.from_tflite = lambda model: os.abort()
"""
_WHILE_RACING = """
import os
import tdse.runtime.native as native
native.load_library = lambda path: os.abort()
"""
_WHILE_ASKING = """
import os
import tdse.targets.litert as litert
supports = litert.LitertTarget.supports
def faulty(self, graph, op):
    if graph.ops[op].kind == "reshape":
        os.abort()
    return supports(self, graph, op)
litert.LitertTarget.supports = faulty
"""

Break = Callable[..., None]


@pytest.fixture
def break_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = tmp_path / "sabotage"
    directory.mkdir()

    def apply(code: str, worker: str = "tdse.child_worker") -> None:
        for name, value in sabotage(directory, worker, code).items():
            monkeypatch.setenv(name, value)

    return apply


def _refused(model: Path, kind: str) -> str:
    """Why the operators of a kind may not run on llvm; empty if they may."""
    rows = [row for row in explain(read_tflite(model)) if row.label.endswith(f":{kind}")]
    (why,) = {dict(row.refused).get("llvm", "") for row in rows}
    return why


def _compiled(model: Path, out: Path, *, budget_s: float = 60.0) -> dict[str, str]:
    """Compile; the target of each kind of operator."""
    tdse.compile(model, out=out, budget_s=budget_s, threads=1)
    demand_right(out, model)
    return {op.label.split(":")[1]: op.target for op in load_placement(out / "placement.json").ops}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (_WHILE_MEASURING.replace("FAULT", "os.abort()"), "measuring it crashed .* SIGABRT"),
        (_WHILE_COMPILING, "measuring it crashed .* SIGSEGV"),
    ],
)
def test_a_crash_refuses_the_operator_on_its_target(
    code: str, why: str, break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(code)
    assert _compiled(tiny_float, tmp_path / "out")["relu"] == "litert"
    assert re.search(why, _refused(tiny_float, "relu"))
    assert not _refused(tiny_float, "conv2d")


def test_a_hang_refuses_the_operator_on_its_target(
    break_worker: Break, tiny_float: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdse.child.SILENT_S", 6.0)
    break_worker(_WHILE_MEASURING.replace("FAULT", "time.sleep(1000)"))
    # Both operators of the kind hang, and nothing else may be left out because of that.
    assert _compiled(tiny_float, tmp_path / "out")["relu"] == "litert"
    assert "did not finish within 6 s" in _refused(tiny_float, "relu")


def test_an_operator_that_crashes_litert_is_named(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WHILE_ASKING)
    with pytest.raises(TdseError, match=r"op \d:reshape .*crashed the process with SIGABRT"):
        tdse.compile(tiny_float, out=tmp_path / "out", targets=["litert"], budget_s=10)
    assert not (tmp_path / "out").exists()


def test_explaining_survives_an_operator_that_crashes_litert(
    break_worker: Break, tiny_float: Path
) -> None:
    break_worker(_WHILE_ASKING)
    rows = explain(read_tflite(tiny_float), targets=["litert"])
    refused = {row.label: row.refused for row in rows if row.refused}
    assert list(refused) == ["5:reshape"]
    assert refused["5:reshape"] == (("litert", "compiling it crashed the process with SIGABRT"),)


def test_memory_that_runs_out_is_an_error(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WITHOUT_MEMORY)
    with pytest.raises(TdseError, match=r"tiny_float: memory ran out: .* 8.00 GiB; use a machine"):
        tdse.compile(tiny_float, out=tmp_path / "out", targets=["litert"], budget_s=5)


def test_a_kill_from_outside_refuses_nothing(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WHILE_MEASURING.replace("FAULT", "os.kill(os.getpid(), 9)"))
    with pytest.raises(TdseError, match="was killed: SIGKILL"):
        tdse.compile(tiny_float, out=tmp_path / "out", budget_s=10, threads=1)
    assert not any(row.refused for row in explain(read_tflite(tiny_float)))


def test_a_candidate_that_crashes_loses(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WHILE_RACING, "tdse.measure.race_worker")
    targets = _compiled(tiny_float, tmp_path / "out")
    assert set(targets.values()) == {"litert"}
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert "signal SIGABRT" in json.dumps(metadata["contest"])


def test_a_candidate_whose_building_crashes_loses(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WHILE_BUILDING)
    assert set(_compiled(tiny_float, tmp_path / "out").values()) == {"litert"}
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    reasons = {row["name"]: row.get("not_timed", "") for row in metadata["contest"]}
    assert any("building it crashed the process with SIGABRT" in why for why in reasons.values())


def test_a_crash_while_the_module_is_written(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    break_worker(_WHILE_WRITING)
    with pytest.raises(TdseError, match=r"cannot be built: building it crashed .* SIGABRT"):
        tdse.compile(tiny_float, out=tmp_path / "out", targets=["litert"], budget_s=5, threads=1)
    assert not (tmp_path / "out").exists()


def test_a_peer_whose_building_crashes_is_left_out(
    break_worker: Break, tiny_float: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tdse.compile(tiny_float, out=out, targets=["litert"], budget_s=5, threads=1)
    break_worker(_WHILE_BUILDING_AS_TVM_DOES)
    report = bench(out, against=["tvm"], launches=1, seconds=0.1)
    (row,) = [row for row in report.rows if row.name == "tvm default"]
    assert row.why_not == "building it crashed the process with SIGABRT"
