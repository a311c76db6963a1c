"""Traces for a person to look at: one row for each lane, one bar for each region of each item."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdse.errors import UsageError
from tdse.runtime.model import Model, RegionRun


def write_trace(path: str | os.PathLike[str], model: Model, runs: Sequence[RegionRun]) -> None:
    """Write ``runs`` of ``model`` as Perfetto (ui.perfetto.dev) and ``chrome://tracing`` read them.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        Path(path).write_text(json.dumps(trace_events(model, runs)) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "the trace cannot be written", where=str(path), why=error.strerror or str(error)
        ) from None


def trace_events(model: Model, runs: Sequence[RegionRun]) -> dict[str, Any]:
    """The same as an object of Google's Trace Event Format: times in microseconds."""
    lanes = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": i, "args": {"name": lane["name"]}}
        for i, lane in enumerate(model.lanes)
    ]
    bars = [
        {
            "ph": "X",
            "name": model.regions[run.region]["name"],
            "pid": 0,
            "tid": run.lane,
            "ts": run.start_us,
            "dur": run.end_us - run.start_us,
            "args": {"item": run.item},
        }
        for run in runs
    ]
    return {"traceEvents": [*lanes, *bars]}
