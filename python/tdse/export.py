"""A placed model for viewers: a ``.tflite`` with notes, for Netron, or a ``.dot``, for Graphviz."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tdse.account import OpCost, executor_regions, op_costs, place_of
from tdse.bench import model_of
from tdse.errors import UsageError, printable
from tdse.files import written
from tdse.graph.annotate import annotated
from tdse.graph.model import Graph
from tdse.runtime.artefact import PLACEMENT
from tdse.runtime.metadata import Metadata, read_metadata
from tdse.search.placement import Placement, load_placement

# Of places, in the order of first use; those of a report. The last is for all that are too many.
_COLOURS = (
    "#9ecae1",
    "#fdbe6f",
    "#a1d99b",
    "#f4a6a0",
    "#cbb8e6",
    "#ebdc7a",
    "#8fd8cf",
    "#d5d5d5",
)


def export(
    directory: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
) -> int:
    """Write where the operators of an artefact run, and how long, for a viewer; bytes written.

    Args:
        directory: an artefact.
        file: a ``.tflite``, the model with an entry of metadata for each operator, or a ``.dot``.
        model: the ``.tflite`` it was made of; by default where it was when compiled.

    Raises:
        ArtefactError: there is no artefact.
        ModelError: the model is missing, another than the artefact was made of, or cannot be
            annotated.
        UsageError: the file has another suffix, or cannot be written.
    """
    make = _MAKERS.get(Path(file).suffix)
    if make is None:
        raise UsageError(
            "it is not known what to export",
            where=str(file),
            why="the file's suffix says it",
            hint=f"give one of {', '.join(_MAKERS)}; tdse run --trace writes traces for Perfetto",
        )
    metadata = read_metadata(directory)
    graph = model_of(metadata.model, model)
    data = make(graph, metadata, load_placement(Path(directory) / PLACEMENT))
    with written(file, "the export"):
        Path(file).write_bytes(data)
    return len(data)


def op_texts(metadata: Metadata, placement: Placement) -> dict[int, str]:
    """By operator: where it runs, in which region, and what it takes, with the figure's source."""
    costs = op_costs(metadata, placement)
    regions = executor_regions(metadata, placement)
    region = {op: i for i, one in enumerate(regions) for op in one.ops}
    return {
        op.index: f"{place_of(op, metadata)}, region {region[op.index]}"
        + _cost_text(costs, op.index)
        for op in placement.ops
    }


def _cost_text(costs: Mapping[int, OpCost], op: int) -> str:
    if op not in costs:
        return ""
    cost = costs[op]
    alone = "" if cost.alone_us is None else f" ({cost.alone_us:.1f} us with its launch)"
    return f", {cost.cost_us:.1f} us {cost.source}{alone}"


def _tflite(graph: Graph, metadata: Metadata, placement: Placement) -> bytes:
    label = {op.index: op.label for op in placement.ops}
    board = "" if metadata.emulated is None else f", {metadata.emulated.label}"
    notes = [
        ("tdse", f"{metadata.tdse}, {metadata.made_at}"),
        ("tdse platform", f"{metadata.platform}, {placement.threads} threads{board}"),
    ]
    texts = op_texts(metadata, placement)
    return annotated(graph, [*notes, *((f"tdse {label[op]}", text) for op, text in texts.items())])


def _dot(graph: Graph, metadata: Metadata, placement: Placement) -> bytes:
    places = {op.index: place_of(op, metadata) for op in placement.ops}
    order = list(dict.fromkeys(places.values()))
    colour = {place: _COLOURS[min(i, len(_COLOURS) - 1)] for i, place in enumerate(order)}
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        '  node [shape=box, style="filled,rounded", fontname="sans-serif"];',
    ]
    for op, text in op_texts(metadata, placement).items():
        lines.append(
            f"  {op} [label={_quoted(graph.ops[op].label)}, tooltip={_quoted(text)}, "
            f'fillcolor="{colour[places[op]]}"];'
        )
    for number, region in enumerate(executor_regions(metadata, placement)):
        if region.ops:
            members = "; ".join(map(str, region.ops))
            name = _quoted(f"region {number}, {region.place}")
            lines.append(f"  subgraph cluster_{number} {{ label={name}; {members}; }}")
    for source, sink in dict.fromkeys((source, sink) for source, sink, _ in graph.edges):
        lines.append(f"  {source} -> {sink};")
    return ("\n".join(lines) + "\n}\n").encode()


def _quoted(text: str) -> str:
    """A string of DOT: a backslash in it would begin an escape of its own."""
    plain = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


_MAKERS: Mapping[str, Callable[[Graph, Metadata, Placement], bytes]] = {
    ".tflite": _tflite,
    ".dot": _dot,
}
