"""The wheel of ``tdse-runtime`` in an environment that has nothing else of tdse."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tdse
from tdse.runtime.c_executor import LIBRARY

pytestmark = pytest.mark.tvm

REPOSITORY = Path(__file__).parents[2]
# What the wheel asks for, and what that asks for.
DEPENDENCIES = (
    "ai-edge-litert",
    "annotated-types",
    "backports.strenum",
    "flatbuffers",
    "markdown-it-py",
    "mdurl",
    "ml_dtypes",
    "numpy",
    "pydantic",
    "pydantic_core",
    "pygments",
    "rich",
    "shtab",
    "typing-inspection",
    "typing_extensions",
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels", REPOSITORY / "packaging" / "wheels.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(wheels: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this machine, with the libraries that tdse itself has here."""
    directory = tmp_path_factory.mktemp("wheel")
    libraries = [LIBRARY.parent / f"lib{target}.so" for target in wheels.TARGETS]
    built: Path = wheels.build_wheel(
        platform.machine(), libraries, directory / "build", directory / "dist"
    )
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and its dependencies, these as links to those here."""
    directory = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", directory / "bin/python", *install, wheel],
        check=True,
        env=_bare(),
    )
    packages = _packages(directory)
    for name in DEPENDENCIES:
        for file in metadata.files(name) or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                root = Path(str(file.locate())).parents[len(file.parts) - 1]
                (packages / top).symlink_to(root / top)
    return directory


def _packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def _bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@pytest.fixture(scope="module")
def run(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of the environment, outside of the source tree."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def runs(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / program, *map(str, arguments)],
            cwd=elsewhere,
            env=_bare() | {"XDG_CACHE_HOME": str(elsewhere / "cache")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return runs


def test_an_artefact_runs_as_it_does_with_the_compiler(
    run: Run, small_artefact: Path, tmp_path: Path
) -> None:
    """One of its regions is LiteRT's, the other one has kernels of TVM's; TVM is not there."""
    result = run("tdse", "run", small_artefact, "--seed", 3, "--save", tmp_path / "y.npz")
    assert (result.returncode, result.stderr) == (0, "")
    model = tdse.load(small_artefact)
    expected = model.run(model.random_inputs(3))
    with np.load(tmp_path / "y.npz") as outputs:
        for info, right in zip(model.outputs, expected, strict=True):
            np.testing.assert_array_equal(outputs[info.name], right)


def test_what_a_process_loads(run: Run, small_artefact: Path) -> None:
    code = (
        "import sys, tdse\n"
        f"model = tdse.load({str(small_artefact)!r})\n"
        "for y in model.stream(tuple(model.random_inputs(i)) for i in range(3)): pass\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'tvm', 'tvm_ffi', 'pydantic'})\n"
        "print('libtvm' in open('/proc/self/maps').read())\n"
    )
    result = run("python", "-c", code)
    assert (result.stdout, result.stderr) == ("set()\nFalse\n", "")


def test_bench_without_the_compiler(run: Run, small_artefact: Path, model_path: Any) -> None:
    model = model_path("two_inputs_two_outputs")
    options = ("--launches", 1, "--seconds", 0.1, "--json", "--model", model)
    result = run("tdse", "bench", small_artefact, *options)
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    rows = {row["name"]: row for row in report["contenders"]}
    assert rows["tdse"]["median_us"] > 0 and rows["litert x1"]["median_us"] > 0
    assert "no compiler in tdse-runtime" in rows["tvm default"]["why_not"]
    assert report["correctness"]["ours"]["steps"] == 0
    assert [region["ops"] for region in report["regions"]] == [1, 1]


@pytest.mark.parametrize(
    "command",
    [
        "tdsec m.tflite -o out",
        "tdsec m.tflite --dry-run",
        "tdse predict m.tflite",
        "tdse profile",
        "tdse report out",
        "tdse diff out out",
        "tdse doctor",
        "python -c import\ttdse;tdse.compile",
        "python -c import\ttdse;tdse.relax",
    ],
)
def test_what_needs_the_compiler_says_so(command: str, run: Run) -> None:
    program, *arguments = command.split(" ")
    result = run(program, *(argument.replace("\t", " ") for argument in arguments))
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert line.endswith(
        "this needs the compiler: tdse-runtime, which is installed, only runs and times artefacts; "
        "pip uninstall tdse-runtime, then pip install tdse"
    )
    assert program == "python" or result.stderr.count("\n") == 1


def test_every_module_of_it_can_be_imported(run: Run, environment: Path) -> None:
    package = _packages(environment) / "tdse"
    names = [
        ".".join(("tdse", *file.relative_to(package).with_suffix("").parts))
        for file in package.rglob("*.py")
    ]
    assert len(names) > 50
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    result = run("python", "-c", code.replace(".__init__", ""))
    assert (result.returncode, result.stderr) == (0, "")


def test_without_litert(run: Run, environment: Path, small_artefact: Path) -> None:
    """What is missing is told by its name, before anything of the artefact is loaded."""
    packages = _packages(environment)
    links = [path for path in packages.iterdir() if path.name.startswith("ai_edge_litert")]
    targets = {link: link.readlink() for link in links}
    for link in links:
        link.unlink()
    try:
        result = run("tdse", "run", small_artefact)
    finally:
        for link, target in targets.items():
            link.symlink_to(target)
    version = metadata.version("ai-edge-litert")
    assert result.returncode == 1
    assert result.stderr == (
        f"tdse: error: {small_artefact}: the artefact needs ai-edge-litert {version}: it is not "
        'installed; pip install "ai-edge-litert>=2.3,<2.4"\n'
    )


def test_its_size_and_tag(wheel: Path, wheels: ModuleType) -> None:
    """The whole of it is a small part of the 60 MB that it may take beyond LiteRT's wheel."""
    with zipfile.ZipFile(wheel) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 8e6
        # The libraries that tdse has here may carry the names of their functions; others do not.
        names = archive.namelist()
    assert wheel.name.startswith(f"tdse_runtime-{tdse.__version__}-py3-none-manylinux_2_")
    assert not [name for name in names if wheels.COMPILER.search(name.replace("/", "."))]
    assert "tdse/lib/libtdse_evaluate.so" not in names


