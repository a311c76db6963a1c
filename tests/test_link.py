"""Which compiler links, and what is said if it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdse.errors import TdseError
from tdse.link import find_linker, write_library


def _program(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)


def test_the_first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clang = _program(tmp_path / "a" / "clang++")
    gcc = _program(tmp_path / "b" / "g++")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b")
    assert find_linker() == gcc
    gcc.chmod(0o644)
    assert find_linker() == clang


def test_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "g++")
    _program(tmp_path / "bin" / "g++")
    monkeypatch.chdir(tmp_path)
    for entries in ("", ".", "bin", "./bin:"):
        monkeypatch.setenv("PATH", entries)
        with pytest.raises(TdseError, match=r"no C\+\+ compiler.*apt-get install"):
            find_linker()


def test_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _program(tmp_path / "my c++")
    monkeypatch.setenv("CXX", str(mine))
    assert find_linker() == mine
    monkeypatch.setenv("CXX", "./my c++")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TdseError, match=r"relative path.*whole path"):
        find_linker()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TdseError, match="CXX=no-such-compiler"):
        find_linker()


@pytest.mark.tvm
@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        ("exit 1", "model.so cannot be linked"),
        ('[ "$1" = -dumpmachine ] && exec g++ "$@"; echo ld: no such file; exit 1', "no such file"),
    ],
    ids=["no triple", "no library"],
)
def test_a_compiler_that_fails(
    script: str, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tvm import tirx
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def nothing(x: T.Buffer((1,), "float32")) -> None:
        x[0] = T.float32(0)

    module = tirx.build(nothing, "llvm")
    compiler = _program(tmp_path / "g++", f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(TdseError, match=pattern) as caught:
        write_library(module, tmp_path / "model.so")
    assert caught.value.where == str(compiler)
    assert not (tmp_path / "model.so").exists()
