"""The models that a benchmark is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def model_files(given: Sequence[str | Path]) -> list[Path]:
    """The ``.tflite`` files: those that are named, and all in the directories that are."""
    found: list[Path] = []
    for path in map(Path, given):
        found += sorted(path.rglob("*.tflite")) if path.is_dir() else [path]
    return found
