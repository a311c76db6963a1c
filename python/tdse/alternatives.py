"""What each operator would take elsewhere, as ``metadata.json`` keeps it beside the placement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tdse.cost.table import MODELLED, NOT_LEGAL, CostTable
from tdse.emulation.emulate import Emulation
from tdse.legality import Legality

# A thousandth of a microsecond is far below what can be measured, and makes the file small.
_DIGITS = 3


def table_alternatives(table: CostTable, legality: Legality) -> dict[str, Any]:
    """The costs that a search was given, on the threads of the winner; ``metadata.OpCosts``."""
    refused = (
        (target, legality.support[target][op].reason, op)
        for target in table.targets
        for op in table.ops
        if not legality.support[target][op].ok
    )
    return {
        "ops": list(table.ops),
        "places": list(table.targets),
        "threads": list(table.threads),
        "cost_us": _rounded(table.cost_us.tolist()),
        "alone_us": _rounded(table.alone_us.tolist()),
        "source": [list(row) for row in table.source],
        "refusals": _refusals(refused),
    }


def emulated_alternatives(emulation: Emulation) -> dict[str, Any]:
    """The same of an emulated board, whose times are all modelled."""
    problem = emulation.problem
    cost_us = problem.cost_us.tolist()
    return {
        "ops": [op.index for op in emulation.placement.ops],
        "places": list(problem.variants),
        "threads": [1] * len(problem.variants),
        "cost_us": _rounded(cost_us),
        "alone_us": [[None] * len(row) for row in cost_us],
        "source": [
            [MODELLED if math.isfinite(cost) else NOT_LEGAL for cost in row] for row in cost_us
        ],
        "refusals": _refusals((name, why, op) for (name, op), why in emulation.refusals.items()),
    }


def _rounded(rows: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """JSON has no infinity: what is not known is null."""
    return [
        [round(value, _DIGITS) if math.isfinite(value) else None for value in row] for row in rows
    ]


def _refusals(refused: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Each reason once, with the operators that it holds for."""
    ops: dict[tuple[str, str], list[int]] = {}
    for place, reason, op in refused:
        ops.setdefault((place, reason), []).append(op)
    return [{"place": place, "reason": why, "ops": which} for (place, why), which in ops.items()]
