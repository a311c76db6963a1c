"""Names of functions and variables: Python identifiers, each used once."""

from __future__ import annotations

import keyword
import re

# Words that printed IR uses itself, so that a variable of that name could not be read back.
_TAKEN = frozenset({"I", "R", "T", "Module", "cls", "main", "metadata"})


class Names:
    """Gives out identifiers, none of them twice."""

    def __init__(self) -> None:
        self._used: set[str] = set(_TAKEN)

    def unique(self, text: str) -> str:
        """An identifier that resembles ``text``."""
        name = identifier(text)
        candidate, number = name, 1
        while candidate in self._used:
            candidate = f"{name}_{number}"
            number += 1
        self._used.add(candidate)
        return candidate


def identifier(text: str) -> str:
    """``text`` with all else than letters, digits and underscores replaced.

    >>> identifier("model/conv2d:0")
    'model_conv2d_0'
    """
    name = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")
    if not name:
        return "x"
    if keyword.iskeyword(name):
        return f"{name}_"
    return f"x{name}" if name[0].isdigit() else name
