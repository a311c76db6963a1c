"""A placement that a user gives, instead of having one searched for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tdse.errors import PlacementError
from tdse.search.front import Front, load_front
from tdse.search.placement import Placement, load_placement

if TYPE_CHECKING:
    from tdse.graph.model import Graph

_ENTRY = re.compile(r"(?P<file>.+)#(?P<number>[0-9]{1,9})")


@dataclass(frozen=True)
class Given:
    """What was given.

    Attributes:
        placement: to build.
        front: that it was chosen from; None if it was given by itself.
    """

    placement: Placement
    front: Front | None = None


def given_placement(graph: Graph, given: Placement | str | os.PathLike[str]) -> Given:
    """A placement, a placement file, or ``FRONT.json#NUMBER`` that a user gives for ``graph``.

    Raises:
        PlacementError: it cannot be read, is of another model, or its regions cannot be compiled
            one by one and run in their order, or one that may keep a state has copies.
    """
    from tdse.graph.regions import check_regions

    found = Given(given) if isinstance(given, Placement) else _read(os.fspath(given))
    placement = found.placement
    if placement.model_sha256 != graph.sha256:
        raise PlacementError(
            "the placement is of another model",
            where=placement.model_name,
            why=f"its sha256 is {placement.model_sha256[:12]}..., "
            f"that of this model {graph.sha256[:12]}...",
            hint="leave the placement out to make one",
        )
    check_regions(graph, placement.graph_regions)
    copied = [region.index for region in placement.regions if len(region.lanes) > 1]
    if copied and graph.why_stateful:
        raise PlacementError(
            f"region {copied[0]} is on several lanes",
            where=placement.model_name,
            why="the model may keep something from run to run, in which copies of it would differ",
            hint="give the region one lane",
        )
    return found


def _read(text: str) -> Given:
    entry = _ENTRY.fullmatch(text)
    # A file may have such a name, too.
    if entry is None or Path(text).exists():
        return Given(_placement(text))
    front, number = load_front(entry["file"]), int(entry["number"])
    if not 1 <= number <= len(front.entries):
        raise PlacementError(
            f"the front has no placement {number}",
            where=entry["file"],
            hint=f"choose 1 to {len(front.entries)}" if len(front.entries) > 1 else "choose 1",
        )
    return Given(front.entries[number - 1].placement, front)


def _placement(path: str) -> Placement:
    try:
        return load_placement(path)
    except PlacementError:
        try:
            load_front(path)
        except PlacementError:
            pass
        else:
            raise PlacementError(
                "not a placement, but a front",
                where=path,
                hint=f"choose one of its placements, for example {path}#1",
            ) from None
        raise
