"""Compiled kernels in the user's cache: taken up again, mended, bounded, shared by processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from target_models import run_compiled

from litert_reference import random_inputs, run_litert
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.targets import kernel_cache
from tdse.targets.kernel_cache import COMPILED

pytest.importorskip("tvm")
pytestmark = pytest.mark.tvm

from tdse.targets import llvm_build  # noqa: E402 - needs tvm
from tdse.targets.llvm import LlvmTarget  # noqa: E402

ModelPath = Callable[[str], Path]


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tdse" / "kernels"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes the symbols of kernels that TVM is asked for."""
    asked: list[str] = []
    compile_kernels = llvm_build.compile_kernels

    def counted(functions: Any, target: Any) -> Any:
        asked.extend(functions)
        return compile_kernels(functions, target)

    monkeypatch.setattr(llvm_build, "compile_kernels", counted)
    return asked


def run(path: Path) -> None:
    """Run a model on a target that knows of no earlier one, and compare with LiteRT."""
    graph, inputs = read_tflite(path), random_inputs(path)
    regions = [Region(0, "llvm", graph.placed_ops)]
    outputs = run_compiled(graph, regions, LlvmTarget().compile(graph, regions, 1), inputs)
    for output, expected in zip(outputs, run_litert(path, inputs), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_kernels_are_taken_up_and_mended(
    kernels: Path, compiled: list[str], model_path: ModelPath
) -> None:
    path = model_path("branches")
    run(path)
    # Equal names are of equal content: one file each.
    assert len(set(compiled)) == len(compiled) == len(list(kernels.iterdir())) > 3
    every = list(compiled)
    compiled.clear()
    run(path)
    assert compiled == []
    cut, flipped, *_ = sorted(kernels.iterdir())
    cut.write_bytes(cut.read_bytes()[:-100])
    data = bytearray(flipped.read_bytes())
    data[1000] ^= 1
    flipped.write_bytes(data)
    run(path)
    assert len(compiled) == 2
    assert set(compiled) <= set(every)
    compiled.clear()
    run(path)
    assert compiled == []


def test_oldest_are_removed(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache, "MOST_BYTES", 1000)
    monkeypatch.setattr(kernel_cache, "_KEPT_BYTES", 600)
    COMPILED.keep([(f"{i}", bytes(200)) for i in range(4)])
    for i in range(4):
        os.utime(kernels / f"{i}", (i, i))
    begun = kernels / "5.begun"
    begun.write_bytes(bytes(200))
    os.utime(begun, (0, 0))
    assert COMPILED.find("0") == bytes(200)
    COMPILED.keep([("4", bytes(200))])
    # Of 5 with 232 bytes each, two may stay: the one that was just read, and the newest.
    assert {path.name for path in kernels.iterdir()} == {"0", "4"}


def test_many_at_once_never_see_half_a_file(kernels: Path) -> None:
    data = [bytes([k]) * 300_000 for k in range(4)]
    seen: list[bytes | None] = []

    def write(k: int) -> None:
        for _ in range(30):
            COMPILED.keep([("same", data[k])])

    writers = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    COMPILED.keep([("same", data[0])])
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.append(COMPILED.find("same"))
    assert set(seen) <= set(data)
    assert [path.name for path in kernels.iterdir()] == ["same"]


def test_code_of_others_is_not_run(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    COMPILED.keep([("key", b"code")])
    assert COMPILED.find("key") == b"code"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert COMPILED.find("key") is None


def test_without_a_place_it_is_said(kernels: Path) -> None:
    kernels.parent.mkdir()
    kernels.write_text("no directory")
    with pytest.warns(UserWarning, match="compiled kernels are not kept: File exists"):
        COMPILED.keep([("key", b"code")])
    assert COMPILED.find("key") is None
