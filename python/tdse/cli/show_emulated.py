"""How results of emulated boards are printed for people, and as JSON; all of it says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.table import Table

from tdse.cli.common import console
from tdse.emulation.bench import EmulatedReport, Row
from tdse.emulation.emulate import Emulation
from tdse.pipeline import CompileResult
from tdse.runtime.emulated import Emulated

_HOW = {
    "correctness": "results are computed on this machine",
    "timing": "results were recorded for one input and are replayed for any",
}


def compiled(result: CompileResult, emulation: Emulation) -> None:
    """Print what was placed where, and what that is modelled to take."""
    out, emulated = console(), emulation.emulated
    out.print(_heading(emulated))
    table = Table(title=f"What {emulated.board} is modelled to do in one run (emulated)")
    for name in ("", "operators", "regions or transfers", "lanes", "modelled ms"):
        table.add_column(name, justify="left" if not name else "right")
    for place in dict.fromkeys(step.place for step in emulated.steps):
        steps = [step for step in emulated.steps if step.place == place]
        ops = sum(len(step.ops) for step in steps)
        table.add_row(
            place,
            str(ops or ""),
            str(len(steps)),
            str(len({lane for step in steps for lane in step.lanes})),
            _ms(sum(step.modelled_us for step in steps)),
        )
    out.print(table)
    if emulated.measured_steps:
        measured_us = sum(step.modelled_us for step in emulated.steps if step.is_measured)
        out.print(
            f"measured: {emulated.measured_steps} of {len(result.placement.regions)} regions, "
            f"{_ms(measured_us)} ms; all else is modelled"
        )
    # A placement that is given is not searched for.
    for search in emulation.searches[:1]:
        gap = "no bound" if search.gap is None else f"within {100 * search.gap:.1f} % of the bound"
        out.print(f"search: {gap}, within the model; {search.ended}")
    energy = "" if emulated.predicted_mj is None else f", {emulated.predicted_mj:.3g} mJ"
    out.print(
        f"predicted (emulated): run {_ms(emulated.predicted_us)} ms{energy}, one step after "
        f"another {_ms(emulated.sequential_us)} ms, stream {_ms(emulated.predicted_period_us)} ms "
        "from one result to the next, of which the busiest lane takes "
        f"{_ms(emulated.capacity_us)} ms"
    )
    if emulated.compiler_us is not None:
        out.print(
            f"edgetpu_compiler's own placement, one region: {_ms(emulated.compiler_us)} ms "
            "(emulated)"
        )
    if emulated.first_run_us is not None:
        out.print(f"the first run takes {_ms(emulated.first_run_us)} ms more (emulated)")
    counts = Counter(op.device for op in result.placement.ops)
    spread = ", ".join(f"{n} ops on {device}" for device, n in sorted(counts.items()))
    gap = "" if result.difference is None else f"; results against LiteRT's: {result.difference}"
    out.print(f"{result.out}: {spread}{gap}")


def bench(report: EmulatedReport) -> None:
    """Print predicted and measured times side by side."""
    out, emulated, jitter = console(), report.emulated, report.jitter
    out.print(_heading(emulated))
    what = "streams, from one result to the next" if report.streamed else "runs"
    table = Table(
        title=f"{report.model}: {what}, in {len(report.ours.medians_us)} rounds (emulated)"
    )
    columns = ("", "predicted ms", "measured ms", "measured / predicted", "time / tdse")
    for name in columns:
        table.add_column(name, justify="left" if not name else "right")
    for row in (report.ours, report.sequential):
        table.add_row(
            row.name,
            _ms(row.predicted_us),
            _ms(row.median_us),
            f"{1.0 + row.error:.3f}",
            "1.00" if row is report.ours else str(report.speedup),
        )
    out.print(table)
    if report.streamed:
        out.print(
            f"capacity (emulated): the busiest lane takes {_ms(emulated.capacity_us)} ms of each "
            f"run; the stream reaches {report.share_of_capacity:.1%} of that"
        )
    out.print(
        f"jitter of this machine: a step takes {jitter.median_us:.0f} us longer than modelled in "
        f"the median, p90 {jitter.p90_us:.0f} us, at most {jitter.most_us:.0f} us; "
        f"{jitter.short_steps} of {jitter.steps} steps are modelled to take less than 1 ms"
    )
    check = report.correctness
    if check is not None:
        out.print(f"results against LiteRT on {check.inputs} inputs: {check.ours}")


def bench_json(report: EmulatedReport) -> dict[str, Any]:
    """The report as plain values; times in microseconds."""
    emulated, check = report.emulated, report.correctness
    return {
        "emulated": emulated.label,
        "model": report.model,
        "streamed": report.streamed,
        "contenders": [_row_json(row) for row in (report.ours, report.sequential)],
        "speedup": [report.speedup.value, report.speedup.low, report.speedup.high],
        "capacity_us": emulated.capacity_us,
        "share_of_capacity": report.share_of_capacity if report.streamed else None,
        "jitter": asdict(report.jitter),
        "correctness": check and {"inputs": check.inputs, "ours": asdict(check.ours)},
    }


def _heading(emulated: Emulated) -> str:
    """What every figure is labelled with, and how results come about."""
    how = _HOW[emulated.mode] if emulated.has_results else "results are zeros"
    return f"{emulated.label}; {how}"


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "predicted_us": row.predicted_us,
        "median_us": row.median_us,
        "round_medians_us": row.medians_us,
        "source": "emulated",
    }


def _ms(time_us: float) -> str:
    return f"{time_us / 1000:.3f}"
