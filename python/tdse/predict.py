"""Predict a model on a platform from records and cost models; nothing is built or measured."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdse.admission import admit
from tdse.child import Child, Progress, unheard
from tdse.elsewhere import ask_for, processor_elsewhere
from tdse.errors import ModelError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.outlook import Outlook, outlook
from tdse.place import thread_counts
from tdse.platform import Platform, discover_devices, load_platform
from tdse.survey import ask_targets


@dataclass(frozen=True)
class Forecast:
    """What is expected of a model.

    Attributes:
        model: its name.
        sha256: of its file.
        ops: operators that are placed.
        macs: multiply-accumulates of one run.
        parameter_bytes: bytes of its constants.
        platforms: in the order they were asked for.
    """

    model: str
    sha256: str
    ops: int
    macs: int
    parameter_bytes: int
    platforms: tuple[Outlook, ...]


def predict(
    model: str | os.PathLike[str],
    *,
    platforms: Sequence[str] = ("host",),
    targets: Sequence[str] | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Forecast:
    """Predict the whole model on each target and thread count, and the best placements.

    A record beats a prediction. Targets are asked what they can run, which compiles operators but
    runs none. For another machine, its records are taken, which ``tdse profile --import`` brings.

    The interval of a region of several operators is that of its region model, which holds for 90 %
    of measured chains. Without one, and for a single operator, the bounds of the operators' times
    are summed: a record's by its spread, a prediction's by its own 90 % interval. The bounds of
    regions are summed as well: as if all were fast together, or slow together, so intervals of many
    regions are rather too wide.

    Args:
        model: a ``.tflite`` file.
        platforms: each ``host``, the name of a preset, or a platform file.
        targets: use these targets only; None for all that a platform has.
        threads: threads of every region; None for 1 up to the number of cores.
        seed: of the search.
        progress: called with (stage, done, all, detail).

    Raises:
        UsageError: a platform or target is not known, or ``threads`` is not positive.
        ModelError: the file is not a model that can be run, or cannot be cut into operators.
        TdseError: of a platform or of one of its variants nothing is known.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", hint="give 1 or more")
    say = progress or unheard
    graph = read_tflite(Path(model))
    admit(graph)
    if graph.whole_reason:
        raise ModelError(
            "the time of this model cannot be predicted",
            where=graph.name,
            why=f"it is predicted operator by operator, but {graph.whole_reason}",
            hint="compile it with tdsec, which measures it",
        )
    boards = [load_platform(text) for text in dict.fromkeys(platforms)]
    with (
        contextlib.closing(RecordStore(current_conditions())) as here,
        Child(graph, say) as child,
    ):
        outlooks = []
        for board in boards:
            names = chosen_targets(board, targets)
            with _records_of(board, here) as store:
                say("legality", 0, 1, "")
                processor = processor_elsewhere(board)
                if processor is None:
                    legality = ask_targets(graph, child, names, here)
                else:
                    legality = ask_for(graph, processor, names, child)
                if store is not here:
                    legality = legality.corrected(store)
                counts = thread_counts(threads, board.devices[0].cores)
                outlooks.append(
                    outlook(
                        graph,
                        legality,
                        counts,
                        store,
                        board.devices[0],
                        name=board.name,
                        seed=seed,
                        say=say,
                    )
                )
    return Forecast(
        model=graph.name,
        sha256=graph.sha256,
        ops=len(graph.placed_ops),
        macs=sum(graph.ops[op].macs for op in graph.placed_ops),
        parameter_bytes=_parameter_bytes(graph),
        platforms=tuple(outlooks),
    )


@contextlib.contextmanager
def _records_of(board: Platform, here: RecordStore) -> Iterator[RecordStore]:
    """The records of the platform's machine: those of this one, or others in the same file."""
    host = discover_devices()
    name = board.devices[0].model_name
    if board.is_host(host) and name in ("", host.devices[0].model_name):
        yield here
        return
    conditions = here.conditions_for(board.devices[0])
    with contextlib.closing(RecordStore(conditions, here.path)) as store:
        yield store


def _parameter_bytes(graph: Graph) -> int:
    read = {tensor for op in graph.ops for tensor in op.inputs if tensor >= 0}
    return sum(graph.tensors[i].size_bytes for i in read if graph.tensors[i].is_constant)
