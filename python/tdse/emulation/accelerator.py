"""What operators take on an accelerator that is only described: those of their best mappings."""

from __future__ import annotations

import numpy as np

from tdse.dataflow.from_graph import layer_of
from tdse.dataflow.layer import Layer
from tdse.dataflow.search import find_mapping
from tdse.emulation.units import OnUnit
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.platform.model import DataflowUnit


def accelerate(graph: Graph, unit: DataflowUnit) -> list[OnUnit]:
    """Each of ``graph.placed_ops`` on an accelerator; equal layers are searched once."""
    known: dict[tuple[object, ...], OnUnit] = {}
    found = []
    for op in graph.placed_ops:
        layer = layer_of(graph, op)
        refusal = _refusal(graph, op, unit) if isinstance(layer, Layer) else layer
        if refusal or not isinstance(layer, Layer):
            found.append(OnUnit.refused(refusal))
            continue
        if layer.shape not in known:
            known[layer.shape] = _mapped(layer, unit)
        found.append(known[layer.shape])
    return found


def _refusal(graph: Graph, index: int, unit: DataflowUnit) -> str:
    op, most = graph.ops[index], unit.architecture.element_bytes
    for tensor in (graph.tensors[t] for t in (*op.inputs[:2], *op.outputs) if t >= 0):
        element = np.dtype(tensor.dtype).itemsize
        if element > most:
            return (
                f"tensor {tensor.name!r} has elements of {element} bytes, and element_bytes "
                f"is {most}"
            )
    return ""


def _mapped(layer: Layer, unit: DataflowUnit) -> OnUnit:
    try:
        figures = find_mapping(layer, unit.architecture, unit.objective).figures
    except TdseError as error:
        return OnUnit.refused(str(error))
    return OnUnit(figures.cycles / unit.architecture.clock_mhz, figures.energy_pj / 1e6)
