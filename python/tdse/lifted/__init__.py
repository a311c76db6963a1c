"""A model that came as a Relax module: read, and run as TVM runs it by default.

``tdse.relax.lift`` makes such a module, in which ``main`` calls one function per operator. Its
graph holds it in TVM's JSON, where the graph of another model holds a flatbuffer.
"""

from __future__ import annotations

from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite


def read_model(data: bytes, name: str) -> Graph:
    """The graph of a ``.tflite``, or of a lifted module in TVM's JSON.

    Raises:
        ModelError: it is a flatbuffer, and cannot be read.
    """
    # The fifth byte of a flatbuffer begins its identifier.
    if not data.startswith(b"{"):
        return read_tflite(data, name)
    # Where TVM is a 0.x, no model is a Relax module.
    from .graph import graph_of_ir

    return graph_of_ir(data, name)
