"""How many cores there are in truth: a virtual one may be shared with others."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

_TURN_S, _TURNS = 0.02, 10
_BLOCK = bytes(1 << 16)


def cores() -> float:
    """What two threads get done over what one does."""
    done: dict[int, list[int]] = {1: [], 2: []}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(_TURNS):
            for threads, counts in done.items():
                until = time.perf_counter() + _TURN_S
                counts.append(sum(pool.map(_hashes, [until] * threads)))
    return sum(done[2]) / max(1, sum(done[1]))


def _hashes(until: float) -> int:
    """How many blocks were hashed by then; other threads run meanwhile."""
    count = 0
    while time.perf_counter() < until:
        hashlib.blake2b(_BLOCK).digest()
        count += 1
    return count
