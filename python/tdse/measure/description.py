"""What a board is, as it tells others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tdse.measure.conditions import Conditions, current_conditions
from tdse.platform.discover import discover_host


@dataclass(frozen=True)
class Board:
    """What is asked of a board before it is used.

    Attributes:
        conditions: under which it measures.
        isa: architecture of its processor, for example ``x86_64``.
        features: extensions of it that compiled kernels may use.
    """

    conditions: Conditions
    isa: str
    features: tuple[str, ...]


def this_board() -> Board:
    """The machine that this process runs on, as a board."""
    device = discover_host().devices[0]
    return Board(current_conditions(), device.isa, device.features)


def describe() -> str:
    """``this_board()`` as JSON."""
    return json.dumps(asdict(this_board()))
