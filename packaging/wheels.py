"""Builds the wheels of ``tdse-runtime``: what runs artefacts, taken from tdse's own source tree.

    python packaging/wheels.py [--out dist] [ARCHITECTURE ...]

The Python modules are those that the roots below import when they are imported themselves. The
libraries are compiled here, for another architecture than this machine's with Debian's cross
compiler. One wheel does for all versions of Python: its libraries are loaded with ctypes.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "python"
ARCHITECTURES = ("x86_64", "aarch64")

# What users of a board call; the rest is what these need.
ROOTS = (
    "tdse.bench",
    "tdse.cli.main",
    "tdse.cli.serve",
    "tdse.cli.show",
    "tdse.cli.tdsec",
    "tdse.config",
    "tdse.fit",
    "tdse.measure.deployed",
    "tdse.measure.description",
    "tdse.measure.litert_worker",
    "tdse.measure.race_worker",
    "tdse.npz",
    "tdse.rpc",
    "tdse.runtime.edgetpu",
    "tdse.runtime.interpreter",
    "tdse.runtime.isolated_worker",
    "tdse.runtime.model",
    "tdse.runtime.trace",
    "tdse.serve",
)
DATA = (
    "tdse/py.typed",
    "tdse/platform/presets/*.toml",
    "tdse/include/tdse/*.h",
    "tdse/cmake/*.cmake",
)
# None of this may be among it.
COMPILER = re.compile(
    r"tdse\.(assemble|child_\w+|cost|emulation|lifted|link|pipeline|relax|relay|search|targets)\b"
)
# The library of the C interface, and those of artefacts that need TVM's runtime.
TARGETS = ("tdse_runtime", "tdse_tvm", "tdse_opencl")

# The C++ library of GCC 12, GLIBCXX_3.4.30, came to distributions with glibc 2.35 (PEP 600's policy
# manylinux_2_35).
_CXX_OF_2_35 = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR")
    parser.add_argument("--build", type=Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE")
    options = parser.parse_args(arguments)
    unknown = set(options.architectures) - set(ARCHITECTURES)
    if unknown:
        parser.error(f"no wheel is built for {', '.join(sorted(unknown))}")
    failed = False
    for architecture in options.architectures or ARCHITECTURES:
        compiler = cross_compiler(architecture)
        if compiler is not None and shutil.which(compiler) is None:
            failed = True
            print(
                f"wheels: no wheel for {architecture}: there is no {compiler}; "
                f"apt-get install g++-{architecture.replace('_', '-')}-linux-gnu",
                file=sys.stderr,
            )
            continue
        libraries = build_libraries(architecture, compiler, options.build.resolve())
        print(build_wheel(architecture, libraries, options.build.resolve(), options.out.resolve()))
    return 1 if failed else 0


def cross_compiler(architecture: str) -> str | None:
    """The C++ compiler for an architecture; None for this machine's own."""
    return None if architecture == platform.machine() else f"{architecture}-linux-gnu-g++"


def build_libraries(architecture: str, compiler: str | None, build: Path) -> list[Path]:
    """Compile the native libraries; only what has changed is compiled again."""
    directory = build / f"runtime-{architecture}"
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release"]
    if compiler is not None:
        options += [
            "-DCMAKE_SYSTEM_NAME=Linux",
            f"-DCMAKE_SYSTEM_PROCESSOR={architecture}",
            f"-DCMAKE_CXX_COMPILER={compiler}",
            f"-DCMAKE_C_COMPILER={compiler.removesuffix('g++')}gcc",
        ]
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["cmake", "-S", ROOT, "-B", directory, *generator, *options], **run)
    subprocess.run(["cmake", "--build", directory, "--target", *TARGETS], **run)
    return [directory / f"lib{target}.so" for target in TARGETS]


def build_wheel(architecture: str, libraries: Sequence[Path], build: Path, out: Path) -> Path:
    """Put modules and libraries into a wheel; its path."""
    stage = build / f"runtime-wheel-{architecture}"
    shutil.rmtree(stage, ignore_errors=True)
    for file in sorted(module_files()):
        _copy(file, stage / "python" / file.relative_to(PYTHON))
    for pattern in DATA:
        for file in PYTHON.glob(pattern):
            _copy(file, stage / "python" / file.relative_to(PYTHON))
    for library in libraries:
        _copy(library, stage / "python" / "tdse" / "lib" / library.name)
    for name in ("pyproject.toml", "LICENSE"):
        _copy((ROOT if name == "LICENSE" else ROOT / "packaging") / name, stage / name)
    tag = platform_tag(architecture, libraries)
    (stage / "setup.cfg").write_text(f"[bdist_wheel]\nplat_name = {tag}\n")
    out.mkdir(parents=True, exist_ok=True)
    command = ["pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", out]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", *command, stage], check=True, env=environment)
    return max(out.glob(f"tdse_runtime-*-{tag}.whl"), key=lambda path: path.stat().st_mtime)


def platform_tag(architecture: str, libraries: Sequence[Path]) -> str:
    """The oldest glibc that has what the libraries ask of it, or came with their C++ library."""
    newest = max(version for library in libraries for version in _glibc_versions(library))
    return f"manylinux_{newest[0]}_{newest[1]}_{architecture}"


def _glibc_versions(library: Path) -> Iterator[tuple[int, int]]:
    # The names of versions stand in the file as they are.
    for found in re.finditer(
        rb"\0(GLIBC|GLIBCXX)_(\d+)\.(\d+)(?:\.(\d+))?(?=\0)", library.read_bytes()
    ):
        name, major, minor, patch = found[1], int(found[2]), int(found[3]), int(found[4] or 0)
        if name == b"GLIBC":
            yield major, minor
        elif patch > _CXX_OF_2_35:
            raise SystemExit(f"wheels: {library.name} needs a C++ library newer than GCC 12's")
        elif patch == _CXX_OF_2_35:
            yield 2, 35


def module_files() -> set[Path]:
    """Files of the roots and of all that they import."""
    files: set[Path] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if path is None or path in files:
            continue
        if COMPILER.match(name):
            raise SystemExit(f"wheels: the runtime would import {name}, which is of the compiler")
        files.add(path)
        waiting.extend(_imported(name, path))
    return files


def _imported(name: str, path: Path) -> Iterator[str]:
    """Modules that are imported when ``name`` is; not those that a function imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield package
    if "." in package:
        yield package.rpartition(".")[0]
    waiting: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - statement.level]
            base = ".".join([*above, *filter(None, [statement.module])])
            base = base if statement.level else str(statement.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.dump(statement.test):
            waiting.extend([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            waiting.extend(statement.body)


def _path(name: str) -> Path | None:
    """The file of one of tdse's modules."""
    path = PYTHON.joinpath(*name.split("."))
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
