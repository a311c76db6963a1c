"""Timing discipline for one executor in this process.

On a machine that is shared, a processor core runs at its own speed at some moments and slower at
others, when its caches, its arithmetic units or its time go to somebody else. How much slower
differs from operator to operator, so no factor cures it afterwards. A reference operator that
suffers early is therefore timed before and after each block of runs, and only blocks between two
undisturbed references count, as long as such moments can be found in reasonable time. What other
processes of the same machine take of the core within a block is missing in the thread's own time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdse.runtime.model import Model

# A block of runs is about this long: longer than a few references, shorter than a quiet moment.
_BLOCK_US = 4_000.0
# So many undisturbed blocks are enough, once there are so many runs in them, or as much time.
_BLOCKS = 3
_RUNS = 30
_ENOUGH_US = 80_000.0
_MOST_RUNS = 1000
# The reference leaves some of the caches empty, which is nothing to a run this long.
_LONG_US = 20_000.0
# A reference up to this many times its best is undisturbed; between its own quiet runs it varies
# by 1 to 2 %, beside a busy neighbour it takes 1.2 to 1.9 times as long.
QUIET = 1.05
# A time that was taken beside more than this says more of the neighbours than of the operator, so
# nothing is learnt from it.
DISTURBED = 1.3
# What counts as the best of a reference: not the very smallest, which may be a clock's mistake.
_BEST_PERCENT = 5.0
_CALIBRATION_S = 0.3


@dataclass(frozen=True)
class Timing:
    """What was measured of an executor.

    Attributes:
        median_us: median of the blocks' medians, microseconds of one run.
        spread_us: distance between the 10th and the 90th percentile of the runs.
        runs: runs that count.
        contention: the reference in the same blocks, times its best; 1 on a quiet machine.
    """

    median_us: float
    spread_us: float
    runs: int
    contention: float

    @property
    def is_quiet(self) -> bool:
        """Nothing else slowed it down, as far as the reference tells."""
        return self.contention <= QUIET


class Reference:
    """An operator whose time tells how disturbed the machine is.

    A reference of one thread moves between the cores it may use, as some may be quiet while others
    are not.

    Args:
        model: the operator.
        inputs: of it.
        threads: threads of the operator.
        best_us: the best that is known from earlier, microseconds; inf if nothing is.
    """

    def __init__(
        self, model: Model, inputs: Sequence[npt.ArrayLike], threads: int, best_us: float
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._cores = sorted(os.sched_getaffinity(0))
        self._moves = threads == 1 and len(self._cores) > 1
        self._turn = 0
        self.best_us = np.inf
        end = time.monotonic() + _CALIBRATION_S
        readings = []
        try:
            while time.monotonic() < end:
                self._move()
                readings.append(self._read_us())
        finally:
            self.release()
        self.best_us = min(best_us, float(np.percentile(readings, _BEST_PERCENT)))

    def contention(self) -> float:
        """The reference now, times its best."""
        return max(1.0, self._read_us() / self.best_us)

    def seek(self, deadline: float) -> float:
        """Wait for a quiet moment, on any core, at most until ``deadline``; the contention then."""
        while (found := self.contention()) > QUIET and time.monotonic() < deadline:
            self._move()
        return found

    def release(self) -> None:
        """Let the calling thread use all its cores again."""
        if self._moves:
            os.sched_setaffinity(0, self._cores)

    def _move(self) -> None:
        if self._moves:
            self._turn = (self._turn + 1) % len(self._cores)
            os.sched_setaffinity(0, {self._cores[self._turn]})

    def _read_us(self) -> float:
        # The first run finds the caches as the operator before it left them.
        return float(np.median(self._model.time_runs(self._inputs, 4)[1:]))


def time_model(
    model: Model,
    inputs: Sequence[npt.ArrayLike],
    reference: Reference,
    *,
    patience_s: float,
) -> Timing:
    """Time ``model`` on ``inputs``: warm, in blocks, between undisturbed references.

    Args:
        model: the executor.
        inputs: one array for each input.
        reference: of the same number of threads.
        patience_s: how long to look for quiet moments; after that, the least disturbed block that
            was seen is taken, and ``contention`` tells.

    Raises:
        TargetError: the executor fails.
    """
    first_us = max(0.1, model.time_runs(inputs, 2)[-1])
    runs = int(np.clip(_BLOCK_US / first_us, 2, _MOST_RUNS))
    warm = max(1, runs // 4) if first_us < _LONG_US else 0
    blocks_wanted = max(_BLOCKS, min(_RUNS / runs, _ENOUGH_US / runs / first_us))
    # Who waits for a device uses no time of a processor, and is not disturbed by that.
    waits = model.uses_device
    deadline = time.monotonic() + patience_s
    blocks: list[tuple[float, npt.NDArray[np.float64]]] = []
    try:
        while True:
            before = reference.seek(deadline)
            wall, processor = time.perf_counter(), time.thread_time()
            times = model.time_runs(inputs, runs + warm)[warm:]
            shared = (time.perf_counter() - wall) / max(1e-9, time.thread_time() - processor)
            disturbed = max(before, reference.contention(), 1.0 if waits else shared)
            blocks.append((disturbed, times))
            quiet = [block for block in blocks if block[0] <= QUIET]
            if len(quiet) >= blocks_wanted or time.monotonic() > deadline:
                break
    finally:
        reference.release()
    return _timing(quiet or [min(blocks, key=lambda block: block[0])])


def _timing(blocks: Iterable[tuple[float, npt.NDArray[np.float64]]]) -> Timing:
    contentions, times = zip(*blocks, strict=True)
    low, high = np.percentile(np.concatenate(times), [10, 90])
    return Timing(
        median_us=float(np.median([np.median(block) for block in times])),
        spread_us=float(high - low),
        runs=sum(len(block) for block in times),
        contention=float(np.median(contentions)),
    )
