"""A fault that is planted in one region of an artefact is found, with the region's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tdse
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.divergence import find_divergence
from tdse.errors import UsageError
from tdse.graph.reader import read_tflite
from tdse.graph.regions import form_regions
from tdse.graph.unpack import constant_bytes
from tdse.measure.accuracy import INTEGER_STEPS
from tdse.runtime.metadata import sealed
from tdse.runtime.plan import Plan, PlanTensor, read_borders, with_outputs
from tdse.search.placement import load_placement, make_placement

pytestmark = [pytest.mark.tvm, pytest.mark.usefixtures("record_store_of_module")]
ModelPath = Callable[[str], Path]
_SHORT = ["--launches", "1", "--seconds", "0.1"]


@pytest.fixture(scope="module")
def sound(
    record_store_of_module: None, tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The classifier with its HARD_SWISH on llvm, which makes several regions on each target."""
    out = tmp_path_factory.mktemp("divergence") / "out"
    graph = read_tflite(tiny_conv_int8)
    target = {
        op: "llvm" if graph.ops[op].kind == "hard_swish" else "litert" for op in graph.placed_ops
    }
    regions = form_regions(graph, target)
    assert len(regions) > 2
    tdse.compile(tiny_conv_int8, out=out, placement=make_placement(graph, regions, 1, None, 0))
    return out


@pytest.fixture(scope="module")
def faulty(sound: Path, tiny_conv_int8: Path) -> tuple[Path, str]:
    """The same, the weights of one region's convolution changed; and the region's name."""
    graph = read_tflite(tiny_conv_int8)
    regions = load_placement(sound / "placement.json").regions
    region, op = next(
        (region, op)
        for region in regions[1:]
        for op in region.ops
        if region.target == "litert" and graph.ops[op].kind == "conv2d"
    )
    weights = bytes(constant_bytes(graph, graph.ops[op].inputs[1]))
    out = sound.parent / "faulty"
    shutil.copytree(sound, out)
    module = (out / "model.so").read_bytes()
    assert module.count(weights) == 1
    (out / "model.so").write_bytes(module.replace(weights, weights[::-1]))
    metadata = json.loads((out / "metadata.json").read_text())
    rest = {k: v for k, v in metadata.items() if k not in ("files", "metadata_sha256")}
    (out / "metadata.json").write_text(json.dumps(sealed(rest, out)))
    return out, f"region{region.index}_litert"


def test_the_region_with_the_fault_is_named(faulty: tuple[Path, str], tmp_path: Path) -> None:
    out, name = faulty
    saved = tmp_path / "tensors.npz"
    found = find_divergence(out, save=saved)
    assert found.fault is not None and found.fault.name == name
    assert found.worst[0].name == name
    # What the regions behind it make of it is not their fault, but differs as well.
    behind = [one for one in found.regions if one.own.is_allowed and not one.total.is_allowed]
    assert behind
    with np.load(saved) as tensors:
        ours, plain = tensors[f"{name}.ours0"], tensors[f"{name}.litert0"]
    steps = int(np.abs(ours.astype(int) - plain.astype(int)).max())
    assert steps == found.fault.own.steps > INTEGER_STEPS


def test_a_sound_artefact_has_no_fault(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["bench", str(sound), "--layers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fault"] is None
    assert len(told["regions"]) == len(load_placement(sound / "placement.json").regions)


def test_diff_finds_it_in_one_command(
    sound: Path, faulty: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, name = faulty
    assert tdse_command.main(["diff", str(sound), str(out), *_SHORT]) == 0
    text = capsys.readouterr().out
    assert f"off by more than it may be is {name} (" in " ".join(text.split())
    assert "every operator runs at the same place in both" in text


def test_diff_says_what_moved(
    sound: Path, tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = compile_on("litert", tiny_conv_int8, tmp_path / "whole")
    assert tdse_command.main(["diff", str(sound), str(whole), "--json", *_SHORT]) == 0
    told = json.loads(capsys.readouterr().out)
    moved = [op for op in load_placement(sound / "placement.json").ops if op.target == "llvm"]
    assert [row[0] for row in told["moved"]] == [op.label for op in moved]
    assert told["two"]["regions"] == 1
    assert told["two"]["module_bytes"] == (whole / "model.so").stat().st_size
    assert told["one"]["median_us"] > 0


def test_refusals(
    sound: Path, model_path: ModelPath, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = compile_on("litert", model_path("tiny_float"), tmp_path / "other")
    assert tdse_command.main(["diff", str(sound), str(other)]) == 2
    assert "the artefacts are of different models" in capsys.readouterr().err
    assert tdse_command.main(["bench", str(sound), "--layers", "--stream"]) == 2
    assert tdse_command.main(["bench", str(sound), "--save", "x.npz"]) == 2
    replayed = tmp_path / "replayed"
    model = model_path("tiny_conv_int8")
    tdse.compile(model, out=replayed, platform="rpi4-coral-usb3", emulate="timing", budget_s=2)
    with pytest.raises(UsageError, match="replays recorded results"):
        find_divergence(replayed)


def test_outputs_of_a_plan_are_replaced() -> None:
    tensors = [PlanTensor(f"t{i}", "int8", (2,) * i) for i in range(4)]
    tensors.append(PlanTensor("c", "float32", (3,), bytes(12)))
    plan = Plan(tuple(tensors), (0, 2), (3,), ())
    raw = plan.to_bytes()
    assert read_borders(raw).inputs == (0, 2)
    assert read_borders(raw).outputs == (3,)
    other = Plan(tuple(tensors), (0, 2), (1, 3), ())
    assert with_outputs(raw, (1, 3)) == other.to_bytes()
