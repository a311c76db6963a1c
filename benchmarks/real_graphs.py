"""Graphs of models, with what each operator takes on this machine, for the listed problems.

    python benchmarks/real_graphs.py MODEL.tflite... [--ops 160] [--store FILE] [-o FILE]

Of each model, its first operators are read and measured as ``tdsec`` does it. What is written,
``real_graphs.json``, has the kinds of the operators, who reads what, sizes of tensors and of
constants, and times; no weights. With the same store, a second run measures only what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from real_problems import WRITTEN

from tdse.child import Child
from tdse.cost.library import NOTHING
from tdse.cost.table import MEASURED, NOT_LEGAL, cost_table
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.slice import slice_model
from tdse.legality import Legality
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.launch import measure_launch
from tdse.measure.records import RecordStore
from tdse.measure.turn import measuring
from tdse.survey import survey
from tdse.targets import Variant, target_threads, target_variants

_TARGETS = ("litert", "llvm")
_COUNTS = (1, 2)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--ops", type=int, default=160, help="of each model, from its start; 160")
    parser.add_argument("--store", type=Path, help="keep the records there; else nowhere")
    parser.add_argument("-o", "--out", type=Path, default=WRITTEN)
    arguments = parser.parse_args()
    variants = target_variants(_TARGETS, _COUNTS)
    graphs = {}
    with tempfile.TemporaryDirectory() as scratch, measuring(lambda: print("waiting for a turn")):
        path = arguments.store or Path(scratch) / "records.sqlite"
        with contextlib.closing(RecordStore(current_conditions(), path)) as store:
            launch_us = measure_launch(variants, store)
            for model in arguments.models:
                graph = _beginning(read_tflite(model), arguments.ops)
                graphs[graph.name] = _fields(graph, _measured(graph, store, launch_us))
                print(f"{graph.name}: {len(graph.placed_ops)} operators", flush=True)
            written = {
                "machine": _machine(store.conditions),
                "variants": [str(Variant(*variant)) for variant in variants],
                "launch_us": [round(launch_us[variant], 3) for variant in variants],
                "graphs": graphs,
            }
    arguments.out.write_text(_text(written))


def _beginning(graph: Graph, n_ops: int) -> Graph:
    """The model's first operators as a model; the whole, if it has no more."""
    if len(graph.placed_ops) <= n_ops:
        return graph
    part = slice_model(graph, graph.placed_ops[:n_ops])
    return read_tflite(part.data, graph.name)


def _measured(
    graph: Graph, store: RecordStore, launch_us: Mapping[tuple[str, int], float]
) -> list[list[float | None]]:
    """Microseconds [operator][variant] without launches; None where the variant cannot run it.

    Raises:
        TdseError: an operator was not measured although it is legal.
    """
    with Child(graph, lambda *_: None) as child:
        legality = survey(
            graph, child, _TARGETS, _COUNTS, store, pins={}, seed=0, deadline=math.inf
        ).legality
    columns: dict[tuple[str, int], list[float]] = {}
    for count in _COUNTS:
        columns |= _columns(graph, legality, store, launch_us, count)
    rows = np.array([columns[variant] for variant in launch_us]).T
    return [[round(cost, 3) if math.isfinite(cost) else None for cost in row] for row in rows]


def _columns(
    graph: Graph,
    legality: Legality,
    store: RecordStore,
    launch_us: Mapping[tuple[str, int], float],
    count: int,
) -> dict[tuple[str, int], list[float]]:
    """Of the variants with that thread count, by target and threads: each operator's cost."""
    threads = {target: target_threads(target, [count])[0] for target in _TARGETS}
    table = cost_table(
        graph,
        signatures=legality.signatures,
        legal=legality.legal(),
        threads=threads,
        launch_us={target: launch_us[target, used] for target, used in threads.items()},
        records=store.find(legality.signatures.values()),
        models=dict.fromkeys(_TARGETS, NOTHING),
        pins={},
    )
    sources = {source for row in table.source for source in row}
    if not sources <= {MEASURED, NOT_LEGAL}:
        raise TdseError("not all operators were measured", where=graph.name, why=str(sources))
    return dict(zip(threads.items(), table.cost_us.T.tolist(), strict=True))


def _fields(graph: Graph, cost_us: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """What is written of a graph; tensors that pass between operators are numbered anew."""
    placed = [graph.ops[op] for op in graph.placed_ops]
    made = {*graph.inputs, *(tensor for op in placed for tensor in op.outputs)}
    read = {tensor for op in placed for tensor in op.inputs} | set(graph.outputs)
    number = {tensor: index for index, tensor in enumerate(sorted(made & read))}

    def numbers(tensors: Sequence[int]) -> list[int]:
        return [number[tensor] for tensor in dict.fromkeys(tensors) if tensor in number]

    return {
        "outputs": numbers(graph.outputs),
        "tensor_bytes": [graph.tensors[tensor].size_bytes for tensor in number],
        "ops": [
            [op.kind, op.parameter_bytes, numbers(op.inputs), numbers(op.outputs), costs]
            for op, costs in zip(placed, cost_us, strict=True)
        ],
    }


def _machine(conditions: Conditions) -> dict[str, Any]:
    return {
        "cpu": conditions.cpu,
        "cores": conditions.cores,
        "versions": dict(conditions.versions),
    }


def _text(written: Mapping[str, Any]) -> str:
    """JSON with a line for each operator: of all lists in lists, only theirs begin with a text."""
    return json.dumps(written).replace(', ["', ',\n["') + "\n"


if __name__ == "__main__":
    main()
