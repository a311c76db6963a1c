"""How far one result is from another, and how far it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# A region may differ from LiteRT's own result by one step of an 8-bit type, and in floating
# point by this share of the largest magnitude, which leaves room for another order of summation.
INTEGER_STEPS = 1
FLOAT_RELATIVE = 1e-4


@dataclass(frozen=True)
class Difference:
    """Largest difference of two results.

    Attributes:
        steps: of integer tensors, in steps of the stored type.
        relative: of floating-point tensors, as a share of the reference's largest magnitude.
    """

    steps: int = 0
    relative: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Every element is the same."""
        return self.steps == 0 and self.relative == 0.0

    @property
    def is_allowed(self) -> bool:
        """Within what one region may differ by."""
        return self.steps <= INTEGER_STEPS and self.relative <= FLOAT_RELATIVE

    def __str__(self) -> str:
        if self.is_exact:
            return "exact"
        parts = []
        if self.steps:
            parts.append(f"{self.steps} LSB")
        if self.relative:
            parts.append(f"{self.relative:.1e} of the peak")
        return ", ".join(parts)


def difference(
    results: Sequence[npt.NDArray[Any]], reference: Sequence[npt.NDArray[Any]]
) -> Difference:
    """The largest difference over all tensors; arrays of equal shapes and dtypes, pairwise."""
    steps, relative = 0, 0.0
    for result, expected in zip(results, reference, strict=True):
        if expected.dtype.kind == "f":
            relative = max(relative, _relative(result, expected))
        elif expected.size:
            wide = result.astype(np.int64) - expected.astype(np.int64)
            steps = max(steps, int(np.abs(wide).max()))
    return Difference(steps, relative)


def worst(differences: Sequence[Difference]) -> Difference:
    """The largest of several differences, each measure on its own."""
    return Difference(
        max((d.steps for d in differences), default=0),
        max((d.relative for d in differences), default=0.0),
    )


def _relative(result: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    if np.array_equal(result, expected, equal_nan=True):
        return 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(result)):
        return float("inf")
    peak = float(np.abs(expected[finite]).max(initial=0.0))
    gap = float(np.abs(result[finite] - expected[finite]).max(initial=0.0))
    return gap / peak if peak else (float("inf") if gap else 0.0)
