"""The search without one part of it at a time.

The parts are taken out here: constants are replaced, methods overridden, and the moves of the
annealing are edited in a copy of its C++ source, which is compiled into a library of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from search_strategies import (
    Strategy,
    WithoutCrossover,
    WithoutWindows,
    evolve,
    start_at_random,
)

from tdse.search import evolution, native
from tdse.search.problem import Problem
from tdse.search.schedule import Genes
from tdse.search.seeds import earliest_finish, seed_genes

_WHOLE = evolve()
_SOURCES = Path(__file__).parent.parent / "cpp" / "evaluate"


def _without_earliest_finish(problem: Problem, _: int) -> list[Genes]:
    left_out = earliest_finish(problem)
    return [one for one in seed_genes(problem) if not np.array_equal(one.variants, left_out)]


def _without_cut_seeds(problem: Problem, _: int) -> list[Genes]:
    return [one for one in seed_genes(problem) if not np.any(one.cuts)]


@dataclass(frozen=True)
class Part:
    """One thing that is left out, or done otherwise.

    Attributes:
        strategy: what runs.
        constants: of ``evolution``, replaced.
        edits: texts of ``improve.cc``, and what they are replaced with.
    """

    strategy: Strategy = _WHOLE
    constants: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[tuple[str, str], ...] = ()


_MOVES = {
    "border moves": "kBorderMoves = 25",
    "cluster moves": "kClusterMoves = 12",
    "moves of rows": "kWindowMoves = 13",
    "room on full devices": "kRoomMoves = 10",
    "cut moves": "kCutMoves = 8",
    "priority moves": "kPriorityMoves = 10",
}


def _no(*moves: str) -> Part:
    """Single operators are moved instead."""
    texts = [_MOVES[move] for move in moves]
    return Part(edits=tuple((text, text.split("=")[0] + "= 0") for text in texts))


PARTS: Mapping[str, Part] = {
    "nothing (seeds shifted)": Part(),
    "seeds (start at random)": Part(evolve(starts=start_at_random)),
    "seed by earliest finish": Part(evolve(starts=_without_earliest_finish)),
    "seeds of single operators": Part(evolve(starts=_without_cut_seeds)),
    "windows": Part(evolve(WithoutWindows)),
    "windows of middling problems": Part(constants={"_MEDIUM": 150}),
    "windows of all sizes": Part(constants={"_WINDOW_FACTORS": (1.0,)}),
    "crossover": Part(evolve(WithoutCrossover)),
    "starts from seeds later on": Part(constants={"_FRESH_SHARE": 0.0}),
    "growth of annealings": Part(constants={"_GROWTH": 1.0}),
    "higher end temperature": Part(constants={"_ENDS": (5e-4,)}),
    "lower end temperature": Part(constants={"_ENDS": (1e-3,)}),
    "cooler children": Part(constants={"_CHILD": 0.03}),
    "a dozen kept (two)": Part(constants={"_KEPT": 2}),
    **{move: _no(move) for move in _MOVES},
    "all of borders, clusters, rows": _no("border moves", "cluster moves", "moves of rows"),
    "all but single, cuts, priority": _no(
        "border moves", "cluster moves", "moves of rows", "room on full devices"
    ),
    "border moves by several": Part(edits=(("kMostShifted = 6", "kMostShifted = 1"),)),
    "cuts around an operator": Part(
        edits=(("if (chance_.Below(2)) return SetCut(link, cut);", "return SetCut(link, cut);"),)
    ),
    "strict order": Part(edits=(("chance_.Below(16) == 0", "false"),)),
    "neighbours' variants": Part(
        edits=(("chance_.Below(2) ? NeighbourChoice(op) : AnyChoice(op)", "AnyChoice(op)"),)
    ),
}
"""What is left out: the search without it."""


class Libraries:
    """Native libraries with edited moves, compiled when they are asked for.

    Args:
        folder: where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[tuple[tuple[str, str], ...], Path] = {}

    @contextmanager
    def using(self, part: Part) -> Iterator[None]:
        """The search is that without the part."""
        with ExitStack() as stack:
            for name, value in part.constants.items():
                stack.enter_context(patch.object(evolution, name, value))
            # Unedited ones are compiled in the same way, so that only the edits differ.
            stack.enter_context(patch.object(native, "LIBRARY", self._library(part.edits)))
            native._library.cache_clear()
            stack.callback(native._library.cache_clear)
            yield

    def _library(self, edits: tuple[tuple[str, str], ...]) -> Path:
        if edits not in self._built:
            self._built[edits] = self._build(edits, self._folder / f"{len(self._built)}.so")
        return self._built[edits]

    def _build(self, edits: tuple[tuple[str, str], ...], library: Path) -> Path:
        flags = ["-O3", "-DNDEBUG", "-std=c++17", "-fPIC", "-ffp-contract=off", f"-I{_SOURCES}"]
        text = (_SOURCES / "improve.cc").read_text()
        for old, new in edits:
            if old not in text:
                raise ValueError(f"improve.cc has no {old!r} any more")
            text = text.replace(old, new)
        improve = library.with_suffix(".cc")
        improve.write_text(text)
        others = [one for one in sorted(_SOURCES.glob("*.cc")) if one.name != "improve.cc"]
        compiled = [self._folder / f"{source.stem}.o" for source in others]
        for source, target in zip(others, compiled, strict=True):
            if not target.exists():
                subprocess.run(["c++", *flags, "-c", source, "-o", target], check=True)
        subprocess.run(["c++", *flags, "-shared", improve, *compiled, "-o", library], check=True)
        return library
