"""What edgetpu_compiler may do wrong, each told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tdse.edgetpu.blob import Compiled
from tdse.edgetpu.compiler import COMPILER, LogLine, compile_slices, read_log
from tdse.errors import (
    ArtefactError,
    CompilerCrashError,
    CompilerMissingError,
    CompilerOutputError,
    CompilerTimeoutError,
    PartialMappingError,
    TargetError,
    TdseError,
)
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.slice import slice_model
from tdse.targets import get_target


@pytest.fixture
def slices(graph: Graph) -> tuple[bytes, ...]:
    return (slice_model(graph, [1]).data, slice_model(graph, [1, 2]).data)


def test_regions_are_compiled_together(
    graph: Graph, slices: tuple[bytes, ...], use_compiler: Callable[[str], None]
) -> None:
    use_compiler("whole")
    compiled = compile_slices(slices)
    assert [each.slice_ for each in compiled] == list(slices)
    for each in compiled:
        made = read_tflite(each.compiled)
        assert [op.tflite_name for op in made.ops] == ["edgetpu-custom-op"]
        assert each.compiler == "16.0.384591198"
        assert Compiled.from_bytes(each.to_bytes()) == each
    target = get_target("edgetpu:1")
    regions = [Region(0, "edgetpu:1", (1,)), Region(1, "edgetpu:1", (2,))]
    first = target.compile(graph, regions, 1).regions[0]
    assert first.kind == "edgetpu" and first.blob is not None
    kept = Compiled.from_bytes(first.blob)
    assert kept.device == 1 and kept.slice_ == slices[0]
    assert kept.runtime == 14 and b"for runtime 14" in kept.compiled
    older = get_target("edgetpu:1@13").compile(graph, regions[:1], 1).regions[0]
    assert older.blob is not None
    kept = Compiled.from_bytes(older.blob)
    assert kept.device == 1 and kept.runtime == 13 and b"for runtime 13" in kept.compiled


def test_the_variable_may_name_a_relative_path(
    slices: tuple[bytes, ...],
    use_compiler: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_compiler("whole")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(COMPILER, "compiler.sh")
    assert len(compile_slices(slices)) == 2


@pytest.mark.parametrize(
    ("behaviour", "kind", "text"),
    [
        ("fails", CompilerCrashError, "ended with status 1: Compilation failed: Model failed in"),
        ("crashes", CompilerCrashError, "was killed by SIGSEGV"),
        ("nothing", CompilerOutputError, "wrote no model"),
        ("garbage", CompilerOutputError, "wrote no model that can be read"),
        ("other borders", CompilerOutputError, "made a model of other outputs"),
        (
            "partial",
            PartialMappingError,
            "2 CONV_2D: More than one subgraph is not supported; 1 ARG_MAX: Operation is working",
        ),
    ],
)
def test_each_failure_has_its_error(
    behaviour: str,
    kind: type[TargetError],
    text: str,
    slices: tuple[bytes, ...],
    use_compiler: Callable[[str], None],
) -> None:
    use_compiler(behaviour)
    with pytest.raises(kind) as caught:
        compile_slices(slices[1:], where="flattened")
    assert text in str(caught.value) and str(caught.value).startswith("flattened: ")
    # It comes whole out of the process in which a model is built.
    assert type(TdseError.from_dict(caught.value.as_dict())) is kind


def test_a_compiler_that_hangs_is_stopped(
    slices: tuple[bytes, ...], use_compiler: Callable[[str], None]
) -> None:
    use_compiler("hangs")
    with pytest.raises(CompilerTimeoutError, match=r"longer than 0\.3 s and was stopped"):
        compile_slices(slices, timeout_s=0.3)


def test_no_compiler(
    slices: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CompilerMissingError, match="is not on the PATH"):
        compile_slices(slices)
    monkeypatch.setenv(COMPILER, str(tmp_path / "none"))
    with pytest.raises(CompilerMissingError, match="none, which cannot be run"):
        compile_slices(slices)
    assert not get_target("edgetpu").available().ok


def test_the_log_is_read() -> None:
    text = (
        "Operator                       Count      Status\n\n"
        "ADD                            1          More than one subgraph is not supported\n"
        "CUSTOM                         1          Operation is working on an unsupported data type"
        "\nMAX_POOL_2D                    12         Mapped to Edge TPU\n"
    )
    assert read_log(text) == [
        LogLine("ADD", 1, "More than one subgraph is not supported"),
        LogLine("CUSTOM", 1, "Operation is working on an unsupported data type"),
        LogLine("MAX_POOL_2D", 12, "Mapped to Edge TPU"),
    ]


def test_damaged_regions_are_refused() -> None:
    data = Compiled(b"slice", b"compiled", "16", 14).to_bytes()
    for broken in (data[:-1], b"other" + data, data.replace(b"compiled", b"compulsd", 1)):
        with pytest.raises(ArtefactError, match="a region for the Edge TPU is damaged"):
            Compiled.from_bytes(broken)
    header = data[12:]
    assert hashlib.sha256(b"slice").hexdigest().encode() in header


@pytest.mark.parametrize("name", ["edgetpu:x", "edgetpu:-1", "edgetpu:0@11", "edgetpu:0@new"])
def test_targets_that_are_none(name: str) -> None:
    with pytest.raises(TargetError, match="say edgetpu, edgetpu:1 or edgetpu:1@13"):
        get_target(name)
