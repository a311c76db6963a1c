"""Latency and bandwidth of a link, fitted to times of transfers of many sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdse.cost.robust import huber_fit, non_negative
from tdse.platform.model import Link

_ROUNDS = 30
# Huber's threshold, in relative error: what is further off weighs less, not nothing.
_OUTLYING = 0.1
# A transfer that costs nothing for each byte would have an infinite bandwidth.
_LEAST_US_PER_BYTE = 1e-9


@dataclass(frozen=True)
class LinkFit:
    """A straight line through times over bytes.

    Attributes:
        latency_us: of an empty transfer.
        bandwidth_bytes_per_s: of a long one.
        error: median of the relative errors of the sizes it was fitted to.
        worst_error: the largest of them.
    """

    latency_us: float
    bandwidth_bytes_per_s: float
    error: float
    worst_error: float

    def time_us(self, size_bytes: float) -> float:
        """Predicted microseconds of one transfer."""
        return self.latency_us + size_bytes / self.bandwidth_bytes_per_s * 1e6

    def link(self, between: tuple[str, str], *, shared: bool = False) -> Link:
        """The link of a platform between two devices."""
        return Link(
            between=between,
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s,
            latency_us=self.latency_us,
            shared=shared,
        )


def fit_link(sizes: Sequence[int], times_us: Sequence[float]) -> LinkFit:
    """Fit latency and bandwidth, neither negative, with little regard to times that stand out.

    Args:
        sizes: bytes; at least two different ones.
        times_us: of one transfer of each size, positive.

    Raises:
        ValueError: there are too few sizes, or a time is not positive.
    """
    size, measured = np.asarray(sizes, np.float64), np.asarray(times_us, np.float64)
    if len(set(sizes)) < 2 or not (measured > 0).all():
        raise ValueError("a line needs times of two sizes, all positive")
    # Each row is one size; a small transfer counts as much as a large one.
    scale = size.max()
    rows = np.stack([np.ones_like(size), size / scale], axis=1) / measured[:, None]
    ones = np.ones_like(size)
    found = huber_fit(non_negative, rows, ones, threshold=_OUTLYING, rounds=_ROUNDS)
    errors = np.abs(rows @ found - 1.0)
    latency_us, per_byte = float(found[0]), max(float(found[1]) / scale, _LEAST_US_PER_BYTE)
    return LinkFit(latency_us, 1e6 / per_byte, float(np.median(errors)), float(errors.max()))
