"""Which door into TVM there is, and what is said where there is none."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdse
from tdse.doors import DOORS, RELAX, RELAY, Door, tvm_versions
from tdse.errors import VersionError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Versions that are found anew, before and after."""
    tvm_versions.cache_clear()
    yield
    tvm_versions.cache_clear()


def install_tvm(
    version: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    representations: tuple[str, ...] = ("relax", "relay"),
) -> None:
    """Have Python find a TVM of a version, where TVM 0.x says it."""
    package = directory / "tvm"
    for name in ("_ffi", *representations):
        (package / name).mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_ffi" / "libinfo.py").write_text(f'__version__ = "{version}"\n')
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.delitem(sys.modules, "tvm", raising=False)


@pytest.mark.parametrize(
    ("version", "fitting"),
    [("0.27.0.post1", RELAX), ("0.16.dev0", RELAY), ("0.8.0", RELAY), ("0.19.0", RELAY)],
)
def test_the_door_follows_from_tvm(
    version: str, fitting: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_tvm(version, tmp_path, monkeypatch)
    fitting.demand()
    other = RELAY if fitting is RELAX else RELAX
    with pytest.raises(VersionError) as caught:
        other.demand()
    assert f"the TVM in {tmp_path / 'tvm'} is {version}" in str(caught.value)
    assert f"use tdse.{fitting.name}" in caught.value.hint


def test_between_the_doors_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_tvm("0.22.0", tmp_path, monkeypatch)
    with pytest.raises(VersionError, match=r"needs TVM 0.27 or later, below 0.28: .* 0.22.0"):
        RELAX.demand()


def test_a_tvm_without_relay_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_tvm("0.19.0", tmp_path, monkeypatch, ("relax",))
    with pytest.raises(VersionError, match=r"tvm is 0.19.0 without tvm.relay; in a Python env"):
        RELAY.demand()


def test_two_that_were_installed_over_each_other_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_tvm("0.16.dev0", tmp_path, monkeypatch)
    (tmp_path / "tvm" / "_version.py").write_text("__version__ = version = '0.27.0.post1'\n")
    for door in (RELAX, RELAY):
        with pytest.raises(VersionError) as caught:
            door.demand()
        assert f"{tmp_path / 'tvm'} has files of TVM 0.27.0.post1 and of TVM" in caught.value.why
        assert caught.value.hint.startswith("in a Python environment of its own")


def test_this_environment() -> None:
    assert (RELAX.why_not() == "") != (RELAY.why_not() == "")


# A process in which TVM is not installed.
_SCRIPT = """
import sys
for name in ("tvm", "tvm_ffi"):
    sys.modules[name] = None
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "tvm" else find_spec(name)
import tdse.graph.reader, tdse.place, tdse.pipeline, tdse.emulation.emulate, tdse.cli.tdsec
from tdse.devices import describe_devices
from tdse.errors import VersionError
for door in ("relax", "relay"):
    try:
        getattr(tdse, door)
    except VersionError as error:
        print(error)
targets = {each["name"]: each for each in describe_devices()["devices"][0]["targets"]}
print(targets["litert"]["available"], targets["llvm"]["reason"])
"""


def test_the_core_imports_without_tvm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    relax, relay, targets = done.stdout.splitlines()
    assert relax.startswith("tdse.relax needs TVM 0.27 or later, below 0.28: no TVM is installed")
    assert targets.startswith("True target llvm needs TVM 0.27: no TVM is installed; pip install")
    assert relay.startswith("tdse.relay needs TVM 0.8 or later, below 0.20: no TVM is installed")


def code_lines(source: str) -> int:
    """Lines that are neither blank nor of comments nor of docstrings."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            text = node.body[0]
            documented.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*blank, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_a_door_is_thin(door: Door) -> None:
    """What is no handling of its IR belongs to the layers below, for both."""
    assert code_lines('"""Text\n\nand more."""\n\n# Why.\nx = (\n    1\n)\n') == 3
    files = (Path(tdse.__file__).parent / door.name).glob("*.py")
    assert 400 < sum(code_lines(file.read_text(encoding="utf-8")) for file in files) < 800
