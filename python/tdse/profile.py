"""Excitation: measure operators that no model brought, so that cost models learn from them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdse.child import Child, Progress, unheard
from tdse.cost.features import quantities
from tdse.cost.library import variant_models
from tdse.errors import PlatformError, UsageError
from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, beside
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.workload import workload
from tdse.legality import chosen_targets
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.excitation import KINDS, draw
from tdse.measure.excitation_chains import draw_chain, draw_stack
from tdse.measure.launch import measure_launch
from tdse.measure.records import RecordStore
from tdse.measure.remote import Boards
from tdse.measure.switches import measure_switches
from tdse.measure.timing import QUIET
from tdse.measure.turn import measuring
from tdse.place import demand_host, demand_positive, thread_counts
from tdse.platform import Device, Platform, load_platform
from tdse.platform.opencl import target_number
from tdse.survey import survey, time_again, time_regions
from tdse.targets import get_target, target_variants

# So many operators, or chains of operators, stand beside each other in one model: enough to share
# the start of a process.
_OPS = 60
_CHAINS = 6
# Half of the operators are those that the models are least sure of, among so many.
_CANDIDATES = 120
# An operator this fast tells nothing but what a launch takes.
_TINY_US = 5.0
# So many operators of a batch are measured twice, for the noise.
_REPEATED = 3
# One batch of so many is of chains.
_CHAINS_EVERY = 4
# Quiet moments are worth waiting for where nobody waits for a model.
_PATIENCE_S = 0.5


@dataclass(frozen=True)
class Profile:
    """What excitation brought.

    Attributes:
        conditions: of the machine that was measured.
        measured: times that were measured.
        quiet: how many of them in moments in which nothing else slowed the machine down.
        seconds: what they took.
    """

    conditions: Conditions
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
    store: Path | None = None,
    boards: tuple[str, str] | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Draw operators and measure them on every variant, until the budget ends.

    Each measurement is kept as soon as it is made; a run that is stopped loses the one it was at.

    Args:
        budget_s: seconds.
        platform: ``host``, or a preset or file of this machine. With ``boards``, a preset or file
            must be theirs, and ``host`` stands for whatever they are.
        targets: use these only; None for all that the platform has.
        threads: of every operator; None to try 1 up to the number of cores.
        seed: of what is drawn, together with the number of records there are.
        store: file that takes the records; None for the user's.
        boards: address of an RPC tracker, ``HOST:PORT``, and key of the boards to measure on, in
            place of this machine.
        progress: called with (stage, done, all, detail).

    Raises:
        PlatformError: the platform is not this machine, or not that of the boards.
        UsageError: a target is unknown, or the budget or number of threads is not positive.
    """
    demand_positive(threads, budget_s)
    say = progress or unheard
    machine = load_platform(platform)
    names = chosen_targets(machine, targets)
    if boards is None:
        demand_host(machine)
        conditions = current_conditions()
    else:
        conditions, processor = _found(boards, machine)
        names = _measured_on_boards(names, targets, processor)
    counts = thread_counts(threads, conditions.cores)
    with (
        measuring(say),
        contextlib.closing(RecordStore(conditions, store)) as records,
    ):
        begun, since = time.monotonic(), time.time()
        deadline = begun + budget_s
        session = _Session(names, counts, records, seed, deadline, boards, say)
        took_turns = False
        for batch in itertools.count():
            if time.monotonic() > deadline:
                break
            if not took_turns and session.known():
                # Not before the first operators, of this run or earlier: a short budget is for
                # these.
                session.measure_turns()
                took_turns = True
            if batch % _CHAINS_EVERY == _CHAINS_EVERY - 1:
                session.measure_chains()
            else:
                session.measure_ops()
        measured, quiet = records.count_since(since, QUIET)
        seconds = time.monotonic() - begun
    return Profile(conditions, measured, quiet, seconds)


def _measured_on_boards(
    names: Sequence[str], asked: Sequence[str] | None, processor: Device | None
) -> tuple[str, ...]:
    """The targets without those of OpenCL devices: a board does not tell which it has.

    For another processor than this machine's, those that compile for this machine only are left
    out as well, unless they were asked for.

    Raises:
        UsageError: an OpenCL device was asked for.
    """
    kept = tuple(name for name in names if target_number(name) is None)
    if processor is not None and not asked:
        kept = tuple(name for name in kept if hasattr(get_target(name), "for_processor"))
    if asked and len(kept) < len(names):
        raise UsageError(
            "OpenCL devices are not measured on boards", hint="leave opencl out of --targets"
        )
    return kept


def _found(boards: tuple[str, str], machine: Platform) -> tuple[Conditions, Device | None]:
    """The conditions of the boards, and their processor if kernels are compiled for it alone.

    Raises:
        PlatformError: they are not the machine that the user names.
    """
    with Boards(*boards) as found:
        conditions, processor = found.board.conditions, found.processor
    device = machine.devices[0]
    if machine.source != "found" and not conditions.are_of(device):
        raise PlatformError(
            f"the boards with the key {boards[1]!r} are not of platform {machine.name}",
            why=f"they are {conditions.cpu} ({conditions.cores} cores), it is "
            f"{device.model_name or device.name} ({device.cores} cores)",
            hint="leave out --platform, or give that of the boards",
        )
    return conditions, processor


