"""Messages between tdse and a board."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdse.errors import TdseError
from tdse.measure import message
from tdse.measure.message import as_array, pack, unpack


@given(st.dictionaries(st.sampled_from("abc"), st.text()), st.lists(st.binary()))
def test_a_message_is_read_as_it_was_written(header: dict[str, str], parts: list[bytes]) -> None:
    read, read_parts = unpack(pack(header, parts))
    assert read == header
    assert [bytes(part) for part in read_parts] == parts


@given(st.binary())
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(TdseError, match="message between tdse and a board is malformed"):
        unpack(data)


@given(st.lists(st.binary()), st.data())
def test_a_cut_message_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    whole = pack({}, parts)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TdseError, match="malformed"):
        unpack(whole[:end])


@pytest.mark.parametrize("sizes", ["[-1, 5]", "[true]", "[1e9]", "4", "null"])
def test_sizes_that_are_none_are_refused(sizes: str) -> None:
    text = f'{{"sizes": {sizes}}}'.encode()
    with pytest.raises(TdseError, match="malformed"):
        unpack(len(text).to_bytes(4, "little") + text + b"1234")


def test_what_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MOST_BYTES", 100)
    with pytest.raises(TdseError, match="too large to be sent to a board: 200 bytes"):
        pack({}, [bytes(200)])


def test_an_array_has_the_size_that_is_expected() -> None:
    assert as_array(memoryview(bytes(24)), "float32", (2, 3)).shape == (2, 3)
    with pytest.raises(TdseError, match=r"23 bytes for a tensor of float32 and shape \(2, 3\)"):
        as_array(memoryview(bytes(23)), "float32", (2, 3))
