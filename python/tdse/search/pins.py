"""Pins: what a user says about where operators must go."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tdse.errors import UsageError
from tdse.search.problem import listed


def parse_pins(
    texts: Sequence[str], labels: Sequence[str], kinds: Sequence[str], devices: Sequence[str]
) -> dict[int, str]:
    """Reads pins such as ``12=llvm``, ``12:conv2d=llvm`` or ``conv2d=llvm``.

    A pin of one operator beats a pin of its kind, whatever their order.

    Args:
        texts: the pins; the last form pins every operator of the kind.
        labels: name of each operator that can be placed, ``index:kind``; the index is the model's
            and need not be the position in this list.
        kinds: kind of each of those operators, in the same order.
        devices: the device choices.

    Returns:
        Device choice by position in ``labels``.

    Raises:
        UsageError: a pin is malformed, names no operator or device there is, or contradicts
            another.
    """
    indices = [int(label.partition(":")[0]) for label in labels]
    of_kind: dict[int, str] = {}
    of_op: dict[int, str] = {}
    for text in texts:
        name, separator, device = (part.strip() for part in text.partition("="))
        if not (name and separator and device):
            raise UsageError(
                f"the pin {text!r} cannot be read",
                hint="write an operator and a device, for example 12=llvm or conv2d=llvm",
            )
        if device not in devices:
            raise _unknown(text, "device", device, devices)
        if name in kinds:
            found, pins = [row for row, kind in enumerate(kinds) if kind == name], of_kind
        elif name in labels:
            found, pins = [labels.index(name)], of_op
        elif name.isdecimal() and int(name) in indices:
            found, pins = [indices.index(int(name))], of_op
        else:
            raise _unknown_op(text, name, labels, kinds, indices)
        for row in found:
            if pins.setdefault(row, device) != device:
                raise UsageError(
                    f"{labels[row]} is pinned to {pins[row]} and to {device}",
                    where=f"pin {text}",
                    hint="keep one of the two pins",
                )
    return dict(sorted((of_kind | of_op).items()))


def _unknown_op(
    text: str, name: str, labels: Sequence[str], kinds: Sequence[str], indices: Sequence[int]
) -> UsageError:
    number = name.partition(":")[0]
    if number.isdecimal() and int(number) in indices:
        label = labels[indices.index(int(number))]
        return UsageError(
            f"there is no operator {name}", where=f"pin {text}", hint=f"did you mean {label}?"
        )
    if number.isdecimal() and indices:
        return UsageError(
            f"there is no operator {name} that can be placed",
            where=f"pin {text}",
            hint=f"operators are numbered from {min(indices)} to {max(indices)}",
        )
    return _unknown(text, "operator", name, [*dict.fromkeys(kinds), *labels])


def _unknown(text: str, what: str, name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    names = f"did you mean {' or '.join(near)}?" if near else f"there are {listed(known, 12)}"
    return UsageError(f"there is no {what} {name}", where=f"pin {text}", hint=names)
