"""How differences are printed for people: of regions from LiteRT, and between two artefacts."""

from __future__ import annotations

from rich.table import Table

from tdse.cli.common import console, say
from tdse.diff import Diff, Side
from tdse.divergence import Divergence, RegionGap

_MOST_REGIONS = 8
_MOST_MOVED = 20
_MOST_LABELS = 4


def divergence(directory: str, found: Divergence) -> None:
    """Print the first region that differs, and the worst ones."""
    if found.first is None:
        say(f"{directory}: all {len(found.regions)} regions give what LiteRT gives, to the bit")
        return
    if found.fault is not None:
        say(
            f"{directory}: the first region that is off by more than it may be is "
            f"{_described(found.fault)}"
        )
    else:
        say(f"{directory}: every region is within what it may differ by")
        say(f"  the first that differs is {_described(found.first)}")
    table = Table(title=f"{len(found.worst)} of {len(found.regions)} regions differ from LiteRT")
    for name in ("region", "operators", "by itself", "with those before it"):
        table.add_column(name)
    for region in found.worst[:_MOST_REGIONS]:
        table.add_row(region.name, _labels(region), str(region.own), str(region.total))
    console().print(table)
    if found.saved:
        say(f"the tensors are in {found.saved}")


def diff(found: Diff) -> None:
    """Print two artefacts side by side."""
    out = console()
    table = Table()
    table.add_column("")
    for side in (found.one, found.two):
        table.add_column(side.directory, justify="right")
    for name, *cells in zip(_NAMES, _cells(found.one), _cells(found.two), strict=True):
        table.add_row(name, *cells)
    out.print(table)
    if found.speed is None:
        say("one is of an emulated board, so they were not timed against each other")
    else:
        say(f"time of the first over that of the second: {found.speed}")
    for label, first, second in found.moved[:_MOST_MOVED]:
        say(f"{label}: {first} in the first, {second} in the second")
    if len(found.moved) > _MOST_MOVED:
        say(f"and {len(found.moved) - _MOST_MOVED} operators more run elsewhere")
    if not found.moved:
        say("every operator runs at the same place in both")
    for side in (found.one, found.two):
        divergence(side.directory, side.divergence)


_NAMES = (
    "operators",
    "regions",
    "threads",
    "lanes",
    "predicted ms of a run, when compiled",
    "measured ms of a run, in turns, now",
    "MB of model.so",
    "first region that is off",
)


def _cells(side: Side) -> tuple[str, ...]:
    fault = side.divergence.fault
    return (
        ", ".join(f"{n} {place}" for place, n in side.places.items()),
        str(side.regions),
        str(side.threads),
        str(side.lanes),
        "-" if side.predicted_us is None else f"{side.predicted_us / 1000:.3f}",
        "-" if side.median_us is None else f"{side.median_us / 1000:.3f}",
        f"{side.module_bytes / 1e6:.2f}",
        "none" if fault is None else fault.name,
    )


def _described(region: RegionGap) -> str:
    return f"{region.name} ({_labels(region)}): {region.own}"


def _labels(region: RegionGap) -> str:
    more = len(region.ops) - _MOST_LABELS
    return ", ".join(region.ops[:_MOST_LABELS]) + (f" and {more} more" if more > 0 else "")
