"""Say for each operator where it may run, and why not elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.child import Child
from tdse.graph.model import Graph
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.platform import load_platform
from tdse.survey import ask_targets


@dataclass(frozen=True)
class Explanation:
    """One operator: the targets it may run on, and the reason for each of the others."""

    op: int
    label: str
    allowed: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def explain(
    graph: Graph, *, platform: str = "host", targets: Sequence[str] | None = None
) -> list[Explanation]:
    """The word of each target of ``platform`` on each operator of ``graph``.

    Raises:
        PlatformError, UsageError: the platform or a target is not known.
    """
    names = chosen_targets(load_platform(platform), targets)
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
