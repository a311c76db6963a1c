"""Excitation: measure operators that no model brought, so that cost models learn from them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdse.child import Child, Progress
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, beside
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.excitation import KINDS, draw
from tdse.measure.records import RecordStore
from tdse.measure.timing import QUIET
from tdse.measure.turn import measuring
from tdse.place import demand_host, demand_positive, thread_counts
from tdse.platform import load_platform
from tdse.survey import survey

# So many operators stand beside each other in one model: enough to share the start of a process.
_BATCH = 60
# Quiet moments are worth waiting for where nobody waits for a model.
_PATIENCE_S = 1.0


@dataclass(frozen=True)
class Profile:
    """What excitation brought.

    Attributes:
        processor: name of the processor that was measured.
        measured: times that were measured.
        quiet: how many of them in moments in which nothing else slowed the machine down.
        seconds: what they took.
    """

    processor: str
    measured: int
    quiet: int
    seconds: float


def profile(
    *,
    budget_s: float,
    platform: str = "host",
    targets: Sequence[str] | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """Draw operators and measure them on every variant, until the budget ends.

    Each measurement is kept as soon as it is made; a run that is stopped loses the one it was at.

    Args:
        budget_s: seconds.
        platform: ``host``, or a preset or file of this machine.
        targets: use these only; None for all that the platform has.
        threads: of every operator; None to try 1 up to the number of cores.
        seed: of what is drawn, together with the number of records there are.
        progress: called with (stage, done, all, detail).

    Raises:
        PlatformError: the platform is not this machine.
        UsageError: a target is unknown, or the budget or number of threads is not positive.
    """
    demand_positive(threads, budget_s)
    say = progress or (lambda stage, done, total, detail: None)
    board = load_platform(platform)
    demand_host(board)
    names = chosen_targets(board, targets)
    counts = thread_counts(threads, board.devices[0].cores)
    with (
        measuring(lambda: say("wait", 0, 1, "for another tdse to finish measuring")),
        contextlib.closing(RecordStore(current_conditions())) as store,
    ):
        begun, since = time.monotonic(), time.time()
        deadline = begun + budget_s
        while time.monotonic() < deadline:
            known = sum(len(store.of_target(name)) for name in names)
            generator = np.random.default_rng([seed, known])
            graph = build_graph(beside(_batch(generator)), "excitation")
            with Child(graph, say) as child:
                survey(
                    graph,
                    child,
                    names,
                    counts,
                    store,
                    pins={},
                    seed=seed,
                    deadline=deadline,
                    patience_s=_PATIENCE_S,
                )
        measured, quiet = store.count_since(since, QUIET)
        seconds = time.monotonic() - begun
    return Profile(store.conditions.cpu, measured, quiet, seconds)


def _batch(generator: np.random.Generator) -> list[Configuration]:
    kinds = list(KINDS)
    weights = np.array([KINDS[kind] for kind in kinds], float)
    picks = generator.choice(len(kinds), _BATCH, p=weights / weights.sum())
    return [draw(generator, *kinds[pick]) for pick in picks]
