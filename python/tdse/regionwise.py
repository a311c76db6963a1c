"""Run an artefact so that what each region reads and makes can be seen, beside LiteRT's slices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.slice import Slice, slice_model, whole_model
from tdse.measure.accuracy import difference
from tdse.measure.activations import Array
from tdse.runtime import native
from tdse.runtime.artefact import MODULE
from tdse.runtime.check import check_artefact
from tdse.runtime.litert import run_litert
from tdse.runtime.model import model_by_position
from tdse.runtime.plan import read_borders, with_outputs


def compare_regions(
    graph: Graph,
    directory: str,
    ops: Sequence[Sequence[int]],
    inputs: Sequence[Array],
    tensors: str,
) -> list[dict[str, Any]]:
    """One row for each region with operators: ``name``, ``ops``, ``own`` and ``total``.

    Args:
        graph: the model.
        directory: the artefact.
        ops: operators of each region of its executor; none of a transfer.
        inputs: of the model.
        tensors: ``.npz`` to write, see ``find_divergence``.

    Raises:
        ArtefactError: the artefact does not fit this machine.
        TargetError: a region fails, or LiteRT cannot run its slice.
    """
    check_artefact(directory)
    regions, got = _seen(native.load_tvm_executor(Path(directory) / MODULE), inputs)
    expected = dict(zip(graph.inputs, inputs, strict=True))
    rows: list[dict[str, Any]] = []
    kept: dict[str, Array] = {}
    for region, members in zip(regions, ops, strict=True):
        if not members:
            continue
        name = region["name"]
        # The border of every target's region is that of the slice, in its order.
        piece = whole_model(graph) if graph.whole_reason else slice_model(graph, members)
        ours_in = [got[tensor] for tensor in region["inputs"]]
        ours = [got[tensor] for tensor in region["outputs"]]
        plain_in = [expected[index] for index in piece.inputs]
        plain = _litert(name, piece, plain_in)
        expected |= dict(zip(piece.outputs, plain, strict=True))
        same = all(map(_equal, ours_in, plain_in))
        own = plain if same else _litert(name, piece, ours_in)
        gap = difference(ours, own)
        rows.append(
            {
                "name": name,
                "ops": list(members),
                "own": asdict(gap),
                "total": asdict(difference(ours, plain)),
            }
        )
        if not gap.is_exact:
            for what, arrays in (("input", ours_in), ("ours", ours), ("litert", own)):
                kept |= {f"{name}.{what}{i}": array for i, array in enumerate(arrays)}
    np.savez(tensors, **kept)  # type: ignore[arg-type]
    return rows


def _seen(executor: Any, inputs: Sequence[Array]) -> tuple[list[dict[str, Any]], dict[int, Array]]:
    """The regions of an executor, and what lay at their borders in a run, by tensor of the plan."""
    regions = json.loads(executor["describe"]())["regions"]
    plan = bytes(native.call(executor["plan"]))
    outputs = list(dict.fromkeys(tensor for region in regions for tensor in region["outputs"]))
    # Every output keeps memory of its own, which the plan's liveness would give to others.
    seen = native.create_executor(with_outputs(plan, outputs))
    for library in executor.imports:
        seen.import_module(library)
    values = dict(zip(read_borders(plan).inputs, inputs, strict=True))
    return regions, values | dict(zip(outputs, model_by_position(seen).run(inputs), strict=True))


def _litert(name: str, piece: Slice, inputs: Sequence[Array]) -> list[Array]:
    try:
        return list(run_litert(piece.data, list(inputs)))
    except (RuntimeError, ValueError) as error:
        raise TargetError(
            "LiteRT cannot run the operators of a region", where=name, why=str(error)
        ) from None


def _equal(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
