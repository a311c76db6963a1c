"""The examples do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tdse
from modelkit import NetworkBuilder
from tdse.cli import main as tdse_command
from tdse.cli import tdsec

pytestmark = pytest.mark.tvm
_EXAMPLES = Path(__file__).parent.parent / "examples"
_WHEEL_HAS = "mediapipe/modules/face_detection/face_detection_short_range.tflite"


def _run(words: list[object], **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pretrained_model_from_file_to_report(tiny_float: Path, tmp_path: Path) -> None:
    # The wheel is 40 MB, so a small model stands in for the one in it.
    wheel = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tiny_float, _WHEEL_HAS)
    out = tmp_path / "made" / "out"
    told = _run(
        [_EXAMPLES / "pretrained.py", wheel, out, "--budget", "1"], XDG_CACHE_HOME=str(tmp_path)
    )
    assert "6 operators on " in told
    assert "flat: (1, 512), largest " in told
    assert " times as fast as litert x" in told
    assert (out / "report.html").is_file()


def test_a_board_of_one_s_own(
    tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = str(_EXAMPLES / "board.toml")
    assert tdse_command.main(["devices", "--platform", board]) == 0
    assert "npu" in capsys.readouterr().out
    out = tmp_path / "out"
    words = [str(tiny_conv_int8), "--platform", board]
    assert tdsec.main([*words, "-o", str(out), "--emulate", "correctness", "--budget", "1"]) == 0
    metadata = json.loads((out / "metadata.json").read_text())
    reasons = [one["reason"] for one in metadata["op_costs"]["refusals"] if one["place"] == "npu"]
    assert reasons
    assert metadata["emulated"]["predicted_mj"] > 0


def test_a_target_of_one_s_own(tmp_path: Path) -> None:
    """The package is installed, and a region of it is part of a module."""
    pytest.importorskip("setuptools", reason="setuptools, which installs it, is not there")
    installed = tmp_path / "installed"
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "custom_target"
    source.mkdir()
    for file in (_EXAMPLES / "custom_target").iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    _run([*pip, "--target", installed, source])
    network = NetworkBuilder(seed=4)
    generator = np.random.default_rng(1)
    x = network.input("image", generator.standard_normal((4, 8, 8, 4)).astype(np.float32))
    y = network.relu(network.conv2d(x, 4, 3, name="conv"), name="relu")
    model = tmp_path / "model.tflite"
    model.write_bytes(network.float32({"y": network.add(y, x, name="add")}, "model"))
    places = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": places, "XDG_CACHE_HOME": str(tmp_path)}
    out = tmp_path / "out"
    words = ["--targets", "litert,numpy", "--pin", "relu=numpy", "--budget", "2", "--threads", "1"]
    _run(["-m", "tdse.cli.tdsec", model, "-o", out, *words], **environment)
    placement = json.loads((out / "placement.json").read_text())
    assert [op["label"] for op in placement["ops"] if op["target"] == "numpy"] == ["1:relu"]
    assert "numpy" in tdse.load(out).metadata["region_kinds"]
    # Each region was held against LiteRT when the model was compiled.
    assert json.loads((out / "metadata.json").read_text())["difference_from_litert"]["steps"] == 0
