"""The best mapping of a layer: proven by bounds, or the best of what dMazeRunner would look at."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tdse.dataflow import native
from tdse.dataflow.architecture import Architecture
from tdse.dataflow.figures import Figures
from tdse.dataflow.layer import LOOPS, Layer
from tdse.dataflow.mapping import Mapping, order_for
from tdse.dataflow.native import OBJECTIVES, Count, Found, Objective, Pruning
from tdse.errors import TdseError, UsageError

SECONDS = 60.0
# A loop may be padded by so much, to a size that can be cut in more ways.
_MOST_PADDING = 0.15
# dMazeRunner's first thresholds, and what it does when they leave too few mappings.
_FIRST = Pruning(0.8, 0.8, 0.5, no_spatial_reduction=True, whole_filters=True)
_LEAST_MAPPINGS = 100
_STEP, _SPM_FROM, _GIVE_UP = 0.1, 0.6, 0.3


@dataclass(frozen=True)
class LayerResult:
    """How a layer runs best, and what it costs; all of it is modelled.

    Attributes:
        layer: the layer.
        mapping: how it runs.
        figures: what it costs.
        objective: what is best.
        bound: no mapping has a better value than that; None where nothing is proven.
        count: how much was looked at.
        seconds: that the search took.
    """

    layer: Layer
    mapping: Mapping
    figures: Figures
    objective: Objective
    bound: float | None
    count: Count
    seconds: float

    @property
    def value(self) -> float:
        """Of the objective."""
        return value_of(self.objective, self.figures)

    @property
    def gap(self) -> float | None:
        """By what share the value may be above the best; 0 if it is the best, None if unknown."""
        if self.bound is None or self.bound == self.value:
            return None if self.bound is None else 0.0
        return self.value / self.bound - 1.0 if self.bound > 0 else math.inf


def value_of(objective: Objective, figures: Figures) -> float:
    """What is to be small: cycles, picojoules, or their product."""
    return {"edp": figures.edp, "energy": figures.energy_pj, "cycles": figures.cycles}[objective]


def find_mapping(
    layer: Layer,
    architecture: Architecture,
    objective: Objective = "edp",
    *,
    seconds: float = SECONDS,
    padded: bool = False,
) -> LayerResult:
    """The best mapping of all, or after so many seconds the best so far and its gap.

    The same is found every time, as long as the time suffices.

    Args:
        layer: what is computed.
        architecture: on what.
        objective: what is best.
        seconds: when to give up, at the latest.
        padded: loops may be padded to sizes that can be cut in more ways (imperfect tiling).

    Raises:
        TdseError: nothing was found in time.
    """
    begin = time.perf_counter()
    found, bound, count = native.bound(layer, architecture, objective, seconds)
    if padded:
        sizes = [padded_sizes(size) for size in layer.sizes]
        rest = max(0.0, seconds - (time.perf_counter() - begin))
        larger, bound, count = native.bound(layer, architecture, objective, rest, sizes)
        # In a space that is larger, less may be found when the time is over.
        if found is None or (larger is not None and larger.value < found.value):
            found = larger
        bound = bound if found is None else min(bound, found.value)
    if found is None:
        # A tile of one iteration always fits: an architecture that it does not fit is refused.
        raise TdseError(
            "no mapping was found in time",
            where=layer.name,
            why=f"{seconds:g} seconds are over",
            hint="allow more",
        )
    return _result(layer, architecture, objective, found, bound, count, begin)


def dmazerunner_mappings(layer: Layer, architecture: Architecture) -> dict[Objective, LayerResult]:
    """The best mapping for each objective as dMazeRunner's auto-optimizer prunes.

    Its thresholds are lowered until enough mappings are left. Nothing is proven: what is pruned may
    be better.

    Raises:
        UsageError: none is left, with the reason.
    """
    begin = time.perf_counter()
    for pruning, least in _prunings():
        best, count = native.exhaust(layer, architecture, pruning)
        if best and count.mappings >= least:
            return _results(layer, architecture, best, count, begin)
    raise UsageError(
        "no mapping is valid", where=layer.name, why=why_none(layer, architecture, pruning)
    )


def pruned_mappings(
    layer: Layer, architecture: Architecture, pruning: Pruning
) -> dict[Objective, LayerResult]:
    """The best mapping that a pruning leaves, for each objective.

    Raises:
        UsageError: it leaves none, with the reason.
    """
    begin = time.perf_counter()
    best, count = native.exhaust(layer, architecture, pruning)
    if not best:
        raise UsageError(
            "no mapping is valid",
            where=layer.name,
            why=why_none(layer, architecture, pruning),
            hint="lower the threshold that is named, or leave it out",
        )
    return _results(layer, architecture, best, count, begin)


def why_none(layer: Layer, architecture: Architecture, pruning: Pruning) -> str:
    """Why a pruning leaves no mapping: what leaves some if it is dropped alone."""
    words = {
        "least_pe_use": f"uses {pruning.least_pe_use:.0%} of {architecture.pes} PEs",
        "least_rf_use": f"fills {pruning.least_rf_use:.0%} of {architecture.rf_bytes} bytes of "
        "register file",
        "least_spm_use": f"fills {pruning.least_spm_use:.0%} of half of "
        f"{architecture.spm_kib:g} KiB of scratchpad",
        "no_spatial_reduction": "sums nothing over PEs",
        "whole_filters": "keeps filters whole in DRAM",
    }
    off = Pruning()
    asked = [name for name in words if getattr(pruning, name) != getattr(off, name)]
    helpful = []
    for name in asked:
        without = replace(pruning, **{name: getattr(off, name)})
        if native.exhaust(layer, architecture, without, count_only=True)[1].mappings:
            helpful.append(name)
    asked_words = " and ".join(words[name] for name in asked)
    if helpful:
        return f"no mapping {asked_words}; without {' or '.join(helpful)} some do"
    return f"no mapping {asked_words}, and no one of these is alone to blame"


def padded_sizes(size: int) -> tuple[int, ...]:
    """A loop's own size, then larger ones, each with more divisors than all before it."""
    found, most = [size], _divisors(size)
    for larger in range(size + 1, int(size * (1 + _MOST_PADDING)) + 2):
        if size > 1 and _divisors(larger) > most:
            most = _divisors(larger)
            found.append(larger)
    return tuple(found)


