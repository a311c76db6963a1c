"""What passes between tdse and a board: a JSON header and parts of plain bytes.

Little endian: u32 size of the header, the header, the parts one after the other. The header has
the size of each part under ``sizes``. Nothing in a message is run, unpickled or used as a path.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.errors import TdseError

# More than any operator with its tensors: what is larger was not meant.
MOST_BYTES = 1 << 30


def pack(header: Mapping[str, Any], parts: Sequence[bytes | memoryview]) -> bytes:
    """A message; the parts are contiguous, of single bytes.

    Raises:
        TdseError: it would be larger than ``MOST_BYTES``.
    """
    sizes = [len(part) for part in parts]
    text = json.dumps({**header, "sizes": sizes}).encode()
    if len(text) + sum(sizes) > MOST_BYTES:
        raise TdseError(
            "an operator with its tensors is too large to be sent to a board",
            why=f"{sum(sizes)} bytes, at most {MOST_BYTES} are sent",
        )
    return b"".join((struct.pack("<I", len(text)), text, *parts))


def unpack(message: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """Header and parts of ``message``.

    Raises:
        TdseError: the message is malformed.
    """
    try:
        (length,) = struct.unpack_from("<I", message)
        header = json.loads(message[4 : 4 + length])
        sizes = header.pop("sizes")
        if any(type(size) is not int or size < 0 for size in sizes):
            raise ValueError("a size is not a count")
        if 4 + length + sum(sizes) != len(message):
            raise ValueError(f"{len(message)} bytes are not what its sizes say")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _malformed(str(error)) from None
    parts, start = [], 4 + length
    for size in sizes:
        parts.append(memoryview(message)[start : start + size])
        start += size
    return header, parts


def as_array(part: memoryview, dtype: npt.DTypeLike, shape: Sequence[int]) -> npt.NDArray[Any]:
    """A part as the array that is expected.

    Raises:
        TdseError: it is not of the array's size.
    """
    kind = np.dtype(dtype)
    if len(part) != math.prod(shape) * kind.itemsize:
        raise _malformed(f"{len(part)} bytes for a tensor of {kind} and shape {tuple(shape)}")
    return np.frombuffer(part, kind).reshape(shape)


def _malformed(why: str) -> TdseError:
    return TdseError("a message between tdse and a board is malformed", why=why)
