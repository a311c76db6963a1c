"""Starts tdsec, also with a fault built into one of its child processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import tdse
from litert_reference import random_inputs, run_litert


def tdsec(*words: object, cache: Path | None, **given: str) -> subprocess.Popen[str]:
    """The command, started; standard output and error are pipes."""
    environment = {**os.environ, **given}
    environment.pop("XDG_CACHE_HOME", None)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    return subprocess.Popen(
        [sys.executable, "-m", "tdse.cli.tdsec", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def one_line_error(process: subprocess.Popen[str]) -> str:
    """Wait for the end, which must be an error of one line; that line."""
    _, errors = process.communicate(timeout=120)
    lines = errors.strip().splitlines()
    assert process.returncode == 1, errors
    assert len(lines) == 1, errors
    assert lines[0].startswith("tdsec: error: ")
    return lines[0]


def sabotage(directory: Path, worker: str, code: str) -> Mapping[str, str]:
    """Environment in which ``python -m worker`` runs ``code`` before it begins."""
    text = f"import sys\nif {worker!r} in sys.orig_argv:\n{textwrap.indent(code, '    ')}\n"
    (directory / "sitecustomize.py").write_text(text)
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": str(directory) + (os.pathsep + others if others else "")}


def demand_right(out: Path, model: Path) -> None:
    """Load an artefact and compare its result with LiteRT's."""
    data = model.read_bytes()
    inputs = random_inputs(data, seed=3)
    for ours, reference in zip(tdse.load(out).run(inputs), run_litert(data, inputs), strict=True):
        assert np.abs(ours.astype(float) - reference.astype(float)).max() <= 1


def store_of(cache: Path) -> Path:
    """The record store below a cache directory."""
    return cache / "tdse" / "records.sqlite"


def record_count(cache: Path) -> int:
    """Records in a store, which must be sound; none where it has no table for them yet."""
    with contextlib.closing(sqlite3.connect(store_of(cache))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if ("records",) not in tables.fetchall():
            return 0
        return int(connection.execute("SELECT COUNT(*) FROM records").fetchone()[0])
