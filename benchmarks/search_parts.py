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
        edit: text of ``improve.cc``, and what it is replaced with.
    """

    strategy: Strategy = _WHOLE
    constants: Mapping[str, Any] = field(default_factory=dict)
    edit: tuple[str, str] | None = None


def _no_move(name: str, per_cent: int) -> Part:
    return Part(edit=(f"{name} = {per_cent};", f"{name} = 0;"))


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
    "border moves": _no_move("kBorderMoves", 25),
    "border moves by several": Part(edit=("kMostShifted = 6", "kMostShifted = 1")),
    "cluster moves": _no_move("kClusterMoves", 12),
    "moves of rows": _no_move("kWindowMoves", 13),
    "swaps": _no_move("kSwaps", 12),
    "swaps of several": Part(edit=("kMostSwapped = 4", "kMostSwapped = 1")),
    "cut moves": _no_move("kCutMoves", 8),
    "cuts around an operator": Part(
        edit=("if (chance_.Below(2)) return SetCut(link, cut);", "return SetCut(link, cut);")
    ),
    "priority moves": _no_move("kPriorityMoves", 10),
    "strict order": Part(edit=("chance_.Below(16) == 0", "false")),
    "neighbours' variants": Part(
        edit=("chance_.Below(2) ? NeighbourChoice(op) : AnyChoice(op)", "AnyChoice(op)")
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
        self._built: dict[tuple[str, str] | None, Path] = {}

    @contextmanager
    def using(self, part: Part) -> Iterator[None]:
        """The search is that without the part."""
        with ExitStack() as stack:
            for name, value in part.constants.items():
                stack.enter_context(patch.object(evolution, name, value))
            # Unedited ones are compiled in the same way, so that only the edit differs.
            stack.enter_context(patch.object(native, "LIBRARY", self._library(part.edit)))
            native._library.cache_clear()
            stack.callback(native._library.cache_clear)
            yield

    def _library(self, edit: tuple[str, str] | None) -> Path:
        if edit not in self._built:
            self._built[edit] = self._build(edit, self._folder / f"{len(self._built)}.so")
        return self._built[edit]

    def _build(self, edit: tuple[str, str] | None, library: Path) -> Path:
        flags = ["-O3", "-DNDEBUG", "-std=c++17", "-fPIC", "-ffp-contract=off", f"-I{_SOURCES}"]
        text = (_SOURCES / "improve.cc").read_text()
        if edit is not None:
            if edit[0] not in text:
                raise ValueError(f"improve.cc has no {edit[0]!r} any more")
            text = text.replace(*edit)
        improve = library.with_suffix(".cc")
        improve.write_text(text)
        others = []
        for source in sorted(_SOURCES.glob("*.cc")):
            compiled = self._folder / f"{source.stem}.o"
            if source.name != "improve.cc" and not compiled.exists():
                subprocess.run(["c++", *flags, "-c", source, "-o", compiled], check=True)
            others += [compiled] if source.name != "improve.cc" else []
        subprocess.run(["c++", *flags, "-shared", improve, *others, "-o", library], check=True)
        return library
