"""Times of transfers between devices, over their size.

What transfers is a function, so that any pair of devices can be measured: given a size, it makes
its buffers and gives back a call that moves that many bytes once, and returns when they are there.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence

import numpy as np

Transfer = Callable[[int], Callable[[], object]]

# 64 B to 16 MiB: below, latency is all there is; above are no tensors of networks for phones.
SIZES = tuple(64 << step for step in range(19))
_BLOCKS = 5
_BLOCK_S = 0.004
_MOST_CALLS = 2000


def measure_transfers(transfer: Transfer, sizes: Sequence[int] = SIZES) -> list[float]:
    """Microseconds of one transfer of each size: the quietest of a few blocks' medians.

    Other work on the machine only ever adds to such a short time, so the least is the best known.
    """
    times_us = []
    for size in sizes:
        move = transfer(size)
        move()
        begin = time.perf_counter()
        move()
        once_s = max(1e-7, time.perf_counter() - begin)
        calls = int(np.clip(_BLOCK_S / once_s, 1, _MOST_CALLS))
        times_us.append(min(_block_us(move, calls) for _ in range(_BLOCKS)))
    return times_us


def _block_us(move: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        move()
    return (time.perf_counter() - begin) / calls * 1e6


def memory_copy(size: int) -> Callable[[], object]:
    """From memory of the CPU to memory of the CPU: what the executor does with inputs."""
    source = np.zeros(size, np.uint8)
    target = np.zeros(size, np.uint8)
    addresses = target.ctypes.data, source.ctypes.data

    def move() -> object:
        ctypes.memmove(*addresses, size)
        # The buffers live as long as the call.
        return source, target

    return move