class _Session:
    """Measures batch after batch until the deadline."""

    def __init__(
        self,
        targets: Sequence[str],
        counts: Sequence[int],
        store: RecordStore,
        seed: int,
        deadline: float,
        boards: tuple[str, str] | None,
        say: Progress,
    ) -> None:
        self._targets = targets
        self._counts = counts
        self._store = store
        self._seed = seed
        self._deadline = deadline
        self._boards = boards
        self._say = say

    def known(self) -> int:
        """How many records of the variants there are."""
        return sum(self._store.count(*variant) for variant in self._variants())

    def measure_ops(self) -> None:
        """Measure operators, some of them those that the models are least sure of."""
        generator = self._generator()
        drawn = _draw_ops(generator, _OPS // 2)
        drawn += self._least_sure(_draw_ops(generator, _CANDIDATES), _OPS - len(drawn))
        graph = build_graph(beside(drawn), "excitation")
        with Child(graph, self._say) as child:
            self._survey(graph, child)
            again = generator.choice(graph.placed_ops, _REPEATED, replace=False).tolist()
            time_again(
                graph,
                child,
                again,
                self._variants(),
                self._store,
                seed=self._seed,
                deadline=self._deadline,
                patience_s=_PATIENCE_S,
                boards=self._boards,
            )

    def measure_turns(self) -> None:
        """Measure what a launch costs, and when targets take turns, once."""
        self._say("measure", 0, 1, "launches, and targets in turns")
        place = contextlib.nullcontext() if self._boards is None else Boards(*self._boards)
        with place as timer:
            measure_launch(self._variants(), self._store, timer=timer)
            measure_switches(
                self._variants(), self._store, timer=timer, deadline=Deadline(self._deadline)
            )

    def measure_chains(self) -> None:
        """Measure chains of operators: each operator, and each chain as one region."""
        generator = self._generator()
        drawn = [
            (draw_stack if i % 3 == 2 else draw_chain)(generator, ("float32", "int8")[i % 2])
            for i in range(_CHAINS)
        ]
        graph = build_graph(beside(drawn), "excitation")
        with Child(graph, self._say) as child:
            self._survey(graph, child)
            time_regions(
                graph,
                child,
                [
                    Region(0, target, ops)
                    for ops in _pieces(drawn, graph.placed_ops)
                    for target in self._targets
                ],
                self._counts,
                self._store,
                seed=self._seed,
                deadline=self._deadline,
                patience_s=_PATIENCE_S,
                boards=self._boards,
            )

    def _generator(self) -> np.random.Generator:
        """Goes on where an earlier run ended: what is drawn depends on what is known."""
        return np.random.default_rng([self._seed, self.known()])

    def _variants(self) -> list[tuple[str, int]]:
        return target_variants(self._targets, self._counts)

    def _survey(self, graph: Graph, child: Child) -> None:
        survey(
            graph,
            child,
            self._targets,
            self._counts,
            self._store,
            pins={},
            seed=self._seed,
            deadline=self._deadline,
            patience_s=_PATIENCE_S,
            # Of what is drawn, some may run on none of the targets.
            demand_all=False,
            boards=self._boards,
        )

    def _least_sure(self, drawn: Sequence[Configuration], count: int) -> list[Configuration]:
        """Those of which some variant's interval is widest, unless they take next to no time."""
        graph = build_graph(beside(drawn), "candidates")
        sizes = quantities([workload(graph, graph.ops[op]) for op in graph.placed_ops])
        width = np.zeros(len(sizes))
        for models in variant_models(self._store, self._variants()).values():
            if models.operators is not None:
                found = models.operators.predict(sizes)
                unsure = np.log(found.high_us) - np.log(found.mean_us)
                width = np.maximum(width, np.where(found.mean_us < _TINY_US, 0.0, unsure))
        return [drawn[i] for i in np.argsort(-width, kind="stable")[:count].tolist()]


def _draw_ops(generator: np.random.Generator, count: int) -> list[Configuration]:
    kinds = list(KINDS)
    weights = np.array([KINDS[kind] for kind in kinds], float)
    picks = generator.choice(len(kinds), count, p=weights / weights.sum())
    return [draw(generator, *kinds[pick]) for pick in picks]


def _pieces(chains: Sequence[Configuration], ops: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The operators of each of the chains, of some together, and of all.

    Together they are as large as networks, whose weights do not stay in the caches.
    """
    starts = [0, *itertools.accumulate(len(chain.layers) for chain in chains)]
    for first, last in itertools.pairwise(starts):
        yield tuple(ops[first:last])
    for count in (len(chains) // 2, len(chains)):
        yield tuple(ops[: starts[count]])
