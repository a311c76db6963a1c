"""Whether a finished artefact still fits is noticed, and said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from modelkit import NetworkBuilder
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.errors import ArtefactError
from tdse.fit import check_fit
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.runtime.artefact import METADATA, write_json
from tdse.runtime.metadata import sealed
from tdse.search.placement import make_placement

ModelPath = Callable[[str], Path]

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module")
def fitting(model_path: ModelPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model whole on LiteRT: as fast as LiteRT, and nothing has changed."""
    return compile_on("litert", model_path("branches"), tmp_path_factory.mktemp("fit") / "out")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty operators, each launched by itself: most of the time is launches."""
    directory = tmp_path_factory.mktemp("slow")
    network = NetworkBuilder(seed=4)
    x = network.input("image", np.random.default_rng(4).normal(size=(2, 4, 4, 8)).astype("float32"))
    for _ in range(40):
        x = network.hard_swish(x)
    model = directory / "long.tflite"
    model.write_bytes(network.float32({"y": x}, "long"))
    graph = read_tflite(model)
    regions = [Region(i, "litert", (op,)) for i, op in enumerate(graph.placed_ops)]
    placement = make_placement(graph, regions, 1, None, 0)
    tdse.compile(model, out=directory / "out", placement=placement)
    return directory / "out"


def _with_conditions(directory: Path, copy: Path, **values: Any) -> Path:
    """The artefact as if it had been made under other conditions."""
    shutil.copytree(directory, copy)
    fields = json.loads((copy / METADATA).read_text())
    fields["conditions"].update(values)
    write_json(copy / METADATA, sealed(fields, copy))
    return copy


def test_an_artefact_that_fits(fitting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(fitting), "--check", "--launches", "2", "--seconds", "0.1"]
    assert tdse_command.main(words) == 0
    assert "still fits" in capsys.readouterr().out


def test_other_conditions(fitting: Path, tmp_path: Path) -> None:
    changed = {
        "cpu": "Another CPU",
        "cores": 64,
        "governor": "powersave",
        "versions": [["ai-edge-litert", "2.3.999"]],
    }
    copy = _with_conditions(fitting, tmp_path / "out", **changed)
    fit = check_fit(copy, launches=1, seconds=0.05)
    with pytest.raises(ArtefactError, match="the artefact no longer fits") as caught:
        fit.demand(copy)
    for change in (
        "cpu was Another CPU, is ",
        "cores was 64, is ",
        "frequency governor was powersave, is ",
        "ai-edge-litert was 2.3.999, is 2.",
    ):
        assert change in caught.value.why


def test_a_placement_that_is_slower(slow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(slow), "--check", "--launches", "2", "--seconds", "0.1"]
    assert tdse_command.main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("tdse: error: ") and len(error.splitlines()) == 1
    assert "litert x" in error and "is faster" in error


def test_it_compares_with_litert_only(fitting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["bench", str(fitting), "--check", "--against", "tvm"]) == 2
    assert "leave out --against" in capsys.readouterr().err
