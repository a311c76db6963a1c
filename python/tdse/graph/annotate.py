"""A model with notes in its metadata, which viewers show and runtimes pass over."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema

from ..errors import ModelError, printable
from .model import Graph
from .unpack import buffer_view, is_outside, unpacked
from .writer import AlignedBuffer, pack_model

# Netron shows metadata as text where they are shorter, and printable ASCII.
_MOST_CHARACTERS = 255


def annotated(graph: Graph, notes: Sequence[tuple[str, str]]) -> bytes:
    """The model with metadata entries added; operators, tensors and constants are the same.

    Args:
        graph: the model.
        notes: name and text of each entry.

    Raises:
        ModelError: there is no flatbuffer, or parts of it lie behind its end.
    """
    what, hint = "the model cannot be annotated", "export a .dot instead"
    if not graph.data:
        why = "it came as a Relax module, not as a .tflite"
        raise ModelError(what, where=graph.name, why=why, hint=hint)
    source = unpacked(graph)
    large = any(op.largeCustomOptionsOffset for sub in source.subgraphs for op in sub.operators)
    if large or any(map(is_outside, source.buffers)):
        why = "it has constants behind the flatbuffer, as models over 2 GB do"
        raise ModelError(what, where=graph.name, why=why, hint=hint)
    model = copy.copy(source)
    model.buffers = [AlignedBuffer(buffer_view(graph.data, buffer)) for buffer in source.buffers]
    model.metadata = list(source.metadata or [])
    for name, text in notes:
        model.metadata.append(schema.MetadataT(name=_ascii(name), buffer=len(model.buffers)))
        model.buffers.append(AlignedBuffer(memoryview(_ascii(text))))
    return pack_model(model)


def _ascii(text: str) -> bytes:
    return printable(text).encode("ascii", "backslashreplace")[:_MOST_CHARACTERS]
