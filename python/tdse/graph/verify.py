"""Check that a flatbuffer holds a TFLite model whose every part lies inside it.

flatbuffers' Python reader follows any offset it is given, so a damaged file would read other parts
of the file, or raise from deep inside. This walks the same tables first, in the order of the
official C++ verifier: tables and their vtables, vectors, strings and unions.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"

# The limit of the official verifier; a larger number only occurs where tables are shared on
# purpose to make a reader work forever.
MAX_TABLES = 1_000_000

# How many times the file's size its vectors and strings may add up to.
_MAX_COPIES = 4

# The fields of each table in the order of the schema (schema.fbs of TensorFlow Lite): a number is
# a scalar of that many bytes, "[4" a vector of elements of 4 bytes, "str" a string, a name a
# table, "[Name" a vector of tables, "<Union" a table chosen by the field before it.
_LAYOUTS: Mapping[str, str] = {
    "Model": "4 [OperatorCode [SubGraph str [Buffer [4 [Metadata [SignatureDef "
    "[ExternalBufferGroup [ExternalBuffer",
    "OperatorCode": "1 str 4 4",
    "SubGraph": "[Tensor [4 [4 [Operator str 4",
    "Tensor": "[4 1 4 str QuantizationParameters 1 SparsityParameters [4 1 [VariantSubType 4",
    "QuantizationParameters": "[4 [4 [4 [8 1 <QuantizationDetails 4",
    "CustomQuantization": "[1",
    "BlockwiseQuantization": "4 4 4 [4",
    "MultiAxisQuantization": "4 4 4 [4",
    "SparsityParameters": "[4 [4 [DimensionMetadata",
    "DimensionMetadata": "1 4 1 <SparseIndexVector 1 <SparseIndexVector",
    "Int32Vector": "[4",
    "Uint16Vector": "[2",
    "Uint8Vector": "[1",
    "VariantSubType": "[4 1 1",
    "Operator": "4 [4 [4 1 <BuiltinOptions [1 1 [1 [4 8 8 1 <BuiltinOptions2 4",
    "Buffer": "[b 8 8",
    "Metadata": "str 4",
    "SignatureDef": "[TensorMap [TensorMap str str 4",
    "TensorMap": "str 4",
    "ExternalBufferGroup": "str",
    "ExternalBuffer": "4 4 8 8 str",
    "ConcatEmbeddingsOptions": "4 [4 [4",
    "FullyConnectedOptions": "1 1 1 1 1 [1",
    "ReshapeOptions": "[4",
    "SqueezeOptions": "[4",
    "VarHandleOptions": "str str",
    "BucketizeOptions": "[4",
    "StableHLOCompositeOptions": "str 4 [1 1 4",
    "StablehloGatherOptions": "[8 [8 [8 8 [8 1",
    "StablehloTransposeOptions": "[8",
    "StablehloDotGeneralOptions": "[8 [8 [8 [8 [4",
    "StablehloReduceWindowOptions": "[8 [8 [8 [8 [8 4",
    "StablehloBroadcastInDimOptions": "[8",
    "StablehloDynamicSliceOptions": "[8",
    "StablehloPadOptions": "[8 [8 [8",
    "StablehloCustomCallOptions": "str 1 str 4 [4 [1",
    "StablehloReduceOptions": "[8 4",
    "StablehloSliceOptions": "[8 [8 [8",
    "StablehloConvolutionOptions": "[8 [8 [8 [8 [1 8 8 [8 8 8 [8 8 8 [8 8 8 [4",
    "StablehloScatterOptions": "1 [8 [8 [8 8 1 4",
    "StablehloCaseOptions": "[4",
}

_UNIONS: Mapping[str, Mapping[int, str]] = {
    name: {value: key for key, value in vars(union).items() if isinstance(value, int) and value}
    for name, union in (
        ("BuiltinOptions", schema.BuiltinOptions),
        ("BuiltinOptions2", schema.BuiltinOptions2),
        ("QuantizationDetails", schema.QuantizationDetails),
        ("SparseIndexVector", schema.SparseIndexVector),
    )
}

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from


class DamagedError(Exception):
    """The flatbuffer is not a whole TFLite model; the text says what is wrong."""


def verify(data: bytes) -> None:
    """Check that ``data`` can be unpacked with the schema's object API.

    Raises:
        DamagedError: it is too short, is no TFLite model, or part of it lies outside of it.
    """
    if len(data) < 8:
        raise DamagedError(f"it has only {len(data)} bytes")
    if data[4:8] != IDENTIFIER:
        raise DamagedError(f"bytes 4 to 7 are {bytes(data[4:8])!r} and not {IDENTIFIER!r}")
    _Walk(data).table("Model", _U32(data, 0)[0])


class _Walk:
    """One pass over a flatbuffer, with a budget against files made to be read forever."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = len(data)
        # Each table takes 4 bytes, and 4 more where it is referred to. One that is referred to
        # from everywhere would be read as often, and a small file could fill the memory.
        self._tables = min(MAX_TABLES, self._size // 8 + 1)
        # Vectors and strings that the reader copies. Writers share equal strings and vectors, so
        # they can add up to more than the file has, but not to many times of it.
        self._copied_bytes = _MAX_COPIES * self._size

    def table(self, name: str, start: int) -> None:
        """Check the table at ``start`` and everything below it."""
        self._tables -= 1
        if self._tables < 0:
            if self._size // 8 < MAX_TABLES:
                raise DamagedError("its tables overlap")
            raise DamagedError(f"it has more than {MAX_TABLES} tables")
        data, size = self._data, self._size
        if start + 4 > size:
            raise self._outside(name, start)
        vtable = start - _I32(data, start)[0]
        if vtable < 0 or vtable + 4 > size:
            raise self._outside(f"the layout of {name}", vtable)
        vtable_bytes, table_bytes = _U16(data, vtable)[0], _U16(data, vtable + 2)[0]
        if vtable_bytes < 4 or vtable_bytes % 2 or vtable + vtable_bytes > size:
            raise self._outside(f"the layout of {name}", vtable)
        if table_bytes < 4 or start + table_bytes > size:
            raise self._outside(name, start)
        offsets = struct.unpack_from(f"<{vtable_bytes // 2 - 2}H", data, vtable + 4)
        layout = _FIELDS.get(name)
        if layout is None:
            # Option tables that are not listed hold scalars of up to 8 bytes only.
            for offset in offsets:
                if offset and not 4 <= offset < table_bytes:
                    raise self._outside(f"a field of {name}", start)
            return
        for slot, (offset, field) in enumerate(zip(offsets, layout, strict=False)):
            if not offset:
                continue
            if offset < 4 or offset + field.width > table_bytes:
                raise self._outside(f"field {slot} of {name}", start)
            if field.kind != _SCALAR:
                chooser = offsets[slot - 1] if field.kind == _UNION else 0
                member = data[start + chooser] if chooser else 0
                self._reference(name, field, start + offset, member)

    def _reference(self, name: str, field: _Field, at: int, member: int) -> None:
        target = at + _U32(self._data, at)[0]
        if field.kind == _TABLE:
            self.table(field.name, target)
        elif field.kind == _UNION:
            # Type 0 is "none"; a reader does not look at the value then.
            if member:
                chosen = _UNIONS[field.name].get(member)
                if chosen is None:
                    raise DamagedError(f"{name} has {field.name} of the unknown type {member}")
                self.table(chosen, target)
        else:
            self._vector(name, field, target)

    def _vector(self, name: str, field: _Field, start: int) -> None:
        data = self._data
        if start + 4 > self._size:
            raise self._outside(f"a vector of {name}", start)
        count = _U32(data, start)[0]
        if start + 4 + count * field.element_bytes > self._size:
            raise self._outside(f"a vector of {count} elements of {name}", start)
        if field.is_copied:
            self._copied_bytes -= 4 + count * field.element_bytes
            if self._copied_bytes < 0:
                raise DamagedError("its vectors overlap")
        if field.kind == _TABLES:
            for at in range(start + 4, start + 4 + 4 * count, 4):
                self.table(field.name, at + _U32(data, at)[0])

    def _outside(self, part: str, at: int) -> DamagedError:
        return DamagedError(f"{part} at byte {at} goes beyond its {self._size} bytes")


_SCALAR, _TABLE, _TABLES, _UNION, _VECTOR = range(5)


class _Field:
    """One entry of a layout.

    Attributes:
        width: bytes in the table itself.
        element_bytes: bytes of one element of a vector.
        is_copied: the reader copies the vector, rather than making a view of it.
    """

    __slots__ = ("element_bytes", "is_copied", "kind", "name", "width")

    def __init__(self, text: str) -> None:
        self.kind, self.width, self.name, self.element_bytes = _TABLE, 4, text, 0
        self.is_copied = text != "[b"
        if text.isdigit():
            self.kind, self.width = _SCALAR, int(text)
        elif text == "str":
            self.kind, self.element_bytes = _VECTOR, 1
        elif text.startswith("<"):
            self.kind, self.name = _UNION, text[1:]
        elif text == "[b":
            self.kind, self.element_bytes = _VECTOR, 1
        elif text[0] == "[" and text[1].isdigit():
            self.kind, self.element_bytes = _VECTOR, int(text[1:])
        elif text[0] == "[":
            self.kind, self.name, self.element_bytes = _TABLES, text[1:], 4


_FIELDS: Mapping[str, tuple[_Field, ...]] = {
    name: tuple(_Field(field) for field in layout.split()) for name, layout in _LAYOUTS.items()
}
