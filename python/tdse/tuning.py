"""Find by measuring how kernels are built best, of operators where that may change the placement.

Of each kernel, the ways to build it are compiled, the most promising by a model of a core first,
and timed in turns with the way that is taken without tuning. The best few are timed in turns once
more, in executors made anew each time, since a time depends on where an executor's tensors happen
to lie; what is not clearly faster then is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdse.assemble import Compiled
from tdse.errors import UsageError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.activations import Array
from tdse.measure.deadline import Deadline
from tdse.measure.records import Record
from tdse.runtime.model import Model
from tdse.survey import Tuned
from tdse.targets import get_target
from tdse.targets.llvm import LlvmTarget, TunableConv
from tdse.targets.llvm_conv import Tiles
from tdse.targets.llvm_tuned import TunedTiles

TARGET = "llvm"

# Of the networks in docs/cpu-code.md, hardly a kernel gained more than this by tuning.
_MOST_GAIN = 1.25
# What is not faster by this is taken for noise.
_LEAST_GAIN = 1.02

# Ways that are compiled and timed together, beside the one that is taken without tuning.
_TOGETHER = 15
# Rounds of turns, and microseconds of a turn, among the many and among the best few.
_ROUNDS, _TURN_US = 6, 600.0
_FINALISTS, _SITTINGS, _FINAL_ROUNDS, _FINAL_TURN_US = 3, 3, 10, 2_000.0


@dataclass(frozen=True)
class Promise:
    """Operators of a model that share a kernel which can be tuned.

    Attributes:
        conv: the kernel.
        ops: indices.
        saved_us: of a run of the model, at most, by what is known of the operators' times.
    """

    conv: TunableConv
    ops: tuple[int, ...]
    saved_us: float


def llvm_target() -> LlvmTarget:
    """The target whose kernels are tuned.

    Raises:
        UsageError: it is another code generator's.
    """
    target = get_target(TARGET)
    if not isinstance(target, LlvmTarget):
        raise UsageError("Relay's kernels are not tuned", where="--tune", hint="leave it out")
    return target


def promises(
    graph: Graph,
    ops: Sequence[int],
    signatures: Mapping[int, str],
    records: Mapping[tuple[str, str, int], Record],
) -> list[Promise]:
    """Kernels that are worth tuning, those first that may save most.

    An operator may save what its time on the target, less what tuning gains at most, is below its
    best time on any target; so one that another target runs much faster is left out, as tuning
    would not bring it here.

    Args:
        graph: the model.
        ops: operators that may run on the target.
        signatures: operator index to signature.
        records: of ``RecordStore.find``; operators without one on the target are left out.
    """
    target = llvm_target()
    best_us: dict[str, float] = {}
    here_us: dict[str, float] = {}
    for (key, name, _), record in records.items():
        best_us[key] = min(record.median_us, best_us.get(key, np.inf))
        if name == TARGET:
            here_us[key] = min(record.median_us, here_us.get(key, np.inf))
    found: dict[TunableConv, Promise] = {}
    for op in ops:
        key = signatures[op]
        if key not in here_us:
            continue
        saved_us = best_us[key] - here_us[key] / _MOST_GAIN
        conv = target.tunable(graph, op)
        if conv is None or saved_us <= 0:
            continue
        before = found.get(conv, Promise(conv, (), 0.0))
        found[conv] = Promise(conv, (*before.ops, op), before.saved_us + saved_us)
    return sorted(found.values(), key=lambda promise: -promise.saved_us)


def trials_left(promise: Promise, trials: int) -> int:
    """Ways to build a kernel that are to be tried, if so many may be."""
    tuned = llvm_target().tuned(promise.conv)
    wanted = min(trials, len(promise.conv.tiles))
    return max(0, wanted - (tuned.trials if tuned else 0))


def tune(
    graph: Graph,
    promise: Promise,
    values: Mapping[int, Array],
    trials: int,
    deadline: Deadline,
    progress: Callable[[int], None],
) -> Tuned | None:
    """Try ways to build a kernel, and keep the fastest; None if that is to end early.

    What an earlier run has tried is not tried again.

    Args:
        graph: the model.
        promise: the kernel.
        values: activations, tensor index to array.
        trials: ways to try, with those of earlier runs.
        deadline: after which nothing new is begun, and nothing is kept of what was.
        progress: told how many ways have been tried.
    """
    target, conv, op = llvm_target(), promise.conv, promise.ops[0]
    known = target.tuned(conv) or TunedTiles(conv.tiles[0], 0, 1.0)
    wanted = conv.tiles[known.trials : min(trials, len(conv.tiles))]
    if wanted:
        scores: dict[Tiles, float] = {known.tiles: 1.0}
        for start in range(0, len(wanted), _TOGETHER):
            batch = [tiles for tiles in wanted[start : start + _TOGETHER] if tiles != known.tiles]
            every = _Candidates(graph, op, conv, [known.tiles, *batch], values)
            times_us = every.turns(_ROUNDS, _TURN_US)
            if deadline.is_over:
                return None
            ratios = times_us.min(axis=0) / times_us[:, 0].min()
            scores |= dict(zip(batch, ratios[1:].tolist(), strict=True))
            progress(start + len(batch))
        best = sorted(scores, key=lambda tiles: scores[tiles])
        finalists = [tiles for tiles in best if tiles != known.tiles][:_FINALISTS]
        tiles, gain = _final(graph, op, conv, [known.tiles, *finalists], values)
        known = TunedTiles(tiles, known.trials + len(wanted), known.gain * gain)
        target.keep_tuned(conv, known)
    labels = tuple(graph.ops[index].label for index in promise.ops)
    return Tuned(labels, known.trials, known.gain)


def _final(
    graph: Graph,
    op: int,
    conv: TunableConv,
    finalists: Sequence[Tiles],
    values: Mapping[int, Array],
) -> tuple[Tiles, float]:
    """The fastest of some, and by what factor, or the first if no other is clearly faster."""
    candidates = _Candidates(graph, op, conv, finalists, values)
    sittings = []
    for _ in range(_SITTINGS):
        times_us = candidates.turns(_FINAL_ROUNDS, _FINAL_TURN_US)
        sittings.append(np.median(times_us / times_us[:, :1], axis=0))
    ratios = np.median(sittings, axis=0)
    best = int(np.argmin(ratios))
    gain = 1.0 / float(ratios[best])
    return (finalists[best], gain) if gain >= _LEAST_GAIN else (finalists[0], 1.0)


class _Candidates:
    """An operator, built in several ways."""

    def __init__(
        self,
        graph: Graph,
        op: int,
        conv: TunableConv,
        tiles: Sequence[Tiles],
        values: Mapping[int, Array],
    ) -> None:
        compiled = llvm_target().compile_trials(graph, op, conv, tiles)
        regions = tuple(Region(i, TARGET, (op,)) for i in range(len(tiles)))
        self._compiled = Compiled(graph, regions, compiled.regions, compiled.libraries, 1)
        self._inputs = [values[index] for index in compiled.regions[0].inputs]

    def turns(self, rounds: int, turn_us: float) -> npt.NDArray[np.float64]:
        """Times in microseconds, ``[rounds, ways]``, in executors made for it; one thread."""
        models = [self._compiled.alone(i).model() for i in range(len(self._compiled.regions))]
        counts = [self._runs(model, turn_us) for model in models]
        return np.array(
            [
                [
                    # The first run finds the caches as the one before it left them.
                    np.median(model.time_runs(self._inputs, count + 1)[1:])
                    for model, count in zip(models, counts, strict=True)
                ]
                for _ in range(rounds)
            ]
        )

    def _runs(self, model: Model, turn_us: float) -> int:
        first_us = max(0.1, float(model.time_runs(self._inputs, 2)[-1]))
        return int(np.clip(turn_us / first_us, 2, 1000))
