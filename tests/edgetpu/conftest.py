"""A compiler and delegates that stand in for Google's, and a model of which one operator is tried.

What the delegate computes is a copy, so that the operator on the Edge TPU is a RESHAPE.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import NetworkBuilder, Operator, Subgraph, Tensor, write_model
from tdse.edgetpu import compiler, delegate
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks")]

UseCompiler = Callable[[str], None]
UseDelegate = Callable[..., str]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine, nor of a test before."""
    monkeypatch.delenv(compiler.COMPILER, raising=False)
    monkeypatch.delenv(delegate.LIBRARY, raising=False)
    monkeypatch.setattr(compiler, "find_program", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    compiler.compile_slices.cache_clear()
    delegate.demand_devices.cache_clear()


@pytest.fixture
def real_edgetpu(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own compiler and Edge TPU, or a skip with what is missing."""
    monkeypatch.undo()
    if compiler.find_compiler() is None:
        pytest.skip(compiler.why_no_compiler())
    try:
        delegate.demand_devices(1)
    except TargetError as error:
        pytest.skip(str(error))


@pytest.fixture
def use_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UseCompiler:
    """Makes a stub of the given behaviour the compiler."""

    def use(behaviour: str) -> None:
        script = tmp_path / "compiler.sh"
        command = shlex.join([sys.executable, str(HERE / "stub_compiler.py"), behaviour])
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv(compiler.COMPILER, str(script))

    return use


@pytest.fixture(scope="session")
def built_delegates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds a delegate with macros, once each."""
    folder = tmp_path_factory.mktemp("delegates")

    def build(*macros: str) -> Path:
        library = folder / f"libstub_{'_'.join(macros) or 'good'}.so".replace("=", "_")
        if not library.exists():
            command = ["cc", "-shared", "-fPIC", "-w", *(f"-D{macro}" for macro in macros)]
            command += [str(HERE / "stub_delegate.c"), "-o", str(library)]
            subprocess.run(command, check=True)
        return library

    return build


@pytest.fixture
def use_delegate(
    built_delegates: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> UseDelegate:
    """Makes a delegate built with macros libedgetpu; gives its path."""

    def use(*macros: str) -> str:
        library = str(built_delegates(*macros))
        monkeypatch.setenv(delegate.LIBRARY, library)
        return library

    return use


@pytest.fixture(scope="session")
def flattened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 model: CONV_2D, RESHAPE, FULLY_CONNECTED."""
    network = NetworkBuilder(seed=5)
    samples = np.random.default_rng(5).standard_normal((4, 6, 6, 4)).astype(np.float32)
    x = network.conv2d(network.input("image", samples), 4, 3, name="conv")
    flat = network.reshape(x, (1, 144))
    path = tmp_path_factory.mktemp("models") / "flattened.tflite"
    path.write_bytes(network.int8({"y": network.fully_connected(flat, 5)}, "flattened"))
    return path


@pytest.fixture(scope="session")
def graph(flattened: Path) -> Graph:
    """The same, read."""
    return read_tflite(flattened)


@pytest.fixture(scope="session")
def cut_in_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions before and behind an ABS, which the Edge TPU has not."""
    path = tmp_path_factory.mktemp("models") / "cut.tflite"
    path.write_bytes(convolutions_around_abs())
    return path


def convolutions_around_abs(channels: int = 64) -> bytes:
    """Convolutions before and behind an operator that the Edge TPU has not."""
    random = np.random.default_rng(1)
    shape = (1, 32, 32, channels)

    def image(name: str) -> Tensor:
        return Tensor(name, shape, "int8", scales=(0.1,), zero_points=(0,))

    tensors, operators = [image("t0")], []
    for i, code in enumerate(("CONV_2D", "CONV_2D", "ABS", "CONV_2D", "CONV_2D")):
        before = len(tensors) - 1 if i else 0
        given = (before,)
        options: object | None = schema.AbsOptionsT()
        if code == "CONV_2D":
            data = random.integers(-99, 99, (channels, 3, 3, channels)).astype(np.int8)
            bias = random.integers(-99, 99, channels).astype(np.int32)
            zeros = (0,) * channels
            tensors.append(Tensor(f"w{i}", data.shape, "int8", data, (0.01,) * channels, zeros))
            tensors.append(Tensor(f"b{i}", bias.shape, "int32", bias, (0.001,) * channels, zeros))
            given = (before, len(tensors) - 2, len(tensors) - 1)
            options = schema.Conv2DOptionsT()
            options.strideW = options.strideH = 1
        tensors.append(image(f"y{i}"))
        operators.append(Operator(code, given, (len(tensors) - 1,), options))
    return write_model([Subgraph(tensors, operators, (0,), (len(tensors) - 1,))])
