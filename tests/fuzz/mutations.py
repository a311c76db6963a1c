"""Damaged and hostile models, made from sound ones with a source of random numbers.

``hypothesis`` gives a source whose choices it can shrink; a fuzzer gives a seeded one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models import MODELS
from tampering import packed

# Values at which arithmetic, indices and sizes go wrong.
_INTERESTING = (0, 1, 2, 3, 7, 16, 127, 128, 255, 256, 32767, 65535, 1 << 20)
_EXTREME = (-1, -2, (1 << 31) - 1, -(1 << 31), 1 << 30, (1 << 32) - 1)
_FLOATS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))

# Field names to the values of the schema's enumerations that they take.
_ENUMERATIONS = {
    "type": schema.TensorType,
    "builtinCode": schema.BuiltinOperator,
    "padding": schema.Padding,
    "fusedActivationFunction": schema.ActivationFunctionType,
}


@cache
def bases() -> Mapping[str, bytes]:
    """The sound models."""
    return {name: build() for name, build in MODELS.items()}


def mutant(random: Random) -> bytes:
    """A sound model after one to three changes, each of the bytes or of the structure."""
    data = bases()[random.choice(sorted(bases()))]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        # Half of the changes respect the format, so that they get past the verifier.
        change = random.choice((edited, edited, edited, edited, *_BYTE_CHANGES))
        data = change(random, data)
    return data


def edited(random: Random, data: bytes) -> bytes:
    """The model with one field, element or part changed; unchanged if it cannot be unpacked."""
    try:
        # Vectors are views of what is unpacked, so they can be written to.
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    except (struct.error, IndexError, TypeError, ValueError, OverflowError, UnicodeDecodeError):
        return flipped(random, data)
    _edit(random, model)
    try:
        return packed(model)
    except (struct.error, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        # The value does not go into the field.
        return data


def flipped(random: Random, data: bytes) -> bytes:
    """Up to eight bytes changed, each a bit or as a whole."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(changed))
        changed[at] = random.choice((changed[at] ^ 1 << random.randrange(8), random.randrange(256)))
    return bytes(changed)


def overwritten(random: Random, data: bytes) -> bytes:
    """A number of 1, 2, 4 or 8 bytes replaced, as offsets and counts are."""
    changed = bytearray(data)
    width = random.choice((1, 2, 4, 4, 4, 8))
    at = random.randrange(max(1, len(changed) - width)) // width * width
    value = random.choice((*_INTERESTING, *_EXTREME)) & (1 << 8 * width) - 1
    changed[at : at + width] = value.to_bytes(width, "little")
    return bytes(changed)


def truncated(random: Random, data: bytes) -> bytes:
    """The model without its end."""
    return data[: random.randrange(len(data))] or data[:1]


def spliced(random: Random, data: bytes) -> bytes:
    """A part replaced by a part of another model, or moved, or repeated."""
    other = random.choice((data, bases()[random.choice(sorted(bases()))]))
    length = random.choice((4, 16, 64, 256, random.randint(1, 1024)))
    source, at = random.randrange(len(other)), random.randrange(len(data))
    part = other[source : source + length]
    keeps_size = random.random() < 0.5
    return data[:at] + part + data[at + (len(part) if keeps_size else 0) :]


_BYTE_CHANGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    flipped,
    overwritten,
    truncated,
    spliced,
)


def _edit(random: Random, part: Any) -> None:
    """Change a field of an object of the schema, or of an object below it."""
    names = [name for name, value in vars(part).items() if value is not None]
    if not names:
        return
    # Most of what matters is in the subgraphs.
    weighty = [name for name in ("subgraphs", "operators", "tensors") if name in names]
    name = random.choice([*names, *weighty * 4])
    value = getattr(part, name)
    if isinstance(value, list) and value and random.random() < 0.9:
        inner = random.choice(value)
        if hasattr(inner, "__dict__"):
            _edit(random, inner)
        else:
            value[value.index(inner)] = _number(random, inner)
    elif isinstance(value, list):
        _rearrange(random, value)
    elif isinstance(value, np.ndarray):
        setattr(part, name, _array(random, value))
    elif name in _ENUMERATIONS and random.random() < 0.7:
        choices = [v for v in vars(_ENUMERATIONS[name]).values() if isinstance(v, int)]
        setattr(part, name, random.choice(choices))
    elif isinstance(value, bool):
        setattr(part, name, not value)
    elif isinstance(value, int | float):
        setattr(part, name, _number(random, value))
    elif isinstance(value, bytes | str):
        setattr(part, name, value[: random.randint(0, len(value))])
    elif random.random() < 0.1:
        setattr(part, name, None)
    else:
        _edit(random, value)


def _rearrange(random: Random, values: list[Any]) -> None:
    """Remove, repeat or exchange entries."""
    if not values:
        return
    first, second = random.randrange(len(values)), random.randrange(len(values))
    change = random.randrange(3)
    if change == 0:
        del values[first]
    elif change == 1:
        values.insert(second, values[first])
    else:
        values[first], values[second] = values[second], values[first]


def _array(random: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The vector with an element changed, or shorter, or longer."""
    change = random.random()
    if change < 0.15 or not len(array):
        return array[: random.randint(0, len(array))]
    if change < 0.3:
        return np.concatenate([array, array[: random.randint(1, len(array))]])
    array = array.copy()
    at = random.randrange(len(array))
    value = _number(random, array[at].item())
    if array.dtype.kind == "f":
        array[at] = np.float32(value)
    else:
        # Wrapped to the width of the elements.
        array[at] = np.array(int(value)).astype(array.dtype)
    return array


def _number(random: Random, value: float) -> Any:
    if isinstance(value, float):
        return random.choice((*_FLOATS, -value, value * 2, value / 3))
    near = (value + 1, value - 1, value * 2, -value)
    return random.choice((*near, *near, *_INTERESTING, *_EXTREME))
