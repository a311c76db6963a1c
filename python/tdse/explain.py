"""Say for each operator where it may run, and why not elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.child import Child, unheard
from tdse.edgetpu.mapping import compiler_mapping, would_help
from tdse.elsewhere import ask_for, processor_elsewhere
from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import emulate
from tdse.emulation.measured import records_of
from tdse.graph.model import Graph
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.platform import Platform, load_platform
from tdse.platform.edgetpu import EdgeTpuUnit
from tdse.survey import ask_targets

# Of the search for where operators run.
_SEARCH_S = 3.0


@dataclass(frozen=True)
class Explanation:
    """One operator: the targets it may run on, and the reason for each of the others.

    On an emulated platform, devices take the place of targets.

    Attributes:
        op: its index.
        label: its name.
        allowed: where it may run.
        refused: where it may not, and why.
        runs_on: with an Edge TPU: the device on which the search places it for latency.
        note: with an Edge TPU: why it is not there, though it could be, or what
            edgetpu_compiler by itself would say.
    """

    op: int
    label: str
    allowed: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    runs_on: str = ""
    note: str = ""


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
        Child(graph, unheard) as child,
    ):
        processor = processor_elsewhere(board)
        if processor is None:
            legality = ask_targets(graph, child, names, store)
        else:
            legality = ask_for(graph, processor, names, child)
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


def advice(graph: Graph, *, platform: str = "host") -> list[str]:
    """What would bring more operators onto an Edge TPU of the platform, one line each.

    Raises:
        PlatformError, UsageError: the platform is not known.
    """
    unit = _edgetpu_of(load_platform(platform))
    if unit is None:
        return []
    mapping = compiler_mapping(graph, unit.runtime)
    return [
        f"{graph.ops[op].label} keeps {more} {'op' if more == 1 else 'ops'} behind it out of "
        "edgetpu_compiler's one region" + (f": {remedy}" if remedy else "")
        for op, more, remedy in would_help(graph, mapping)
    ]


def _explain_emulated(graph: Graph, board: Platform) -> list[Explanation]:
    rows = []
    refusals = BoardCosts(graph, board).refusals
    for op in graph.placed_ops:
        words = {device.name: refusals.get((device.name, op), "") for device in board.devices}
        rows.append(
            Explanation(
                op,
                graph.ops[op].label,
                tuple(name for name, why in words.items() if not why),
                tuple((name, why) for name, why in words.items() if why),
            )
        )
    unit = _edgetpu_of(board)
    return rows if unit is None else _placed(graph, board, unit, rows)


def _placed(
    graph: Graph, board: Platform, unit: EdgeTpuUnit, rows: Sequence[Explanation]
) -> list[Explanation]:
    """The rows with where each operator runs, and a note on those that could run elsewhere."""
    mapping = compiler_mapping(graph, unit.runtime)
    with records_of(board) as records:
        placed = emulate(graph, board, "correctness", budget_s=_SEARCH_S, records=records)
    place = {op.index: op.device for op in placed.placement.ops}
    tpus = [device.name for device in board.devices if device.edgetpu is not None]
    noted = []
    for row in rows:
        runs_on, note = place[row.op], ""
        if runs_on in tpus and row.op in mapping.stranded:
            note = f"edgetpu_compiler alone: {mapping.reason(graph, row.op)}"
        elif runs_on not in tpus and set(row.allowed) & set(tpus):
            note = f"it can run on {tpus[0]}, but is modelled to be faster on {runs_on} here"
        noted.append(dataclasses.replace(row, runs_on=runs_on, note=note))
    return noted


def _edgetpu_of(board: Platform) -> EdgeTpuUnit | None:
    """The first Edge TPU of a platform."""
    return next((d.edgetpu for d in board.devices if d.edgetpu is not None), None)
