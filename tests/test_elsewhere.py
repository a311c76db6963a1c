"""Models that are compiled for a board that is not this machine."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from cross import (
    AARCH64,
    aarch64,
    machine_of,
    needs_cross_compiler,
    needs_emulator,
    run_under_qemu,
)
from litert_reference import random_inputs, run_litert
from tdse.assemble import compile_regions
from tdse.cli import tdsec
from tdse.errors import ArtefactError, PlacementError, TdseError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.graph.workload import workload
from tdse.link import find_linker
from tdse.measure.conditions import Conditions, current_conditions, library_versions
from tdse.measure.records import Record, RecordStore
from tdse.pipeline import CompileResult
from tdse.platform import load_platform
from tdse.report import write_report

pytestmark = [pytest.mark.tvm, pytest.mark.usefixtures("record_store_of_module")]

RPI4 = Conditions(
    "Raspberry Pi 4 Model B Rev 1.4", 4, (0, 1, 2, 3), "ondemand", 0.1, library_versions()
)


def _keep(graph: Graph, conditions: Conditions, times_us: dict[str, float]) -> None:
    """Records as if each operator had been measured to take so long on each target, 1 thread."""
    with closing(RecordStore(conditions)) as store:
        for target, time_us in times_us.items():
            store.add(
                [
                    Record(key, target, 1, (workload(graph, graph.ops[op]),), time_us, 1.0, 10)
                    for op, key in ((op, signature(graph, op)) for op in graph.placed_ops)
                ]
            )


@pytest.fixture(scope="module")
def compiled(
    tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory, record_store_of_module: None
) -> CompileResult:
    out = tmp_path_factory.mktemp("elsewhere") / "out"
    return tdse.compile(tiny_conv_int8, out=out, platform="rpi4", threads=1, budget_s=30)


@needs_cross_compiler
def test_without_records_this_machine_stands_in(compiled: CompileResult) -> None:
    assert machine_of(compiled.out / "model.so") == AARCH64
    metadata = json.loads((compiled.out / "metadata.json").read_text())
    assert metadata["cpu"]["isa"] == "aarch64"
    assert Path(metadata["linker"]).name == "aarch64-linux-gnu-g++"
    assert metadata["elsewhere"] == {
        "why": "cpu is aarch64, this machine is x86_64",
        "times_of": current_conditions().cpu,
        "is_its_own": False,
        "why_not_its_own": "there are no records of Raspberry Pi 4 Model B",
        "checked_on": f"x86_64, {current_conditions().cpu}",
    }
    assert {row["name"] for row in metadata["contest"]} >= {"litert x1", "llvm x1"}
    assert not any("measured_us" in row for row in metadata["contest"])
    assert {source for row in metadata["op_costs"]["source"] for source in row} <= {
        "predicted",
        "not legal",
    }
    assert compiled.outputs is not None and compiled.outputs.is_allowed


@needs_cross_compiler
def test_it_does_not_run_here(compiled: CompileResult) -> None:
    with pytest.raises(ArtefactError, match="it is for aarch64, this machine is x86_64"):
        tdse.load(compiled.out)


@needs_cross_compiler
def test_a_placement_can_be_given(compiled: CompileResult, tmp_path: Path) -> None:
    given = compiled.out / "placement.json"
    again = tdse.compile(
        compiled.metadata["model"]["path"],
        out=tmp_path / "out",
        platform="rpi4",
        placement=given,
    )
    assert again.placement == compiled.placement
    assert again.metadata["elsewhere"]["times_of"] == ""
    assert machine_of(again.out / "model.so") == AARCH64


@needs_cross_compiler
def test_records_of_the_board_decide(
    tiny_conv_int8: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    graph = read_tflite(tiny_conv_int8)
    _keep(graph, RPI4, {"litert": 2.0, "llvm": 9.0})
    _keep(graph, current_conditions(), {"litert": 9.0, "llvm": 2.0})
    arguments = [str(tiny_conv_int8), "-o", str(tmp_path / "out"), "--platform", "rpi4", "--strict"]
    assert tdsec.main(arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "placed by records of Raspberry Pi 4 Model B Rev 1.4" in printed
    assert "compiled for aarch64, nothing was timed: cpu is aarch64" in printed
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert metadata["elsewhere"]["is_its_own"] and metadata["threads"] == 1
    placement = json.loads((tmp_path / "out" / "placement.json").read_text())
    assert {region["target"] for region in placement["regions"]} == {"litert"}


def test_a_dry_run_and_reasons(
    tiny_conv_int8: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By records of this machine, by those of the board, and what is compiled for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model, board = str(tiny_conv_int8), ["--platform", "rpi4", "--threads", "1"]
    graph = read_tflite(tiny_conv_int8)
    _keep(graph, current_conditions(), {"litert": 9.0, "llvm": 2.0})
    assert tdsec.main([model, "--dry-run", *board]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "without being timed: cpu is aarch64, this machine is x86_64" in printed
    assert f"times are those of {current_conditions().cpu} litert x1: 0 of" in printed
    assert "expected: llvm x1" in printed
    _keep(graph, RPI4, {"litert": 2.0, "llvm": 9.0})
    assert tdsec.main([model, "--dry-run", *board]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "times are those of Raspberry Pi 4 Model B Rev 1.4 measuring" in printed
    assert "expected: nothing is gained on litert x1" in printed
    assert tdsec.main([model, "--explain", *board[:2]]) == 0
    assert "0:conv2d: litert, llvm" in capsys.readouterr().out


@needs_emulator
def test_the_network_runs_on_such_a_processor(tiny_conv_int8: Path, tmp_path: Path) -> None:
    graph, processor = read_tflite(tiny_conv_int8), aarch64("cortex-a72", ("asimd", "crc32", "fp"))
    regions = [Region(0, "llvm", graph.placed_ops)]
    assembly = compile_regions(graph, regions, threads=1, processor=processor).whole()
    inputs = random_inputs(graph.data)
    for ours, theirs in zip(
        run_under_qemu(assembly, processor, inputs, tmp_path),
        run_litert(graph.data, inputs),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_report_of_a_board_like_this_one(tiny_conv_int8: Path, tmp_path: Path) -> None:
    """It has more cores, so that it is another machine, which can run what it is given."""
    cpu = load_platform("host").devices[0]
    board = tmp_path / "board.toml"
    board.write_text(
        f'name = "b"\n[[devices]]\nname = "cpu"\ntargets = ["litert", "llvm"]\n'
        f'cores = {cpu.cores + 1}\ntriple = "{cpu.triple}"\nmcpu = "{cpu.mcpu}"\n'
        f"features = {json.dumps(cpu.features)}\n"
    )
    out = tmp_path / "out"
    made = tdse.compile(tiny_conv_int8, out=out, platform=str(board), threads=1)
    assert f"cpu has {cpu.cores + 1} cores" in made.metadata["elsewhere"]["why"]
    inputs = random_inputs(tiny_conv_int8)
    for ours, theirs in zip(
        tdse.load(out).run(inputs), run_litert(tiny_conv_int8, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    page = write_report(out).path.read_text()
    assert "Compiled elsewhere" in page and "Nothing was timed: cpu has" in page


@needs_cross_compiler
def test_the_pass_and_the_build(
    tiny_conv_int8: Path, compiled: CompileResult, tmp_path: Path
) -> None:
    from tvm.support import cc

    module = tdse.relax.from_tflite(tiny_conv_int8)
    module = tdse.relax.Partition("rpi4", placement=compiled.placement)(module)
    assert json.loads(str(module.attrs["tdse.processor"]))["mcpu"] == "cortex-a72"
    library = tdse.relax.build(module)
    linker = str(find_linker(load_platform("rpi4").devices[0]))
    triple = cc.get_target_by_dump_machine(linker)
    compiler = cc.cross_compiler(linker, get_target_triple=triple)
    library.export_library(str(tmp_path / "model.so"), fcompile=compiler)
    assert machine_of(tmp_path / "model.so") == AARCH64


@needs_cross_compiler
@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"objective": "pareto"}, UsageError, "a front is made of measured times"),
        ({"targets": ["opencl"]}, UsageError, "platform rpi4 has no target 'opencl'"),
        (
            {"strict": True, "threads": 1},
            PlacementError,
            "no record of it from that machine",
        ),
        ({"pins": ["conv2d=tpu"]}, UsageError, "conv2d=tpu"),
    ],
)
def test_what_is_refused(
    options: dict[str, Any],
    kind: type[TdseError],
    text: str,
    compiled: CompileResult,
    tmp_path: Path,
) -> None:
    model = compiled.metadata["model"]["path"]
    with pytest.raises(kind) as caught:
        tdse.compile(model, out=tmp_path / "out", platform="rpi4", **options)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ('triple = "armv7l-linux-gnueabihf"', "is no processor that tdse compiles for"),
        ("", "it has no triple"),
        ('triple = "aarch64-linux-gnu"\nmcpu = "cortex-a27"', "LLVM knows no processor"),
        ('triple = "aarch64-none-elf"', "apt-get install g++-aarch64-none-elf"),
    ],
)
def test_processors_that_cannot_be_compiled_for(
    keys: str, text: str, tiny_conv_int8: Path, tmp_path: Path
) -> None:
    board = tmp_path / "board.toml"
    board.write_text(f'name = "b"\n[[devices]]\nname = "cpu"\ntargets = ["litert"]\n{keys}\n')
    with pytest.raises(TdseError) as caught:
        tdse.compile(tiny_conv_int8, out=tmp_path / "out", platform=str(board))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_targets_that_compile_for_this_machine_only(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    regions = [Region(0, "openvino", graph.placed_ops)]
    with pytest.raises(TdseError, match="target openvino compiles for this machine only"):
        compile_regions(graph, regions, threads=1, processor=aarch64("cortex-a72"))


def test_without_a_cross_compiler(
    tiny_conv_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TdseError) as caught:
        tdse.compile(tiny_conv_int8, out=tmp_path / "out", platform="rpi4")
    assert str(caught.value) == (
        "PATH: there is no C++ compiler that links for aarch64-linux-gnu: aarch64-linux-gnu-g++ "
        "is not found; install one, on Debian with apt-get install g++-aarch64-linux-gnu"
    )
