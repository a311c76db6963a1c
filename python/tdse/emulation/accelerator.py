"""What operators take on an accelerator that is only described: those of their best mappings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdse.dataflow.from_graph import layer_of
from tdse.dataflow.layer import Layer
from tdse.dataflow.search import LayerResult, find_mapping
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.platform.model import DataflowUnit


@dataclass(frozen=True)
class Accelerated:
    """An operator on an accelerator.

    Attributes:
        time_us: infinite where it does not run.
        energy_uj: likewise.
        refusal: why it does not run; empty if it does.
    """

    time_us: float
    energy_uj: float
    refusal: str = ""


def accelerate(graph: Graph, unit: DataflowUnit) -> list[Accelerated]:
    """Each of ``graph.placed_ops`` on an accelerator; equal layers are searched once."""
    known: dict[tuple[object, ...], Accelerated] = {}
    found = []
    for op in graph.placed_ops:
        refusal = accelerator_refusal(graph, op, unit)
        if refusal:
            found.append(Accelerated(np.inf, np.inf, refusal))
            continue
        layer = layer_of(graph, op)
        assert isinstance(layer, Layer), "it would have been refused"
        if layer.shape not in known:
            known[layer.shape] = _mapped(layer, unit)
        found.append(known[layer.shape])
    return found


def accelerator_refusal(graph: Graph, index: int, unit: DataflowUnit) -> str:
    """Why an accelerator does not run an operator; empty if it does."""
    layer = layer_of(graph, index)
    if not isinstance(layer, Layer):
        return layer
    op, most = graph.ops[index], unit.architecture.element_bytes
    for tensor in (graph.tensors[t] for t in (*op.inputs[:2], *op.outputs) if t >= 0):
        element = np.dtype(tensor.dtype).itemsize
        if element > most:
            return (
                f"tensor {tensor.name!r} has elements of {element} bytes, and element_bytes "
                f"is {most}"
            )
    return ""


def _mapped(layer: Layer, unit: DataflowUnit) -> Accelerated:
    try:
        result: LayerResult = find_mapping(layer, unit.architecture, unit.objective)
    except TdseError as error:
        return Accelerated(np.inf, np.inf, str(error))
    return Accelerated(
        result.figures.cycles / unit.architecture.clock_mhz, result.figures.energy_pj / 1e6
    )
