"""Bad input: the right status, one clear line, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ModelPath = Callable[[str], Path]


def _tdsec(*words: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdse.cli.tdsec", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )


def _refused(status: int, pattern: str, *words: object, cache: Path) -> None:
    process = _tdsec(*words, cache=cache)
    lines = process.stderr.strip().splitlines()
    assert process.returncode == status, process.stderr
    assert len(lines) == 1, process.stderr
    assert pattern in lines[0]
    assert lines[0].startswith("tdsec: error: ")
    assert process.stdout == ""


def test_files_that_are_no_models(tmp_path: Path, tiny_float: Path) -> None:
    out = tmp_path / "out"
    for name, data in {
        "empty": b"",
        "text": b"this is a text file, not a model at all\n" * 10,
        "magic": tiny_float.read_bytes()[:4] + b"XXXX" + tiny_float.read_bytes()[8:],
    }.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        _refused(1, str(path), path, "-o", out, cache=tmp_path)
    _refused(1, "directory", tmp_path, "-o", out, cache=tmp_path)
    _refused(1, "nowhere.tflite", tmp_path / "nowhere.tflite", "-o", out, cache=tmp_path)
    assert not out.exists()


@pytest.mark.parametrize("name", ["dynamic_output", "future_op", "custom_op"])
def test_models_that_cannot_be_run(name: str, model_path: ModelPath, tmp_path: Path) -> None:
    _refused(1, name, model_path(name), "-o", tmp_path / "out", cache=tmp_path)


def test_the_op_that_litert_cannot_run_is_named(model_path: ModelPath, tmp_path: Path) -> None:
    _refused(1, "ExampleFilter", model_path("custom_op"), "-o", tmp_path / "o", cache=tmp_path)


def test_wrong_usage(tiny_float: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases: list[tuple[str, list[object]]] = [
        ("-o OUT", [tiny_float]),
        ("no-such-board", [tiny_float, "-o", out, "--platform", "no-such-board"]),
        ("no target 'tpu'", [tiny_float, "-o", out, "--targets", "tpu"]),
        ("pin 99=llvm", [tiny_float, "-o", out, "--pin", "99=llvm"]),
        ("conv2d=tpu", [tiny_float, "-o", out, "--pin", "conv2d=tpu"]),
        ("objective 'speed'", [tiny_float, "-o", out, "--objective", "speed"]),
        ("0 threads", [tiny_float, "-o", out, "--threads", "0"]),
        ("budget of -1.0 s", [tiny_float, "-o", out, "--budget", "-1"]),
        ("--nonsense", [tiny_float, "-o", out, "--nonsense"]),
    ]
    for pattern, words in cases:
        _refused(2, pattern, *words, cache=tmp_path)
    assert not out.exists()


def test_a_directory_that_is_not_an_artefact_is_not_replaced(
    tiny_float: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    _refused(2, "did not write", tiny_float, "-o", out, cache=tmp_path)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_an_output_below_a_file_cannot_be_written(tiny_float: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _refused(1, "cannot be written", tiny_float, "-o", tmp_path / "file" / "out", cache=tmp_path)


def test_a_platform_that_nothing_is_compiled_for(tiny_float: Path, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    board.write_text(
        'name = "board"\n[[devices]]\nname = "cpu"\ntargets = ["litert", "llvm"]\ncores = 4\n'
        'triple = "riscv64-linux-gnu"\n'
    )
    told = "device cpu is no processor that tdse compiles for: its triple is riscv64-linux-gnu"
    _refused(1, told, tiny_float, "-o", tmp_path / "o", "--platform", board, cache=tmp_path)


def test_errors_as_json(tmp_path: Path) -> None:
    process = _tdsec(tmp_path / "none.tflite", "-o", tmp_path / "o", "--json", cache=tmp_path)
    assert process.returncode == 1
    assert json.loads(process.stdout)["error"]["kind"] == "ModelError"


def test_help_is_quick() -> None:
    # The best of three: the machine may be busy, the command may not.
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-m", "tdse.cli.tdsec", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(time.perf_counter() - begin)
    assert "--explain" in process.stdout
    assert min(times) < 0.5


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from tdse.cli.tdsec import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print([m for m in ('tvm', 'z3', 'xgboost', 'numpy') if m in sys.modules])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
