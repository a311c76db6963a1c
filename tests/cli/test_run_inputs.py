"""``tdse run`` takes inputs from files of their own, and names classes where the model does."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tdse
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.errors import UsageError
from tdse.graph.labels import read_labels
from tdse.graph.reader import read_tflite
from tdse.images import read_image
from tdse.runtime.model import TensorInfo

pytestmark = pytest.mark.tvm
ModelPath = Callable[[str], Path]


@pytest.fixture(scope="module")
def out(model_path: ModelPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "out"
    return compile_on("litert", model_path("two_inputs_two_outputs"), directory)


def test_npy_and_raw(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alpha, beta = np.float32([[1, 2, 3, 4]]), np.float32([[10, 20, 30, 40]])
    np.save(tmp_path / "alpha.npy", alpha)
    (tmp_path / "beta.bin").write_bytes(beta.tobytes())
    saved = tmp_path / "outputs.npz"
    words = ["--input", f"beta={tmp_path}/beta.bin", "--input", f"alpha={tmp_path}/alpha.npy"]
    assert tdse_command.main(["run", str(out), *words, "--save", str(saved)]) == 0
    with np.load(saved) as arrays:
        np.testing.assert_array_equal(arrays["difference"], beta - alpha)
        np.testing.assert_array_equal(arrays["product"], beta * alpha)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gamma=x.npy"], "no input is named in 'gamma=x.npy'"),
        (["alpha={}/short.bin"], "the file has 3 bytes"),
        (["alpha={}/wrong.npy"], "input 'alpha' is given as float64 of shape (2,)"),
        (["alpha={}/none.npy"], "the input cannot be read"),
        (["alpha={}/right.npy"], "input 'beta' is missing"),
        (["alpha={}/right.npy", "alpha={}/right.npy"], "input 'alpha' is given twice"),
    ],
)
def test_refusals(
    words: list[str], message: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.bin").write_bytes(b"abc")
    np.save(tmp_path / "wrong.npy", np.zeros(2))
    np.save(tmp_path / "right.npy", np.zeros((1, 4), np.float32))
    given = [part for word in words for part in ("--input", word.format(tmp_path))]
    assert tdse_command.main(["run", str(out), *given]) == 2
    assert message in capsys.readouterr().err


def _with_files(data: bytes, files: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    archive.write(data)
    with zipfile.ZipFile(archive, "a") as appended:
        for name, text in files.items():
            appended.writestr(name, text)
    return archive.getvalue()


def test_classes_are_named(
    tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = read_tflite(tiny_conv_int8).tensors[read_tflite(tiny_conv_int8).outputs[0]].shape[-1]
    labels = [f"class <{i}>" for i in range(classes)]
    model = tmp_path / "labelled.tflite"
    files = {"labels.txt": "\n".join(labels) + "\n", "other.txt": "one line"}
    model.write_bytes(_with_files(tiny_conv_int8.read_bytes(), files))
    out = compile_on("litert", model, tmp_path / "out")
    assert tdse_command.main(["run", str(out), "--json", "--seed", "3"]) == 0
    row = json.loads(capsys.readouterr().out)["outputs"][0]
    loaded = tdse.load(out)
    scores = loaded.run(loaded.random_inputs(3))[0].reshape(-1)
    assert row["classes"][0] == [labels[int(np.argmax(scores))], float(scores.max())]
    assert len(row["classes"]) == min(5, classes)


def test_files_that_are_no_labels(tiny_conv_int8: Path, tmp_path: Path) -> None:
    data = tiny_conv_int8.read_bytes()
    classes = read_tflite(tiny_conv_int8).tensors[read_tflite(tiny_conv_int8).outputs[0]].shape[-1]
    lines = "a\n" * classes
    for files in ({"labels.bin": lines}, {"a.txt": lines, "b.txt": lines}, {"a.txt": lines + "a"}):
        model = tmp_path / "model.tflite"
        model.write_bytes(_with_files(data, files))
        assert read_labels(read_tflite(model)) == {}
    assert read_labels(read_tflite(tiny_conv_int8)) == {}


def _picture(path: Path) -> Path:
    """Two pixels: red beside white."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)
    image.fromarray(pixels).save(path)
    return path


def test_pictures(tmp_path: Path) -> None:
    picture = str(_picture(tmp_path / "two.png"))
    red, white = [1, 0, 0], [1, 1, 1]
    shape = (1, 1, 2, 3)
    floats = read_image(TensorInfo("x", np.dtype("float32"), shape), picture, (-1.0, 1.0))
    np.testing.assert_array_equal(floats, 2 * np.float32([[[red, white]]]) - 1)
    for dtype in ("int8", "uint8"):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        found = read_image(TensorInfo("x", np.dtype(dtype), shape), picture, None)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.where([[[red, white]]], high, low))
    # ITU-R 601's luma of red.
    grey = read_image(TensorInfo("x", np.dtype("uint8"), (1, 1, 2, 1)), picture, None)
    np.testing.assert_allclose(grey[0, 0, :, 0], [0.299 * 255, 255], atol=1)
    assert read_image(TensorInfo("x", np.dtype("uint8"), (1, 5, 7, 3)), picture, None).shape == (
        (1, 5, 7, 3)
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "message"),
    [
        ((1, 4), "float32", "two.png", "takes no picture: it is float32 of shape"),
        ((1, 1, 2, 3), "int32", "two.png", "takes no picture"),
        ((1, 1, 2, 3), "float32", "two.png", "say it with --pixels"),
        ((1, 1, 2, 3), "uint8", "broken.png", "the picture cannot be read"),
        ((1, 1, 2, 3), "uint8", "none.png", "the picture cannot be read: .*No such file"),
    ],
)
def test_pictures_that_do_not_fit(
    shape: tuple[int, ...], dtype: str, name: str, message: str, tmp_path: Path
) -> None:
    _picture(tmp_path / "two.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UsageError, match=message):
        read_image(TensorInfo("x", np.dtype(dtype), shape), str(tmp_path / name), None)


def test_a_picture_on_the_command_line(
    tiny_conv_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = _picture(tmp_path / "two.JPG")
    out = compile_on("litert", tiny_conv_int8, tmp_path / "out")
    name = tdse.load(out).inputs[0].name
    words = ["run", str(out), "--input", f"{name}={picture}"]
    channels = tdse.load(out).inputs[0].shape[3]
    assert channels == 3
    assert tdse_command.main(words) == 0
    assert f"inputs: {name}={picture}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        tdse_command.main([*words, "--pixels", "1"])
