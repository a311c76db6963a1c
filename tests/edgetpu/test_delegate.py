"""What libedgetpu may do wrong, each found in a child process and told apart."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from cross import AARCH64, machine_of, needs_cross_compiler
from tdse.edgetpu.compiler import compile_slices
from tdse.edgetpu.delegate import LIBRARY, demand_devices, demand_runs
from tdse.errors import (
    ArtefactError,
    DelegateCrashError,
    DelegateMissingError,
    DelegateRefusedError,
    DelegateSymbolError,
    DelegateTimeoutError,
    DelegateUnusedError,
    NoEdgeTpuError,
    TargetError,
    UsageError,
)
from tdse.graph.model import Graph
from tdse.graph.slice import slice_model
from tdse.runtime.litert import run_litert

UseCompiler = Callable[[str], None]
UseDelegate = Callable[..., str]
BOARD = "rpi4-coral-usb3"


@pytest.fixture
def compiled(graph: Graph, use_compiler: UseCompiler) -> bytes:
    """A RESHAPE that was compiled."""
    use_compiler("whole")
    return compile_slices((slice_model(graph, [1]).data,))[0].compiled


def test_a_delegate_that_works(compiled: bytes, use_delegate: UseDelegate) -> None:
    library = use_delegate()
    assert demand_devices(1) == library
    demand_runs(library, compiled, 0)


def test_the_variable_may_name_a_relative_path(
    use_delegate: UseDelegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Path(use_delegate())
    monkeypatch.chdir(library.parent)
    monkeypatch.setenv(LIBRARY, library.name)
    assert demand_devices(1) == str(library)


@pytest.mark.parametrize(
    ("macros", "kind", "text"),
    [
        (("LACKS_LIST",), DelegateSymbolError, "it has no edgetpu_list_devices, edgetpu_free"),
        (("CRASHES_LISTING",), DelegateCrashError, "SIGABRT in listing devices"),
        (("DEVICES=0",), NoEdgeTpuError, "no Edge TPU is attached"),
        (("DEVICES=2",), NoEdgeTpuError, "only 2 Edge TPUs are attached: the artefact needs 3"),
    ],
)
def test_devices_that_cannot_be_listed(
    macros: tuple[str, ...], kind: type[TargetError], text: str, use_delegate: UseDelegate
) -> None:
    use_delegate(*macros)
    with pytest.raises(kind) as caught:
        demand_devices(3)
    assert text in str(caught.value)


def test_a_delegate_that_hangs(use_delegate: UseDelegate) -> None:
    use_delegate("HANGS")
    with pytest.raises(DelegateTimeoutError, match="does not answer within 2 s: it hangs in list"):
        demand_devices(1, timeout_s=2)


@pytest.mark.parametrize(
    ("macro", "kind", "text"),
    [
        ("REFUSES", DelegateRefusedError, "fails in opening a device"),
        ("TAKES_NOTHING", DelegateUnusedError, "takes none of the operators"),
        ("CRASHES_RUNNING", DelegateCrashError, "SIGABRT in running the region"),
    ],
)
def test_regions_that_do_not_run(
    macro: str, kind: type[TargetError], text: str, compiled: bytes, use_delegate: UseDelegate
) -> None:
    library = use_delegate(macro)
    with pytest.raises(kind) as caught:
        demand_runs(library, compiled, 0)
    assert text in str(caught.value)


def test_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DelegateMissingError, match="the loader knows no libedgetpu"):
        demand_devices(1)
    (tmp_path / "text.so").write_text("no library")
    monkeypatch.setenv(LIBRARY, str(tmp_path / "text.so"))
    with pytest.raises(DelegateRefusedError, match="fails in loading it"):
        demand_devices(1)


def test_a_model_runs_on_hardware(
    flattened: Path,
    graph: Graph,
    tmp_path: Path,
    use_compiler: UseCompiler,
    use_delegate: UseDelegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compile, load and run, with a compiler and a delegate that copy; then lose the hardware."""
    use_compiler("whole")
    use_delegate()
    out = tmp_path / "out"
    pins = ("conv2d=cpu", "reshape=tpu", "fully_connected=cpu")
    result = tdse.compile(flattened, out=out, platform=BOARD, edgetpu="hardware", pins=pins)
    assert result.metadata["region_kinds"] == ["litert", "edgetpu", "litert"]
    assert result.metadata["edgetpus"] == 1 and "emulated" not in result.metadata
    assert result.difference is not None and result.difference.is_exact
    x = np.random.default_rng(0).integers(-128, 128, (1, 6, 6, 4)).astype(np.int8)
    expected = run_litert(graph.data, [x])[0]
    model = tdse.load(out)
    assert np.array_equal(model(x), expected)

    monkeypatch.delenv(LIBRARY)
    demand_devices.cache_clear()
    with pytest.raises(DelegateMissingError, match="there is no libedgetpu"):
        tdse.load(out)
    use_delegate("TAKES_NOTHING")
    demand_devices.cache_clear()
    with pytest.raises(DelegateUnusedError, match="takes none of the operators"):
        tdse.load(out)(x)


