"""No file, however damaged, gets past the verifier and breaks the reader."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from models import MODELS
from tdse.errors import ModelError, TdseError
from tdse.graph import form_regions, read_tflite, signature, slice_model
from tdse.graph import verify as verifier
from tdse.graph.verify import DamagedError, verify

DATA = {name: build() for name, build in MODELS.items()}

# The accessor flags of the generated code, and what a layout says of them.
SCALARS = {
    **dict.fromkeys(("Int8", "Uint8", "Bool"), "1"),
    **dict.fromkeys(("Int16", "Uint16"), "2"),
    **dict.fromkeys(("Int32", "Uint32", "Float32"), "4"),
    **dict.fromkeys(("Int64", "Uint64", "Float64"), "8"),
}


@pytest.mark.parametrize("name", DATA)
def test_accepts_whole_models(name: str) -> None:
    verify(DATA[name])


@pytest.mark.parametrize("name", ["branches", "conditional", "custom_op", "resource_variable"])
def test_refuses_models_cut_off_anywhere(name: str) -> None:
    # A model's last bytes may be padding, so the whole graph must come out if one is accepted.
    whole = read_tflite(DATA[name])
    for length in range(len(DATA[name])):
        try:
            graph = read_tflite(DATA[name][:length])
        except ModelError as error:
            assert "\n" not in str(error)
        else:
            assert graph.ops == whole.ops, length
            assert len(DATA[name]) - length < 16


@settings(max_examples=300, deadline=2000)
@given(st.data())
def test_damage_raises_nothing_but_tdse_errors(draw: st.DataObject) -> None:
    damaged = bytearray(DATA[draw.draw(st.sampled_from(sorted(DATA)))])
    interesting = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    for _ in range(draw.draw(st.integers(1, 8))):
        at = draw.draw(st.integers(0, len(damaged) - 4))
        width = draw.draw(st.sampled_from([1, 2, 4]))
        value = draw.draw(interesting | st.integers(0, 2**32 - 1)) & ((1 << 8 * width) - 1)
        damaged[at : at + width] = value.to_bytes(width, "little")
    try:
        graph = read_tflite(bytes(damaged))
        for op in graph.placed_ops:
            assert len(signature(graph, op)) == 64
        for op in graph.placed_ops:
            read_tflite(slice_model(graph, [op]).data)
        form_regions(graph, {op: "xy"[op % 2] for op in graph.placed_ops})
    except TdseError as error:
        assert error.why


def test_random_bytes_with_the_right_identifier() -> None:
    with pytest.raises(DamagedError, match="goes beyond"):
        verify(b"\xff\xff\xff\x7fTFL3" + bytes(64))
    with pytest.raises(DamagedError, match="goes beyond"):
        verify(b"\x04\0\0\0TFL3")


def test_refuses_more_tables_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "MAX_TABLES", 10)
    with pytest.raises(DamagedError, match="more than 10 tables"):
        verify(DATA["branches"])


def test_refuses_vectors_shared_to_exhaust_memory() -> None:
    """A thousand metadata entries that share one long name: a copy of each would be made."""
    names = 1000
    name = b"n" * 4000 + b"\0\0\0\0"
    # Root table with the one field 6 (metadata), the vector, one entry, its name.
    vtable = struct.pack("<9H", 18, 8, 0, 0, 0, 0, 0, 0, 4) + b"\0\0"
    root = 8 + len(vtable)
    vector = root + 8
    entry = vector + 4 + 4 * names
    entry_vtable = struct.pack("<4H", 6, 8, 4, 0)
    offsets = [entry + len(entry_vtable) - (vector + 4 + 4 * k) for k in range(names)]
    data = struct.pack("<I4s", root, b"TFL3") + vtable
    data += struct.pack("<iI", len(vtable), 4)
    data += struct.pack(f"<I{names}I", names, *offsets)
    data += entry_vtable + struct.pack("<iI", len(entry_vtable), 4)
    data += struct.pack("<I", 4000) + name
    with pytest.raises(DamagedError, match="overlap"):
        verify(data)


def test_refuses_options_of_a_later_schema() -> None:
    data = bytearray(DATA["two_inputs_two_outputs"])
    model = schema.Model.GetRootAs(bytes(data), 0)
    operator = model.Subgraphs(0).Operators(0)
    at = operator._tab.Pos + operator._tab.Offset(4 + 2 * 3)
    data[at] = 250
    with pytest.raises(DamagedError, match="BuiltinOptions of the unknown type 250"):
        verify(bytes(data))


@pytest.mark.parametrize("name", sorted(verifier._LAYOUTS))
def test_layouts_agree_with_the_generated_code(name: str) -> None:
    """The table of layouts against the accessors that flatc generated from the schema."""
    layout = verifier._LAYOUTS[name].split()
    table = getattr(schema, name)
    for method in vars(table).values():
        slot, expected = _accessed(method)
        if slot is None or expected is None:
            continue
        assert slot < len(layout)
        # Buffer.data is a vector of bytes that is not copied; unions are named by us.
        assert layout[slot].replace("[b", "[1").split("<")[0] == expected


def test_unlisted_option_tables_hold_scalars_only() -> None:
    for union in (schema.BuiltinOptions, schema.BuiltinOptions2):
        for name, value in vars(union).items():
            if isinstance(value, int) and value and name not in verifier._LAYOUTS:
                for method in vars(getattr(schema, name)).values():
                    expected = _accessed(method)[1]
                    assert expected is None or expected in SCALARS.values(), name


def _accessed(method: Any) -> tuple[int | None, str | None]:
    """The slot that a generated accessor reads, and the layout of its field."""
    code = getattr(method, "__code__", None)
    if code is None or "Offset" not in code.co_names or code.co_name.endswith(_HELPERS):
        return None, None
    slot = (next(c for c in code.co_consts if isinstance(c, int) and c >= 4) - 4) // 2
    flags = [n.removesuffix("Flags") for n in code.co_names if n.endswith("Flags")]
    flags = [flag for flag in flags if flag != "UOffsetT"]
    if "String" in code.co_names:
        return slot, "str"
    if "Union" in code.co_names:
        return slot, ""
    if "Init" in code.co_names:
        inner = next(n for n in code.co_names if n[0].isupper() and hasattr(schema, n))
        return slot, f"[{inner}" if "Vector" in code.co_names else inner
    width = SCALARS[flags[0]]
    return slot, f"[{width}" if "Vector" in code.co_names else width


_HELPERS = ("AsNumpy", "Length", "IsNone")
