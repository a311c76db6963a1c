"""How far the outputs of a whole placement are from LiteRT's, over several inputs.

Each region may be within a step of LiteRT's result, and a network may yet make much of these steps.
Nothing but LiteRT itself says how much it makes of them: its default and its reference kernels
differ by rounding alone, as regions do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.measure.accuracy import (
    FLOAT_RELATIVE,
    INTEGER_STEPS,
    Difference,
    difference,
    worst,
)
from tdse.measure.activations import Array, random_inputs
from tdse.runtime.litert import invoke, make_interpreter

# Seeds of random inputs that outputs are compared on.
INPUTS = 6
# The reference kernels are slow.
_REFERENCE_INPUTS = 2
# Outputs may be so many times as far from LiteRT's as those of its reference kernels: over few
# inputs, as far can come out a little more.
_TIMES = 2


@dataclass(frozen=True)
class OutputGap:
    """Outputs of a placement beside LiteRT's.

    Attributes:
        inputs: how many inputs were compared.
        ours: largest difference from LiteRT's default kernels.
        litert_itself: largest difference of LiteRT's reference kernels from its default ones, on
            the first inputs; None if ours is no more than a region's may be, so that there is
            nothing to compare with, or if the reference kernels cannot run the model.
    """

    inputs: int
    ours: Difference
    litert_itself: Difference | None = None

    @property
    def is_allowed(self) -> bool:
        """No more than a region may differ by, or not much more than LiteRT from itself."""
        if self.ours.is_allowed or self.litert_itself is None:
            return self.ours.is_allowed
        steps = max(INTEGER_STEPS, _TIMES * self.litert_itself.steps)
        relative = max(FLOAT_RELATIVE, _TIMES * self.litert_itself.relative)
        return self.ours.steps <= steps and self.ours.relative <= relative

    def __str__(self) -> str:
        text = f"{self.ours} on {self.inputs} inputs"
        if self.litert_itself is None:
            return text
        return f"{text}, where LiteRT's reference kernels differ by {self.litert_itself}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OutputGap:
        """What ``as_json`` gave."""
        itself = values["litert_itself"]
        return cls(
            values["inputs"],
            Difference(**values["ours"]),
            None if itself is None else Difference(**itself),
        )


class LitertOutputs:
    """What LiteRT makes of a model on several inputs, computed when it is first needed.

    Args:
        graph: a model that was read from a flatbuffer.
        seed: of the first input; others follow.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self._graph = graph
        self._cases = [random_inputs(graph, seed + i) for i in range(INPUTS)]
        self._default: list[list[Array]] | None = None
        self._itself: Difference | None = None
        self._has_itself = False

    def gap(self, run: Callable[[Sequence[Array]], Sequence[Array]]) -> OutputGap:
        """Outputs of ``run``, from its first call on, beside LiteRT's.

        Raises:
            TargetError: LiteRT cannot run the model as a whole.
        """
        expected = self._expected()
        # A state goes on from case to case on both sides.
        results = [[value.copy() for value in run(case)] for case in self._cases]
        ours = worst([difference(y, e) for y, e in zip(results, expected, strict=True)])
        itself = None if ours.is_allowed else self._reference_gap(expected)
        return OutputGap(len(self._cases), ours, itself)

    def _expected(self) -> list[list[Array]]:
        if self._default is None:
            try:
                self._default = _outputs(self._graph, self._cases)
            except (RuntimeError, ValueError) as error:
                raise TargetError(
                    "LiteRT cannot run the model", where=self._graph.name, why=str(error)
                ) from None
        return self._default

    def _reference_gap(self, expected: Sequence[Sequence[Array]]) -> Difference | None:
        if not self._has_itself:
            self._has_itself = True
            cases = self._cases[:_REFERENCE_INPUTS]
            # Some operators exist in the XNNPACK delegate only.
            with contextlib.suppress(RuntimeError, ValueError):
                plain = _outputs(self._graph, cases, reference_kernels=True)
                gaps = [difference(y, e) for y, e in zip(plain, expected, strict=False)]
                self._itself = worst(gaps)
        return self._itself


def _outputs(
    graph: Graph, cases: Sequence[Sequence[Array]], *, reference_kernels: bool = False
) -> list[list[Array]]:
    interpreter = make_interpreter(graph.data, reference_kernels=reference_kernels)
    return [[value.copy() for value in invoke(interpreter, case)] for case in cases]
