"""Models as edgetpu_compiler leaves them, with packages that hold sizes only."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.edgetpu.package import CUSTOM_OP


def package(cached: int, streamed: int, runtime: int = 14) -> bytes:
    """As the schema ``executable/executable.fbs`` of libedgetpu says."""
    executables = []
    for size, kind in ((streamed, 2), (cached, 1)):
        builder = flatbuffers.Builder()
        parameters = builder.CreateByteVector(bytes(size))
        builder.StartObject(17)
        builder.PrependUOffsetTRelativeSlot(6, parameters, 0)
        builder.PrependInt16Slot(13, kind, 0)
        builder.Finish(builder.EndObject())
        executables.append(bytes(builder.Output()))
    builder = flatbuffers.Builder()
    # Executables are strings of the schema, but not text.
    strings = [builder.CreateByteVector(each) for each in executables]
    builder.StartVector(4, len(strings), 4)
    for each in reversed(strings):
        builder.PrependUOffsetTRelative(each)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    joined = bytes(builder.Output())
    builder = flatbuffers.Builder()
    inner = builder.CreateByteVector(joined)
    builder.StartObject(5)
    builder.PrependInt32Slot(0, runtime, 0)
    builder.PrependUOffsetTRelativeSlot(1, inner, 0)
    builder.Finish(builder.EndObject(), b"DWN1")
    return bytes(builder.Output())


def compiled_model(options: bytes) -> bytes:
    """A custom operator that edgetpu_compiler might have made, and an ABS behind it."""
    tensors = [Tensor(f"t{i}", (1, 4), "int8", scales=(1.0,), zero_points=(0,)) for i in range(3)]
    operators = [
        Operator("CUSTOM", (0,), (1,), custom_name=CUSTOM_OP, custom_options=options),
        Operator("ABS", (1,), (2,), schema.AbsOptionsT()),
    ]
    return write_model([Subgraph(tensors, operators, (0,), (2,))])
