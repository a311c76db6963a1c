"""Models that edgetpu_compiler made: what is in their custom operator.

Its options hold a package of executables, a flatbuffer whose schema libedgetpu publishes as
``executable/executable.fbs``. Only what is needed is read: the bytes of parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.slice import custom_options

CUSTOM_OP = "edgetpu-custom-op"

_IDENTIFIER = b"DWN1"
# Numbers of fields in the schema.
_PACKAGE_RUNTIME, _PACKAGE_EXECUTABLES = 0, 1
_EXECUTABLES = 0
_PARAMETERS, _TYPE = 6, 13
_CACHING = 1


@dataclass(frozen=True)
class Package:
    """What the compiler made of a region.

    Attributes:
        runtime: first version of the runtime that can run it.
        cached_bytes: parameters that are kept in the Edge TPU's memory.
        streamed_bytes: parameters that are sent again for each run.
    """

    runtime: int
    cached_bytes: int
    streamed_bytes: int


def is_compiled(graph: Graph) -> bool:
    """Whether a model was made by edgetpu_compiler."""
    return any(op.tflite_name == CUSTOM_OP for op in graph.ops)


def is_compiled_region(graph: Graph, ops: Sequence[int]) -> bool:
    """Whether operators are one that edgetpu_compiler made."""
    return len(ops) == 1 and graph.ops[ops[0]].tflite_name == CUSTOM_OP


def read_package(graph: Graph, index: int) -> Package:
    """The package of a custom operator.

    Args:
        graph: a model that edgetpu_compiler made.
        index: of its ``edgetpu-custom-op``.

    Raises:
        ModelError: there is no package in it, or it is damaged.
    """
    options = custom_options(graph, index)
    start = options.find(_IDENTIFIER) - 4
    what = f"cannot read what is compiled in op {graph.ops[index].label}"
    hint = "compile the model again with edgetpu_compiler"
    if start < 0:
        raise ModelError(what, where=graph.name, why="it holds no package", hint=hint)
    try:
        return _read(options[start:])
    except (struct.error, IndexError, TypeError) as error:
        raise ModelError(what, where=graph.name, why=f"damaged: {error}", hint=hint) from None


def _read(data: bytes) -> Package:
    package = _Table(data)
    executables = _Table(package.vector(_PACKAGE_EXECUTABLES))
    cached = streamed = 0
    for each in executables.strings(_EXECUTABLES):
        executable = _Table(each)
        size = len(executable.vector(_PARAMETERS))
        if executable.scalar(_TYPE, "<h") == _CACHING:
            cached += size
        else:
            streamed += size
    return Package(package.scalar(_PACKAGE_RUNTIME, "<i"), cached, streamed)


class _Table:
    """The root table of a flatbuffer."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = self._number(0, "<I")

    def scalar(self, field: int, form: str) -> int:
        """A number; 0 where the field is absent."""
        at = self._field(field)
        return self._number(at, form) if at else 0

    def vector(self, field: int) -> bytes:
        """A vector of bytes; empty where the field is absent."""
        at = self._field(field)
        return self._bytes(at) if at else b""

    def strings(self, field: int) -> list[bytes]:
        """A vector of strings."""
        at = self._field(field)
        if not at:
            return []
        start = at + self._number(at, "<I")
        count = self._number(start, "<I")
        if start + 4 + 4 * count > len(self._data):
            raise IndexError("a vector lies behind the end")
        return [self._bytes(start + 4 + 4 * i) for i in range(count)]

    def _field(self, field: int) -> int:
        """Where a field is; 0 where it is absent."""
        table = self._at - self._number(self._at, "<i")
        place = 4 + 2 * field
        offset = self._number(table + place, "<H") if place < self._number(table, "<H") else 0
        return self._at + offset if offset else 0

    def _bytes(self, at: int) -> bytes:
        start = at + self._number(at, "<I")
        size = self._number(start, "<I")
        found = self._data[start + 4 : start + 4 + size]
        if len(found) != size:
            raise IndexError("a vector lies behind the end")
        return found

    def _number(self, at: int, form: str) -> int:
        if at < 0:
            raise IndexError("an offset lies before the beginning")
        (number,) = struct.unpack_from(form, self._data, at)
        return int(number)