def test_an_artefact_is_compiled_where_there_is_no_hardware(
    flattened: Path, tmp_path: Path, use_compiler: UseCompiler
) -> None:
    use_compiler("whole")
    out = tmp_path / "out"
    given: dict[str, Any] = {"pins": ("reshape=tpu", "conv2d=cpu", "fully_connected=cpu")}
    # Without a triple, the CPU is taken for one like that of this machine.
    preset = (resources.files("tdse.platform") / f"presets/{BOARD}.toml").read_text()
    alike = tmp_path / "board.toml"
    alike.write_text(re.sub(r"(?m)^(triple|mcpu) = .*\n", "", preset))
    tdse.compile(flattened, out=out, platform=str(alike), edgetpu="compile-only", **given)
    with pytest.raises(DelegateMissingError):
        tdse.load(out)
    with pytest.raises(DelegateMissingError):
        tdse.compile(flattened, out=out, platform=BOARD, edgetpu="hardware", **given)


@needs_cross_compiler
def test_an_artefact_is_linked_for_the_board(
    flattened: Path, tmp_path: Path, use_compiler: UseCompiler
) -> None:
    use_compiler("whole")
    out = tmp_path / "out"
    made = tdse.compile(
        flattened, out=out, platform=BOARD, edgetpu="compile-only", pins=["reshape=tpu"]
    )
    assert machine_of(out / "model.so") == AARCH64
    assert made.metadata["cpu"] == {"isa": "aarch64", "features": []}
    assert made.metadata["elsewhere"]["why"] == "cpu is aarch64, this machine is x86_64"
    assert made.metadata["edgetpus"] == 1
    with pytest.raises(ArtefactError, match="it is for aarch64"):
        tdse.load(out)


def test_modes_are_explicit(flattened: Path, tmp_path: Path) -> None:
    for given, text in (
        ({"platform": BOARD}, "--edgetpu hardware or compile-only"),
        ({"platform": BOARD, "edgetpu": "cpu"}, "there is no mode 'cpu'"),
        ({"platform": BOARD, "edgetpu": "hardware", "emulate": "timing"}, "leave one out"),
        ({"platform": "zynq", "edgetpu": "hardware"}, "has no Edge TPU"),
        ({"platform": "host", "edgetpu": "hardware"}, "has no Edge TPU"),
    ):
        with pytest.raises(UsageError, match=text):
            tdse.compile(flattened, out=tmp_path / "out", **given)


@pytest.mark.edgetpu
def test_real_hardware(flattened: Path, graph: Graph, tmp_path: Path, real_edgetpu: None) -> None:
    """With Google's compiler and an Edge TPU: results differ by few steps from the CPU's."""
    out = tmp_path / "out"
    tdse.compile(flattened, out=out, platform=BOARD, edgetpu="hardware", pins=["conv2d=tpu"])
    x = np.random.default_rng(0).integers(-128, 128, (1, 6, 6, 4)).astype(np.int8)
    expected = run_litert(graph.data, [x])[0].astype(int)
    assert np.abs(tdse.load(out)(x).astype(int) - expected).max() <= 4
