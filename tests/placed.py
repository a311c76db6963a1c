"""Artefacts with a given placement: nothing is measured, so they are made in a second or two."""

from __future__ import annotations

from pathlib import Path

import tdse
from tdse.graph.reader import read_tflite
from tdse.graph.regions import form_regions
from tdse.search.placement import make_placement


def compile_on(target: str, model: Path, out: Path) -> Path:
    """Compile a model with all its operators on one target; ``out``."""
    graph = read_tflite(model)
    regions = form_regions(graph, dict.fromkeys(graph.placed_ops, target))
    tdse.compile(model, out=out, placement=make_placement(graph, regions, 1, None, 0))
    return out
