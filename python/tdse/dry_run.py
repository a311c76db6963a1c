"""What a compilation would measure, how long about, and what it may gain; nothing is run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tdse.admission import admit
from tdse.child import Child, Progress, unheard
from tdse.elsewhere import (
    ask_for,
    here_counts,
    its_own_store,
    known_counts,
    processor_elsewhere,
    why_elsewhere,
)
from tdse.errors import TdseError
from tdse.graph.reader import read_tflite
from tdse.legality import Legality, chosen_targets
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.outlook import Choice, outlook
from tdse.place import (
    MEASURE_SHARE,
    demand_host,
    demand_positive,
    demand_tunable,
    demand_untuned,
    thread_counts,
)
from tdse.platform import load_platform
from tdse.survey import ask_targets, count_trials
from tdse.targets import target_variants

# What compiling and timing one operator takes, in seconds: measured on MobileNetV3-Small with
# litert and llvm, on a quiet virtual machine of two cores. A busy one takes longer.
_OP_S = 0.08
# A way to build a kernel, compiled and timed, likewise.
_TRIAL_S = 0.2
# Building, checking and timing candidates.
_CONTEST_S = 18.0


@dataclass(frozen=True)
class Missing:
    """What is to be measured of one variant.

    Attributes:
        variant: a target with a thread count.
        ops: distinct operators that may run there.
        missing: of these, how many have no record yet.
    """

    variant: str
    ops: int
    missing: int


@dataclass(frozen=True)
class DryRun:
    """What a compilation would do.

    Attributes:
        model: its name.
        ops: operators that are placed.
        whole_reason: why it is placed whole, so that nothing is measured by operator; or empty.
        variants: what is to be measured.
        measuring_s: seconds for that, about, at most what the budget allows.
        kernels: to be tuned, by the times that are known now.
        trials: ways to build them that would be tried.
        tuning_s: seconds for that, about, beside the budget.
        seconds: of the whole compilation, about.
        expected: the fastest choice by what is known now; None where too little is.
        litert: the whole model on LiteRT at its best, likewise.
        unknown: why nothing can be expected; or empty.
        elsewhere: what makes the platform another machine than this; or empty.
        times_of: processor or board whose times are expected; empty where none are.
    """

    model: str
    ops: int
    whole_reason: str
    variants: tuple[Missing, ...]
    measuring_s: float
    kernels: int
    trials: int
    tuning_s: float
    seconds: float
    expected: Choice | None
    litert: Choice | None
    unknown: str
    elsewhere: str = ""
    times_of: str = ""

    @property
    def gain(self) -> float | None:
        """LiteRT's expected time over that of the fastest choice."""
        if self.expected is None or self.litert is None:
            return None
        return self.litert.latency_us / self.expected.latency_us


def dry_run(
    model: str | os.PathLike[str],
    *,
    platform: str = "host",
    targets: Sequence[str] | None = None,
    threads: int | None = None,
    budget_s: float = 60.0,
    tune: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> DryRun:
    """Find out what compiling ``model`` would take. Targets compile operators, but run none.

    Args:
        model, platform, targets, threads, budget_s, tune, seed, progress: as of ``compile``.

    For a platform that is not this machine, its own records count, or where there are none, those
    of this machine, with which operators would be measured.

    Raises:
        UsageError: an argument is wrong, or the platform is emulated, so that nothing is measured.
        ModelError: the file is not a model that can be run.
        PlatformError: tdse cannot compile for the platform.
    """
    say = progress or unheard
    demand_positive(threads, budget_s)
    board = load_platform(platform)
    names = chosen_targets(board, targets)
    demand_tunable(tune, names)
    processor = processor_elsewhere(board)
    if processor is None:
        demand_host(board)
    else:
        demand_untuned(tune)
    elsewhere = "" if processor is None else why_elsewhere(board)
    graph = read_tflite(Path(model))
    admit(graph)
    counts = thread_counts(threads, board.devices[0].cores)
    if graph.whole_reason:
        return DryRun(
            model=graph.name,
            ops=len(graph.placed_ops),
            whole_reason=graph.whole_reason,
            variants=(),
            measuring_s=0.0,
            kernels=0,
            trials=0,
            tuning_s=0.0,
            seconds=_CONTEST_S,
            expected=None,
            litert=None,
            unknown="a model that is placed whole is not predicted",
            elsewhere=elsewhere,
        )
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(RecordStore(current_conditions())))
        child = stack.enter_context(Child(graph, say))
        say("legality", 0, 1, "")
        kernels = trials = 0
        if processor is None:
            legality = ask_targets(graph, child, names, store)
            variants = _missing(legality, counts, store)
            if tune:
                kernels, trials = count_trials(graph, child, names, store, tune)
        else:
            legality = ask_for(graph, processor, names, child)
            own = its_own_store(store, processor)
            known = own and known_counts(own, legality.corrected(own), counts)
            if own and known:
                store, counts, variants = stack.enter_context(contextlib.closing(own)), known, ()
            else:
                counts = here_counts(store, counts)
                variants = _missing(legality, counts, store)
            legality = legality.corrected(store)
        expected = litert = None
        unknown = ""
        try:
            choices = outlook(
                graph,
                legality,
                counts,
                store,
                board.devices[0],
                name=board.name,
                seed=seed,
                say=say,
            ).choices
            expected = choices[0]
            litert = next((one for one in choices if tuple(one.targets) == ("litert",)), None)
        except TdseError as error:
            unknown = str(error)
        times_of = store.conditions.cpu
    measuring_s = min(_OP_S * sum(one.missing for one in variants), MEASURE_SHARE * budget_s)
    return DryRun(
        model=graph.name,
        ops=len(graph.placed_ops),
        whole_reason="",
        variants=variants,
        measuring_s=measuring_s,
        kernels=kernels,
        trials=trials,
        tuning_s=trials * _TRIAL_S,
        seconds=measuring_s + trials * _TRIAL_S + _CONTEST_S,
        expected=expected,
        litert=litert,
        unknown=unknown,
        elsewhere=elsewhere,
        times_of=times_of,
    )


def _missing(legality: Legality, counts: Sequence[int], store: RecordStore) -> tuple[Missing, ...]:
    known = store.find(legality.signatures.values())
    legal = legality.legal()
    found = []
    for target, threads in target_variants(legality.targets, counts):
        keys = {legality.signatures[op] for op, may in legal[target].items() if may}
        missing = sum((key, target, threads) not in known for key in keys)
        found.append(Missing(f"{target} x{threads}", len(keys), missing))
    return tuple(found)
