"""Traces for a person to look at: one row for each lane, one bar for each region of each item."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdse.files import written
from tdse.runtime.model import Model, RegionRun

_MEASURED, _PREDICTED = 0, 1


@dataclass(frozen=True)
class PredictedRun:
    """A region, or a transfer, of the run that was predicted.

    Attributes:
        name: as ``Model.regions`` has it.
        lane: position in ``Model.lanes``.
        start_us: microseconds since the start of the run.
        time_us: microseconds that it takes.
    """

    name: str
    lane: int
    start_us: float
    time_us: float


def write_trace(
    path: str | os.PathLike[str],
    model: Model,
    runs: Sequence[RegionRun],
    predicted: Sequence[PredictedRun] = (),
) -> None:
    """Write a trace as Perfetto (ui.perfetto.dev) and ``chrome://tracing`` read it.

    Args:
        path: the file.
        model: what ran.
        runs: its regions, as they ran.
        predicted: one run as it was predicted, shown below as a process of its own.

    Raises:
        UsageError: the file cannot be written.
    """
    with written(path, "the trace"):
        Path(path).write_text(
            json.dumps(trace_events(model, runs, predicted)) + "\n", encoding="utf-8"
        )


def trace_events(
    model: Model, runs: Sequence[RegionRun], predicted: Sequence[PredictedRun] = ()
) -> dict[str, Any]:
    """The same as an object of Google's Trace Event Format: times in microseconds."""
    mark = " (emulated)" if model.metadata.get("emulated") else ""
    events = _names(model, _MEASURED, f"measured{mark}")
    events += [
        _bar(_MEASURED, run.lane, model.regions[run.region]["name"], run.start_us, run.end_us)
        | {"args": {"item": run.item}}
        for run in runs
    ]
    if predicted:
        events += _names(model, _PREDICTED, f"predicted{mark}")
        events += [
            _bar(_PREDICTED, one.lane, one.name, one.start_us, one.start_us + one.time_us)
            for one in predicted
        ]
    return {"traceEvents": events}


def _names(model: Model, process: int, label: str) -> list[dict[str, Any]]:
    lanes = [(i, "thread_name", lane["name"]) for i, lane in enumerate(model.lanes)]
    return [
        {"ph": "M", "name": key, "pid": process, "tid": lane, "args": {"name": name}}
        for lane, key, name in [(0, "process_name", label), *lanes]
    ]


def _bar(process: int, lane: int, name: str, start_us: float, end_us: float) -> dict[str, Any]:
    place = {"ph": "X", "name": name, "pid": process, "tid": lane}
    return place | {"ts": start_us, "dur": end_us - start_us}
