"""Excitation: measure operators that no model brought, so that cost models learn from them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.child import Child, Progress
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, beside
from tdse.graph.regions import Region
from tdse.legality import chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.excitation import KINDS, draw
from tdse.measure.excitation_chains import draw_chain
from tdse.measure.records import RecordStore
from tdse.measure.turn import measuring
from tdse.place import demand_host, thread_counts
from tdse.platform import load_platform
from tdse.survey import survey, time_regions

# So many operators, or chains of operators, stand beside each other in one model: enough to share
# the start of a process.
_OPS = 60
_CHAINS = 6
# One batch of so many is of chains.
_CHAINS_EVERY = 4
# Quiet moments are worth waiting for where nobody waits for a model.
_PATIENCE_S = 0.5


@dataclass(frozen=True)
class Profile:
    """What excitation brought.

    Attributes:
        measured: measurements that were made.
        seconds: what they took.
    """

    measured: int
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
        UsageError: a target is unknown.
    """
    say = progress or (lambda stage, done, total, detail: None)
    board = load_platform(platform)
    demand_host(board)
    names = chosen_targets(board, targets)
    counts = thread_counts(threads, board.devices[0].cores)
    begun = time.monotonic()
    deadline = begun + budget_s
    measured = 0
    with (
        measuring(lambda: say("wait", 0, 1, "for another tdse to finish measuring")),
        contextlib.closing(RecordStore(current_conditions())) as store,
    ):
        for batch in itertools.count():
            if time.monotonic() > deadline:
                break
            known = sum(len(store.of_target(name)) for name in names)
            generator = np.random.default_rng([seed, known])
            chains = batch % _CHAINS_EVERY == _CHAINS_EVERY - 1
            drawn = _draw_chains(generator) if chains else _draw_ops(generator)
            graph = build_graph(beside(drawn), "excitation")
            with Child(graph, say) as child:
                measured += survey(
                    graph,
                    child,
                    names,
                    counts,
                    store,
                    pins={},
                    seed=seed,
                    deadline=deadline,
                    patience_s=_PATIENCE_S,
                ).measured
                if chains:
                    measured += time_regions(
                        graph,
                        child,
                        [
                            Region(0, name, ops)
                            for ops in _ops_of(drawn, graph.placed_ops)
                            for name in names
                        ],
                        counts,
                        store,
                        seed=seed,
                        deadline=deadline,
                        patience_s=_PATIENCE_S,
                    )
    return Profile(measured, time.monotonic() - begun)


def _draw_ops(generator: np.random.Generator) -> list[Configuration]:
    kinds = list(KINDS)
    weights = np.array([KINDS[kind] for kind in kinds], float)
    picks = generator.choice(len(kinds), _OPS, p=weights / weights.sum())
    return [draw(generator, *kinds[pick]) for pick in picks]


def _draw_chains(generator: np.random.Generator) -> list[Configuration]:
    return [draw_chain(generator, ("float32", "int8")[i % 2]) for i in range(_CHAINS)]


def _ops_of(
    configurations: Sequence[Configuration], ops: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    """The operators of each of the configurations that stand beside each other."""
    first = 0
    for configuration in configurations:
        last = first + len(configuration.layers)
        yield tuple(ops[first:last])
        first = last
