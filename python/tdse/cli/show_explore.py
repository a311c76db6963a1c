"""How accelerators that are only described are printed, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from tdse.cli.common import console
from tdse.dataflow.explore import Exploration
from tdse.dataflow.network import NetworkResult
from tdse.dataflow.search import LayerResult

_MOST_ROWS = 40


def network(result: NetworkResult, mappings: str | None) -> None:
    """Print each layer and the totals."""
    out = console()
    table = Table(title=f"Layers on {result.architecture.name} (modelled)")
    for name in ("layer", "times", "MMACs", "cycles", "PE use", "energy uJ", "DRAM %", "gap"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for one in result.layers:
        figures, layer = one.figures, one.layer
        use = layer.macs / (figures.cycles * result.architecture.pes)
        table.add_row(
            layer.name,
            str(layer.instances),
            f"{layer.macs / 1e6:.3g}",
            f"{figures.cycles:.0f}",
            f"{use:.0%}",
            f"{figures.energy_pj / 1e6:.4g}",
            f"{figures.dram_pj / figures.energy_pj:.0%}" if figures.energy_pj else "",
            _gap(one),
        )
    out.print(table)
    out.print(
        f"all layers (modelled): {result.latency_us / 1e3:.4g} ms, "
        f"{result.energy_pj / 1e9:.4g} mJ, {result.pe_use:.0%} of the PEs' cycles used; "
        + ("no layer has a better mapping" if result.is_proven else "not all mappings are proven")
        + f"; searched {result.seconds:.2g} s"
    )
    if mappings:
        out.print(f"mappings and loop nests are in {mappings}")


def network_json(result: NetworkResult) -> dict[str, Any]:
    """The same as plain values, with the mappings."""
    return {
        "source": "modelled",
        "architecture": result.architecture.model_dump(),
        "latency_us": result.latency_us,
        "energy_pj": result.energy_pj,
        "proven": result.is_proven,
        "seconds": result.seconds,
        "layers": [
            {
                "name": one.layer.name,
                "instances": one.layer.instances,
                "macs": one.layer.macs,
                "objective": one.objective,
                "gap": one.gap,
                "evaluated": one.count.mappings,
                "figures": asdict(one.figures),
                "mapping": asdict(one.mapping),
            }
            for one in result.layers
        ],
    }


def points(found: Exploration, out_file: str | None, picture: str | None) -> None:
    """Print the front."""
    out = console()
    valid = sum(point.latency_us is not None for point in found.points)
    table = Table(title="Sizes that no other beats in latency, energy and area (modelled)")
    for name in ("PEs", "RF bytes", "SPM KiB", "latency ms", "energy mJ", "area KiB"):
        table.add_column(name, justify="right")
    front = sorted((found.points[i] for i in found.front), key=lambda one: one.latency_us or 0)
    for point in front[:_MOST_ROWS]:
        table.add_row(
            f"{point.pes:g}",
            f"{point.rf_bytes:g}",
            f"{point.spm_kib:g}",
            f"{(point.latency_us or 0) / 1e3:.4g}",
            f"{(point.energy_uj or 0) / 1e3:.4g}",
            f"{(point.area or 0) / 1024:.0f}",
        )
    out.print(table)
    if len(front) > _MOST_ROWS:
        out.print(f"and {len(front) - _MOST_ROWS} more")
    proven = sum(point.proven for point in found.points)
    out.print(
        f"{len(found.points)} sizes, {valid} with mappings, of {proven} all proven to be the best "
        f"for each layer; {len(front)} on the front"
        + (f"; {found.resumed} were in the file already" if found.resumed else "")
    )
    for why in dict.fromkeys(point.why for point in found.points if point.why):
        out.print(f"without: {why}")
    if out_file:
        out.print(f"all points are in {out_file}")
    if picture:
        out.print(f"the picture is in {picture}")


def _gap(one: LayerResult) -> str:
    if one.gap is None:
        return "unknown"
    return "best" if one.gap == 0 else f"{one.gap:.1%}"
