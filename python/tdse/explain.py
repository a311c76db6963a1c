"""Say for each operator where it may run, and why not elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.child import Child
from tdse.emulation.costs import refusal, unit_of
from tdse.graph.model import Graph
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.platform import Platform, load_platform
from tdse.survey import ask_targets


@dataclass(frozen=True)
class Explanation:
    """One operator: the targets it may run on, and the reason for each of the others.

    On an emulated platform, devices take the place of targets.
    """

    op: int
    label: str
    allowed: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def explain(
    graph: Graph, *, platform: str = "host", targets: Sequence[str] | None = None
) -> list[Explanation]:
    """The word of each target of ``platform`` on each operator of ``graph``.

    Of an emulated platform, the word of each device.

    Raises:
        PlatformError, UsageError: the platform or a target is not known.
    """
    board = load_platform(platform)
    if board.is_emulated and not targets:
        return _explain_emulated(graph, board)
    names = chosen_targets(board, targets)
    with (
        contextlib.closing(RecordStore(current_conditions())) as store,
        Child(graph, lambda stage, done, total, detail: None) as child,
    ):
        legality = ask_targets(graph, child, names, store)
    return [
        Explanation(
            op,
            graph.ops[op].label,
            tuple(name for name in names if legality.support[name][op].ok),
            tuple(
                (name, legality.support[name][op].reason)
                for name in names
                if not legality.support[name][op].ok
            ),
        )
        for op in graph.placed_ops
    ]


def _explain_emulated(graph: Graph, board: Platform) -> list[Explanation]:
    rows = []
    for op in graph.placed_ops:
        words = {device.name: refusal(graph, op, unit_of(device)) for device in board.devices}
        rows.append(
            Explanation(
                op,
                graph.ops[op].label,
                tuple(name for name, why in words.items() if not why),
                tuple((name, why) for name, why in words.items() if why),
            )
        )
    return rows