@pytest.mark.parametrize(
    ("names", "tag"),
    [
        (b"GLIBC_2.2.5\0GLIBC_2.34\0", "manylinux_2_34_aarch64"),
        (b"GLIBC_2.36\0GLIBCXX_3.4.30\0GLIBC_2.9\0", "manylinux_2_36_aarch64"),
        (b"GLIBC_2.17\0GLIBCXX_3.4.30\0", "manylinux_2_35_aarch64"),
        (b"GLIBC_2.17\0GLIBCXX_3.4.29\0", "manylinux_2_17_aarch64"),
    ],
)
def test_platform_tags(names: bytes, tag: str, wheels: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "library.so").write_bytes(b"\x7fELF\0" + names)
    assert wheels.platform_tag("aarch64", [tmp_path / "library.so"]) == tag


def test_a_cross_compiler_that_is_missing(
    wheels: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)
    assert wheels.main(["aarch64"]) == 1
    assert capsys.readouterr().err == (
        "wheels: no wheel for aarch64: there is no aarch64-linux-gnu-g++; apt-get install "
        "g++-aarch64-linux-gnu\n"
    )


@pytest.fixture(scope="module")
def program(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``examples/cpp``, built against the installed wheel; the library stands beside it."""
    directory = tmp_path_factory.mktemp("cpp")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    found = {
        option: run("python", "-m", "tdse.config", option).stdout.strip()
        for option in ("--cmakedir", "--library")
    }
    configure = ["cmake", "-S", REPOSITORY / "examples/cpp", "-B", directory, *generator]
    subprocess.run(
        [*configure, f"-Dtdse_DIR={found['--cmakedir']}"], check=True, capture_output=True
    )
    subprocess.run(["cmake", "--build", directory], check=True, capture_output=True)
    shutil.copy(found["--library"], directory)
    return directory / "run_model"


def test_the_cpp_example(program: Path, small_artefact: Path, tmp_path: Path) -> None:
    """Without environment variables; neither the program nor its libraries need Python."""
    model = tdse.load(small_artefact)
    arrays = model.random_inputs(5)
    files = [tmp_path / f"input{i}.bin" for i in range(len(arrays))]
    for file, array in zip(files, arrays, strict=True):
        file.write_bytes(array.tobytes())
    litert = importlib.util.find_spec("ai_edge_litert")
    assert litert is not None and litert.submodule_search_locations is not None
    library = Path(next(iter(litert.submodule_search_locations))) / "libLiteRt.so"
    result = subprocess.run(
        [program, small_artefact / "model.so", library, *files],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "in a stream: " in result.stdout
    for i, right in enumerate(model.run(arrays)):
        assert (tmp_path / f"output{i}.bin").read_bytes() == right.tobytes()
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libtdse_runtime.so => " in needed and "not found" not in needed
    libraries = {line.split()[0].partition(".")[0] for line in needed.splitlines()}
    assert not [name for name in libraries if name.startswith(("libpython", "libtvm", "libLiteRt"))]


def test_the_cpp_example_without_litert(program: Path, small_artefact: Path) -> None:
    result = subprocess.run(
        [program, small_artefact / "model.so"], env={}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        "run_model: region region0_litert: LiteRT's library cannot be loaded: libLiteRt.so: cannot "
        "open shared object file: No such file or directory; install ai-edge-litert 2.3\n"
    )
