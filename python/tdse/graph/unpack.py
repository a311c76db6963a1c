"""The schema's object tree of a model, made once and shared by reading and slicing."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from .model import Graph
from .verify import DamagedError

# Buffer.offset of 1 is the converter's placeholder for one that is not stored outside.
_FIRST_OUTSIDE_OFFSET = 2


# What to do about a model that no converter should have written.
FAULTY = "the file is damaged or its converter at fault, convert the model again"


class UnreadableError(Exception):
    """The model is a well-formed flatbuffer, but does not make sense as a graph."""

    def __init__(self, why: str, hint: str = FAULTY) -> None:
        super().__init__(why)
        self.hint = hint


def unpack(data: bytes, sha256: str) -> Any:
    """The object tree (``ModelT``) of verified bytes; shared, so not to be changed.

    Raises:
        DamagedError: a scalar of an option table lies behind the end.
    """
    return _unpack(_Bytes(sha256, data))


def unpacked(graph: Graph) -> Any:
    """The object tree (``ModelT``) of a graph that was read; shared, so not to be changed."""
    return _unpack(_Bytes(graph.sha256, graph.data))


def constant_bytes(graph: Graph, tensor: int) -> memoryview:
    """The stored value of a constant tensor, without a copy; empty if it has no elements."""
    model = unpacked(graph)
    return tensor_view(graph.data, model, model.subgraphs[0].tensors[tensor])


def tensor_view(data: bytes, model: Any, tensor: Any) -> memoryview:
    """The stored bytes of a ``TensorT``, without a copy; empty if there are none."""
    buffer = tensor.buffer
    # Buffer 0 is the empty one by convention, whatever it holds.
    return buffer_view(data, model.buffers[buffer]) if buffer else memoryview(b"")


def buffer_view(data: bytes, buffer: Any) -> memoryview:
    """The bytes of a ``BufferT``, inside the flatbuffer or behind it, without a copy."""
    if buffer.data is not None and len(buffer.data):
        return memoryview(buffer.data)
    if is_outside(buffer):
        return memoryview(data)[buffer.offset : buffer.offset + buffer.size]
    return memoryview(b"")


def is_outside(buffer: Any) -> bool:
    """The value of a ``BufferT`` lies behind the flatbuffer, as in models over 2 GB."""
    inside = buffer.data is not None and len(buffer.data)
    return not inside and bool(buffer.offset >= _FIRST_OUTSIDE_OFFSET)


def indices(vector: Iterable[int] | None) -> tuple[int, ...]:
    """An integer vector of the object API as a tuple; empty where it is absent."""
    if vector is None:
        return ()
    return tuple(vector.tolist()) if hasattr(vector, "tolist") else tuple(map(int, vector))


def text(value: bytes | str | None) -> str:
    """A string of the object API; bytes that are not UTF-8 are replaced."""
    if value is None:
        return ""
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class _Bytes:
    """A model's bytes, hashed and compared by their digest."""

    sha256: str
    data: bytes = field(compare=False, repr=False)


@lru_cache(maxsize=4)
def _unpack(key: _Bytes) -> Any:
    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(key.data, 0))
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"it ends inside a table ({error})") from error