def _divisors(number: int) -> int:
    root = math.isqrt(number)
    below = sum(number % one == 0 for one in range(1, root + 1))
    return 2 * below - (root * root == number)


def _prunings() -> Iterator[tuple[Pruning, int]]:
    """One after the other, with how many mappings it must leave."""
    pruning, least = _FIRST, _LEAST_MAPPINGS
    while True:
        yield pruning, least
        pe, rf, spm = pruning.least_pe_use, pruning.least_rf_use, pruning.least_spm_use
        if pe > 0 and rf > 0:
            pe, rf = pe - _STEP, rf - _STEP
        if pe <= _SPM_FROM or rf <= _SPM_FROM:
            spm -= _STEP
        if min(pe, rf, spm) < 0:
            return
        pruning = replace(pruning, least_pe_use=pe, least_rf_use=rf, least_spm_use=spm)
        if pe <= _GIVE_UP or rf <= _GIVE_UP:
            pruning = replace(pruning, no_spatial_reduction=False, whole_filters=False)
            least = 1


def _results(
    layer: Layer,
    architecture: Architecture,
    best: dict[Objective, Found],
    count: Count,
    begin: float,
) -> dict[Objective, LayerResult]:
    return {
        objective: _result(layer, architecture, objective, best[objective], None, count, begin)
        for objective in OBJECTIVES
    }


def _result(
    layer: Layer,
    architecture: Architecture,
    objective: Objective,
    found: Found,
    bound: float | None,
    count: Count,
    begin: float,
) -> LayerResult:
    mapping = Mapping(found.tiling, (order_for(found.reused[0]), order_for(found.reused[1])))
    figures = evaluate_mapping(layer, architecture, mapping)
    assert value_of(objective, figures) == found.value, "the search and the evaluation agree"
    return LayerResult(
        layer, mapping, figures, objective, bound, count, time.perf_counter() - begin
    )


def evaluate_mapping(layer: Layer, architecture: Architecture, mapping: Mapping) -> Figures:
    """What a mapping costs, in C++."""
    orders = [[[LOOPS.index(loop) for loop in order] for order in mapping.orders]]
    figures, _ = native.evaluate(layer, architecture, np.array([mapping.tiling]), np.array(orders))
    return Figures.of(figures[0])
