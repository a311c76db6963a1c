"""One small artefact for the tests of loading and running."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ModelPath = Callable[[str], Path]


@pytest.fixture(scope="session")
def small_artefact(model_path: ModelPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ``two_inputs_two_outputs``: one operator on each target. Not to be written to."""
    import tdse
    from tdse.graph.reader import read_tflite
    from tdse.graph.regions import form_regions
    from tdse.search.placement import make_placement

    model = model_path("two_inputs_two_outputs")
    graph = read_tflite(model)
    regions = form_regions(graph, {0: "litert", 1: "llvm"})
    out = tmp_path_factory.mktemp("small") / "out"
    tdse.compile(model, out=out, placement=make_placement(graph, regions, 1, None, 0))
    return out


@pytest.fixture
def copied(small_artefact: Path, tmp_path: Path) -> Path:
    """A copy of the artefact that may be changed."""
    return Path(shutil.copytree(small_artefact, tmp_path / "out"))


@pytest.fixture
def loaded_modules(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The modules whose code was loaded."""
    from tdse.runtime import native

    paths: list[Path] = []
    load_executor = native.load_executor

    def noting(path: Path) -> Any:
        paths.append(path)
        return load_executor(path)

    monkeypatch.setattr(native, "load_executor", noting)
    return paths
