"""Changes a model through the schema's objects, to make what no converter writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def changed(data: bytes, change: Callable[[Any], object]) -> bytes:
    """The model after ``change`` has been called with its ``ModelT``."""
    # Vectors are views of what is unpacked, so they can be written to.
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    change(model)
    return packed(model)


def packed(model: Any) -> bytes:
    """The flatbuffer of a ``ModelT``."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
