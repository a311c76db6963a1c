"""Where executors are timed: in this process, or on boards (see ``tdse.measure.remote``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from tdse.errors import TargetError
from tdse.measure.activations import Array
from tdse.measure.deadline import Deadline
from tdse.measure.records import RecordStore
from tdse.measure.references import References
from tdse.measure.timing import Timing, time_model
from tdse.platform.model import Device
from tdse.runtime.model import Model

if TYPE_CHECKING:
    from tdse.assemble import Assembly

Key = TypeVar("Key")


@dataclass(frozen=True)
class Job:
    """An executor that is to be timed.

    Attributes:
        assembly: what it is made of.
        inputs: one array for each of its inputs.
        threads: threads that it uses.
        patience_s: how long to wait for quiet moments, in seconds.
    """

    assembly: Assembly
    inputs: tuple[Array, ...]
    threads: int
    patience_s: float


@dataclass(frozen=True)
class Timed:
    """What a run of a job gave: its times, and the outputs for a comparison."""

    timing: Timing
    outputs: tuple[Array, ...]


class Timer(Protocol):
    """A place where executors are timed."""

    @property
    def processor(self) -> Device | None:
        """What kernels are compiled for there; None for this machine."""
        ...

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: Deadline
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """Time ``jobs`` and give their results, in any order, with their keys.

        Args:
            jobs: asked for one after the other, when they are needed.
            deadline: after which none is begun.

        Returns:
            For each job what it gave, or why it cannot run there, or None if it was not timed
            and nothing is known of it.
        """
        ...


class LocalTimer:
    """Times in this process, one job after the other.

    Args:
        store: knows the best times of the reference operators, and takes better ones.
    """

    processor: Device | None = None

    def __init__(self, store: RecordStore) -> None:
        self._references = References(store)

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: Deadline
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """See ``Timer``."""
        for key, job in jobs:
            if deadline.is_over:
                yield key, None
                continue
            try:
                model = job.assembly.model()
                yield key, self.time_model(model, job.inputs, job.threads, job.patience_s)
            except TargetError as error:
                yield key, error

    def time_model(
        self, model: Model, inputs: Sequence[Array], threads: int, patience_s: float
    ) -> Timed:
        """Run ``model`` once for its outputs, and time it; the same here and on a board.

        Raises:
            TargetError: a region failed.
        """
        outputs = tuple(model.run(inputs))
        reference = self._references.of(threads)
        return Timed(time_model(model, inputs, reference, patience_s=patience_s), outputs)
