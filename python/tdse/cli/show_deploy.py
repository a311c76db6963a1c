"""How what came back from a board is printed for people, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from tdse.cli.common import console
from tdse.deploy import Deployment

# A table of regions longer than this shows the slowest ones.
_MOST_REGIONS = 12


def deployed(found: Deployment) -> None:
    """Print times, regions and correctness."""
    out, conditions = console(), found.conditions
    governor = f", governor {conditions.governor}" if conditions.governor else ""
    out.print(
        f"on {conditions.cpu} ({found.isa}, {conditions.cores} cores{governor}) at {found.place}"
    )
    table = Table(title="Measured there, in turns in one process: ms of a run")
    for name in ("", "median", "p90", "time / tdse", "load"):
        table.add_column(name, justify="left" if not name else "right")
    for one in found.contenders:
        if one.median_us is not None:
            table.add_row(
                one.name,
                f"{one.median_us / 1000:.3f}",
                f"{(one.p90_us or 0.0) / 1000:.3f}",
                str(one.against),
                f"{(one.load_us or 0.0) / 1000:.1f}",
            )
    out.print(table)
    for one in found.contenders:
        if one.why_not:
            out.print(f"{one.name}: not timed: {one.why_not}")
    out.print(
        f"first run {found.first_us / 1000:.2f} ms; loading and running it took "
        f"{found.resident_bytes / 1e6:.1f} MB of memory"
    )
    regions = sorted(found.regions, key=lambda region: -region.median_us)[:_MOST_REGIONS]
    table = Table(title=f"Regions, {len(regions)} slowest of {len(found.regions)}: us")
    for name in ("region", "ops", "measured there", "as placed"):
        table.add_column(name, justify="left" if name == "region" else "right")
    for region in regions:
        predicted = "-" if region.predicted_us is None else f"{region.predicted_us:.1f}"
        name = f"{region.index} on {region.target}"
        table.add_row(name, str(region.ops), f"{region.median_us:.1f}", predicted)
    out.print(table)
    check = found.correctness
    out.print(f"outputs against LiteRT's here, on {check.inputs} inputs: {check.ours}")
    if check.litert_itself is not None:
        out.print(f"LiteRT's reference kernels against its default ones: {check.litert_itself}")
    out.print(f"{found.records} times of regions are kept as records of {conditions.cpu}")


def as_json(found: Deployment) -> dict[str, Any]:
    """The same as plain values; times in microseconds."""
    contenders = []
    for one in found.contenders:
        against = one.against
        fields = {key: value for key, value in asdict(one).items() if key != "against"}
        interval = None if against is None else [against.value, against.low, against.high]
        contenders.append({**fields, "time_over_ours": interval})
    check = found.correctness
    return {
        "board": found.place,
        "isa": found.isa,
        "conditions": asdict(found.conditions),
        "contenders": contenders,
        "first_us": found.first_us,
        "resident_bytes": found.resident_bytes,
        "regions": [asdict(region) for region in found.regions],
        "correctness": {
            "inputs": check.inputs,
            "ours": asdict(check.ours),
            "litert_itself": None if check.litert_itself is None else asdict(check.litert_itself),
            "argmax_agrees": check.argmax_agrees,
        },
        "records": found.records,
    }
