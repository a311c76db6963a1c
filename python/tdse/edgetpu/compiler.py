"""Run Google's edgetpu_compiler on slices of a model, and accept only what it maps as a whole.

The compiler is not free software and has no place in tdse's packages: it is found on the PATH, or
where the environment variable ``EDGETPU_COMPILER`` says.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tdse.edgetpu.blob import Compiled
from tdse.edgetpu.package import CUSTOM_OP
from tdse.errors import (
    CompilerCrashError,
    CompilerMissingError,
    CompilerOutputError,
    CompilerTimeoutError,
    ModelError,
    PartialMappingError,
)
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.worker import find_program

COMPILER = "EDGETPU_COMPILER"
NAME = "edgetpu_compiler"
# The compiler's own limit is 180 s a model.
TIMEOUT_S = 600.0

_MAPPED = "Mapped to Edge TPU"
_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_LOG_LINE = re.compile(r"^([A-Z][A-Z0-9_]*|Custom|CUSTOM)\s+(\d+)\s+(\S.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class LogLine:
    """Operators of one kind in the compiler's log, and what became of them."""

    operator: str
    count: int
    status: str


def find_compiler() -> Path | None:
    """Where the compiler is; None if it is not found."""
    given = os.environ.get(COMPILER)
    if given:
        # It is run in another directory.
        return Path(given).absolute() if os.access(given, os.X_OK) else None
    return find_program(NAME)


def why_no_compiler() -> str:
    """Why ``find_compiler`` finds none."""
    given = os.environ.get(COMPILER)
    if given:
        return f"{COMPILER} names {given}, which cannot be run"
    return f"{NAME} is not on the PATH, and {COMPILER} is not set"


def read_log(text: str) -> list[LogLine]:
    """The table of operators in what the compiler prints or writes."""
    return [LogLine(name, int(count), status) for name, count, status in _LOG_LINE.findall(text)]


@lru_cache(maxsize=4)
def compile_slices(
    slices: tuple[bytes, ...],
    *,
    runtime: int = 14,
    timeout_s: float = TIMEOUT_S,
    where: str = "",
) -> list[Compiled]:
    """Compile slices together, so that they share the Edge TPU's memory for parameters.

    Args:
        slices: ``.tflite`` files; those that come first are given memory first.
        runtime: the newest version of the runtime that must be able to run them.
        timeout_s: for all of them.
        where: the model's name, for messages.

    Raises:
        CompilerMissingError: there is no compiler.
        CompilerTimeoutError: it took longer.
        CompilerCrashError: it ended with an error, or was killed by a signal.
        CompilerOutputError: it wrote no model, or not one of the slice's inputs and outputs.
        PartialMappingError: operators are left on the CPU.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompilerMissingError(
            "there is no compiler for the Edge TPU",
            where=where,
            why=why_no_compiler(),
            hint="install edgetpu-compiler from Coral's apt repository (Linux on x86-64)",
        )
    with tempfile.TemporaryDirectory(prefix="tdse_edgetpu_") as name:
        folder = Path(name)
        paths = [folder / f"region{i}.tflite" for i in range(len(slices))]
        for path, data in zip(paths, slices, strict=True):
            path.write_bytes(data)
        said = _run(compiler, folder, paths, runtime, timeout_s, where)
        return [
            _accepted(path, data, said, runtime, where)
            for path, data in zip(paths, slices, strict=True)
        ]


def _run(
    compiler: Path, folder: Path, paths: Sequence[Path], runtime: int, timeout_s: float, where: str
) -> str:
    """What the compiler prints."""
    command = [str(compiler), "-s", "-m", str(runtime), "-o", str(folder), *map(str, paths)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        raise CompilerTimeoutError(
            f"{NAME} took longer than {timeout_s:g} s and was stopped",
            where=where,
            hint="place fewer operators on the Edge TPU with --pin, or use a smaller model",
        ) from None
    except OSError as error:
        raise CompilerCrashError(
            f"{NAME} cannot be started", where=str(compiler), why=error.strerror or str(error)
        ) from None
    said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    if done.returncode:
        raise CompilerCrashError(
            f"{NAME} {_how(done.returncode)}",
            where=where,
            why=_last_line(said),
            hint="try another version of the compiler, or place fewer operators on the Edge TPU",
        )
    return said


def _accepted(path: Path, data: bytes, said: str, runtime: int, where: str) -> Compiled:
    """What became of one slice, if it is exactly one custom operator."""
    made = path.with_name(f"{path.stem}_edgetpu.tflite")
    log = made.with_suffix(".log")
    log_text = log.read_text("utf-8", "replace") if log.is_file() else said
    if not made.is_file():
        raise CompilerOutputError(
            f"{NAME} wrote no model", where=where, why=_last_line(said) or "it says nothing"
        )
    compiled = made.read_bytes()
    try:
        graph = read_tflite(compiled, path.stem)
    except ModelError as error:
        raise CompilerOutputError(
            f"{NAME} wrote no model that can be read", where=where, why=error.why
        ) from None
    _demand_whole(graph, read_log(log_text), where)
    _demand_same_borders(read_tflite(data, path.stem), graph, where)
    version = _VERSION.search(said) or _VERSION.search(log_text)
    return Compiled(
        slice_=data, compiled=compiled, compiler=version[1] if version else "", runtime=runtime
    )


def _demand_whole(graph: Graph, lines: Sequence[LogLine], where: str) -> None:
    custom = [op for op in graph.ops if op.tflite_name == CUSTOM_OP]
    if len(custom) == 1 and len(graph.ops) == 1:
        return
    left = [
        f"{line.count} {line.operator}: {line.status}" for line in lines if line.status != _MAPPED
    ]
    names = ", ".join(dict.fromkeys(op.tflite_name for op in graph.ops if op not in custom))
    raise PartialMappingError(
        f"{NAME} leaves operators of a region on the CPU"
        if len(custom) == 1
        else f"{NAME} made {len(custom)} regions of one",
        where=where,
        why="; ".join(left) or f"there remain {names}",
        hint="keep these operators off the Edge TPU with --pin OP=cpu",
    )


def _demand_same_borders(given: Graph, made: Graph, where: str) -> None:
    def border(graph: Graph, indices: Sequence[int]) -> list[tuple[tuple[int, ...], str]]:
        return [(graph.tensors[i].shape, graph.tensors[i].dtype) for i in indices]

    for role, one, other in (
        ("inputs", border(given, given.inputs), border(made, made.inputs)),
        ("outputs", border(given, given.outputs), border(made, made.outputs)),
    ):
        if one != other:
            raise CompilerOutputError(
                f"{NAME} made a model of other {role}", where=where, why=f"{other}, not {one}"
            )


def _how(returncode: int) -> str:
    if returncode > 0:
        return f"ended with status {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return (errors or lines or [""])[-1][:300]
