"""Which sizes an exploration tries: ``spm_kib=16..2048 rf_bytes=16,64,256``."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from tdse.dataflow.architecture import Architecture
from tdse.errors import UsageError
from tdse.faults import faults_of

VARIED = ("pes", "rf_bytes", "spm_kib")
_MOST_POINTS = 100_000
_FORM = "write for example spm_kib=16..1024, which doubles, or rf_bytes=64,96,128"


def parse_varied(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Sizes by the name of the field.

    Raises:
        UsageError: a text is not of the form.
    """
    varied: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if name not in VARIED:
            near = difflib.get_close_matches(name, VARIED, n=1)
            raise UsageError(
                f"{name!r} cannot be varied",
                where=f"--vary {text}",
                why=f"what can be is {', '.join(VARIED)}",
                hint=f"did you mean {near[0]}?" if near else _FORM,
            )
        if name in varied:
            raise UsageError(f"{name} is given twice", where=f"--vary {text}")
        varied[name] = _sizes(text, values)
    return varied


def grid(
    base: Architecture, varied: Mapping[str, Sequence[int]]
) -> list[tuple[dict[str, float], Architecture | str]]:
    """Each combination of sizes with its accelerator, or with why there is no such one.

    Raises:
        UsageError: there are too many.
    """
    names = [name for name in VARIED if name in varied]
    count = 1
    for name in names:
        count *= len(varied[name])
    if count > _MOST_POINTS:
        raise UsageError(f"{count} points are more than {_MOST_POINTS}", where="--vary")
    points: list[tuple[dict[str, float], Architecture | str]] = []
    for values in itertools.product(*(varied[name] for name in names)):
        sizes = {name: float(getattr(base, name)) for name in VARIED}
        sizes |= dict(zip(names, map(float, values), strict=True))
        try:
            found: Architecture | str = base.resized(
                pes=int(sizes["pes"]), rf_bytes=int(sizes["rf_bytes"]), spm_kib=sizes["spm_kib"]
            )
        except ValidationError as error:
            found = "; ".join(faults_of(error))
        points.append((sizes, found))
    return points


def _sizes(text: str, values: str) -> tuple[int, ...]:
    first, dots, last = values.partition("..")
    try:
        if dots:
            low, high = int(first), int(last)
        else:
            found = tuple(dict.fromkeys(int(value) for value in values.split(",")))
            low, high = min(found), max(found)
    except ValueError:
        raise UsageError(
            f"{values!r} is no range of whole numbers", where=f"--vary {text}", hint=_FORM
        ) from None
    if low < 1 or high < low:
        raise UsageError(
            "sizes must be at least 1, and the last not below the first", where=f"--vary {text}"
        )
    if not dots:
        return found
    sizes = [low]
    while sizes[-1] * 2 <= high:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes)
