"""The commands and programs in the README and the docs run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cross import needs_cross_compiler
from tdse.doors import RELAY

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
ModelPath = Callable[[str], Path]
_BLOCK = re.compile(r"^```(console|python|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a page needs instead of ``tiny_conv_int8``: one speaks of a network of 224x224, and a driver
# of OpenCL takes a second for each kernel.
_MODELS = {"run-and-bench.md": "demo", "opencl.md": "tiny_float"}
_MARKS = {
    "boards.md": needs_cross_compiler,
    "opencl.md": pytest.mark.opencl,
    "relay.md": pytest.mark.skipif(bool(RELAY.why_not()), reason=f"no Relay: {RELAY.why_not()}"),
}
# What a check ends with that finds a placement slower than LiteRT, as may be where other tests run
# on the same cores.
_NO_LONGER_FITS = "the artefact no longer fits"
# Commands that install or that run this test suite itself, and those of tests/test_deploy.py.
_LEFT_OUT = (
    *("make ", "pip ", "git ", "python3 -m venv", "sudo ", ". .venv"),
    *("tdse serve", "tdse deploy"),
)


def _steps(page: Path) -> list[tuple[str, str]]:
    steps = []
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            steps.append(("python", text))
            continue
        if language == "toml":
            # Other blocks are examples of what a file may hold.
            name = re.match(r"# (\S+\.toml)\n", text)
            steps += [(name[1], text)] if name else []
            continue
        commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        steps += [("console", c) for c in commands if not c.startswith(_LEFT_OUT)]
    return steps


def test_there_are_pages() -> None:
    assert len(PAGES) > 3


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records that the pages share, so that operators are measured once."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=_MARKS.get(p.name, ())) for p in PAGES if _steps(p)],
    ids=lambda page: page.name,
)
def test_the_page_runs(page: Path, tmp_path: Path, cache: Path, model_path: ModelPath) -> None:
    model = model_path(_MODELS.get(page.name, "tiny_conv_int8"))
    shutil.copy(model, tmp_path / "model.tflite")
    for name in ("examples", "benchmarks"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(cache),
    }
    for language, text in _steps(page):
        if language.endswith(".toml"):
            (tmp_path / language).write_text(text)
            continue
        command = [sys.executable, "-c", text] if language == "python" else ["bash", "-c", text]
        process = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        if "--check" in text and _NO_LONGER_FITS in process.stderr:
            continue
        assert process.returncode == 0, f"{text}\n{process.stdout}\n{process.stderr}"
