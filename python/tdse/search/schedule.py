"""What the search decides, and what follows from it: genes, a schedule, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rule(IntEnum):
    """The rules of a problem; each member's value is its place among ``Outcome.violations``."""

    ILLEGAL = 0
    """Operators on a variant that is not legal for them or not as pinned."""
    FORBIDDEN_PAIR = 1
    """Forbidden pairs that share a device."""
    SINGLE_REGION = 2
    """Regions beyond the first of a variant that may only have one."""
    PREFIX = 3
    """Links into an operator of a prefix variant from an operator of another variant."""
    NO_LINK = 4
    """Transfers between memories without a way."""
    PARAMETERS = 5
    """Bytes of constants beyond what the devices hold."""
    MEMORY = 6
    """Bytes beyond the memories' sizes, each at its peak."""
    DEADLINE = 7
    """Microseconds beyond the models' deadlines."""
    PERIOD = 8
    """What devices and buses are loaded beyond what there is of each, in units of one of them."""
    ENERGY = 9
    """Microjoules beyond the budget."""


@dataclass(frozen=True)
class Genes:
    """What the search decides.

    Attributes:
        variants: variant of each operator, length n_ops.
        cuts: for each of ``Problem.links``, whether a region must not reach across it for its
            sake; None for no cuts.
        priority: microseconds by which each operator's region is more urgent than the time from
            its start to the end of the run says, length n_ops; a region adds up its operators'.
            None for zeros.
        strict: devices keep to one order of their regions, and wait for the next one of it even
            where another could start.
    """

    variants: Sequence[int] | NDArray[Any]
    cuts: Sequence[bool] | NDArray[Any] | None = None
    priority: Sequence[float] | NDArray[Any] | None = None
    strict: bool = False

    def complete(self, n_links: int) -> Genes:
        """The same in arrays of its own, uint8, uint8 and float64, with what None stands for."""
        n_ops = len(self.variants)
        cuts = np.zeros(n_links) if self.cuts is None else self.cuts
        priority = np.zeros(n_ops) if self.priority is None else self.priority
        return Genes(
            np.array(self.variants, np.uint8),
            np.array(cuts, np.uint8),
            np.array(priority, np.float64),
            self.strict,
        )


@dataclass(frozen=True)
class ScheduledRegion:
    """Operators that are compiled and launched as one, and when they run.

    Attributes:
        ops: its operators, ascending.
        variant: the variant that all of them run as.
        start_us: when it is launched.
        end_us: when all that it computes is there.
    """

    ops: tuple[int, ...]
    variant: int
    start_us: float
    end_us: float


@dataclass(frozen=True)
class Transfer:
    """A tensor on its way from one memory to another.

    Attributes:
        value: its index among ``Problem.values``.
        source: the memory in which it was made.
        target: the memory in which it is read.
        start_us: when the transfer begins.
        end_us: when it is there.
    """

    value: int
    source: int
    target: int
    start_us: float
    end_us: float


@dataclass(frozen=True)
class Schedule:
    """One run of all models, which start together at 0.

    Attributes:
        regions: ordered by their lowest operators.
        transfers: in the order in which they were asked for.
    """

    regions: tuple[ScheduledRegion, ...]
    transfers: tuple[Transfer, ...]


@dataclass(frozen=True)
class Outcome:
    """A schedule and its figures, which only mean something where no rule is broken.

    Attributes:
        schedule: one run of all models.
        latency_us: when each model is done, its outputs in the host's memory.
        makespan_us: when the last one is.
        period_us: the time between two runs of all models that can be kept up in a pipeline.
        active_uj: energy of one run without what devices draw at any time, microjoules.
        energy_uj: energy of one run with what all devices draw until it is done, microjoules.
        peak_bytes: the most that is in each memory at any time, constants included.
        violations: by how much each ``Rule`` is broken; 0 where it is kept.
    """

    schedule: Schedule
    latency_us: tuple[float, ...]
    makespan_us: float
    period_us: float
    active_uj: float
    energy_uj: float
    peak_bytes: tuple[int, ...]
    violations: tuple[float, ...]

    @property
    def is_valid(self) -> bool:
        """No rule is broken."""
        return not any(self.violations)
