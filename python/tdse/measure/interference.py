"""How much two regions slow each other down when they run side by side on two cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tdse.errors import TdseError
from tdse.measure.timing import QUIET, Reference
from tdse.runtime.model import Model

# A block of runs between two looks at the clock, and how long a region runs, alone and beside the
# other: long enough for dozens of blocks, short enough for a quiet moment.
_BLOCK_S = 0.0015
_WINDOW_S = 0.040
# Caches and branch predictors learn for some milliseconds; this share of the blocks is not counted.
_WARM = 0.3
_ROUNDS = 3

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Contender:
    """A region that can be run: its executor, of one thread, and inputs."""

    model: Model
    inputs: Sequence[npt.ArrayLike]


@dataclass(frozen=True)
class Slowdowns:
    """What two regions did to each other.

    Attributes:
        first_us: microseconds of a run of the first region alone.
        second_us: likewise of the second.
        first: time of the first beside the second, times its time alone.
        second: likewise.
        contention: of references on both cores at once, just before and after; the largest. Beside
            what ``Timing`` says, it is more than 1 while the two cores share what each has for
            itself at other times.
    """

    first_us: float
    second_us: float
    first: float
    second: float
    contention: float


@dataclass(frozen=True)
class _Block:
    begin: float
    end: float
    times_us: npt.NDArray[np.float64]


def measure_pair(
    first: Contender,
    second: Contender,
    references: tuple[Reference, Reference],
    *,
    patience_s: float,
) -> Slowdowns:
    """Time two regions alone and side by side, each pinned to a core of its own.

    Both run until the same moment; only blocks that lie wholly within the other's run count. They
    are timed alone just before and just after, so that a drift of the machine cancels out.

    Args:
        first: runs on the first core that this process may use.
        second: runs on the second one.
        references: of one thread each; run at once, they tell whether both cores are quiet, and
            whether they are two. A virtual machine's may be one for seconds on end, and what two
            regions do to each other then says nothing of other times.
        patience_s: how long to look for quiet moments; after that, the least disturbed round is
            taken.

    Raises:
        TdseError: the process may use one core only.
    """
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        raise TdseError("interference cannot be measured", why="this process may use one core only")
    cores = sorted(allowed)[:2]
    pair = (first, second)
    counts = [_runs_in_a_block(each) for each in pair]
    deadline = time.monotonic() + patience_s
    rounds: list[Slowdowns] = []
    try:
        while True:
            rounds.append(_round(pair, counts, cores, references))
            quiet = [each for each in rounds if each.contention <= QUIET]
            if len(quiet) >= _ROUNDS or time.monotonic() > deadline:
                break
    finally:
        os.sched_setaffinity(0, allowed)
    kept = quiet or [min(rounds, key=lambda each: each.contention)]
    return Slowdowns(
        *(
            float(np.median([getattr(each, name) for each in kept]))
            for name in ("first_us", "second_us", "first", "second", "contention")
        )
    )


def _runs_in_a_block(contender: Contender) -> int:
    one_us = max(0.1, float(np.median(contender.model.time_runs(contender.inputs, 3))))
    return int(np.clip(_BLOCK_S * 1e6 / one_us, 1, 1000))


def _round(
    pair: tuple[Contender, Contender],
    counts: Sequence[int],
    cores: Sequence[int],
    references: tuple[Reference, Reference],
) -> Slowdowns:
    before = _contention(references, cores)
    early = [
        _alone(each, count, core) for each, count, core in zip(pair, counts, cores, strict=True)
    ]
    beside = _beside(pair, counts, cores)
    late = [
        _alone(each, count, core) for each, count, core in zip(pair, counts, cores, strict=True)
    ]
    alone = [(one + other) / 2 for one, other in zip(early, late, strict=True)]
    return Slowdowns(
        first_us=alone[0],
        second_us=alone[1],
        first=beside[0] / alone[0],
        second=beside[1] / alone[1],
        contention=max(before, _contention(references, cores)),
    )


def _contention(references: tuple[Reference, Reference], cores: Sequence[int]) -> float:
    """Of both references at once, the larger."""
    return max(_at_once(cores, lambda index: references[index].contention()))


def _alone(contender: Contender, count: int, core: int) -> float:
    os.sched_setaffinity(0, {core})
    blocks = _run_until(contender, count, time.perf_counter() + _WINDOW_S)
    return _median_us(_warm(blocks))


def _beside(
    pair: tuple[Contender, Contender], counts: Sequence[int], cores: Sequence[int]
) -> list[float]:
    """Median run of each while the other runs, microseconds."""

    def run(index: int) -> list[_Block]:
        return _run_until(pair[index], counts[index], time.perf_counter() + _WINDOW_S)

    blocks = _at_once(cores, run)
    return [
        _median_us(_warm(overlapping(own, other) or own))
        for own, other in (blocks, reversed(blocks))
    ]


def _at_once(cores: Sequence[int], work: Callable[[int], _Found]) -> list[_Found]:
    """What ``work`` finds on each of two cores, begun at the same moment."""
    found: dict[int, _Found] = {}
    errors: list[BaseException] = []
    start = threading.Barrier(2)

    def begin(index: int) -> None:
        try:
            os.sched_setaffinity(0, {cores[index]})
            start.wait()
            found[index] = work(index)
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=begin, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [found[0], found[1]]


def _run_until(contender: Contender, count: int, until: float) -> list[_Block]:
    blocks: list[_Block] = []
    begin = time.perf_counter()
    while begin < until or len(blocks) < 2:
        times = contender.model.time_runs(contender.inputs, count)
        end = time.perf_counter()
        blocks.append(_Block(begin, end, times))
        begin = end
    return blocks


def overlapping(own: Sequence[_Block], other: Sequence[_Block]) -> list[_Block]:
    """The blocks of ``own`` that lie wholly within the time that ``other`` ran."""
    return [block for block in own if block.begin >= other[0].begin and block.end <= other[-1].end]


def _warm(blocks: Sequence[_Block]) -> Sequence[_Block]:
    return blocks[min(int(len(blocks) * _WARM) + 1, len(blocks) - 1) :]


def _median_us(blocks: Sequence[_Block]) -> float:
    return float(np.median(np.concatenate([block.times_us for block in blocks])))
