"""Where executors are timed: in this process, or on boards (see ``tdse.measure.remote``)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tdse.assemble import Assembly
from tdse.errors import TargetError
from tdse.measure.activations import Array
from tdse.measure.timing import Timing, time_model
from tdse.runtime.model import Model

Key = TypeVar("Key")


@dataclass(frozen=True)
class Job:
    """An executor that is to be timed on ``inputs``, one array for each of its inputs."""

    assembly: Assembly
    inputs: tuple[Array, ...]


@dataclass(frozen=True)
class Timed:
    """What a run of a job gave: its times, and the outputs for a comparison."""

    timing: Timing
    outputs: tuple[Array, ...]


class Timer(Protocol):
    """A place where executors are timed."""

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: float
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """Time ``jobs`` and give their results, in any order, with their keys.

        Args:
            jobs: asked for one after the other, when they are needed.
            deadline: ``time.monotonic()`` after which none is begun.

        Returns:
            For each job what it gave, or why it cannot run there, or None if it was not timed
            and nothing is known of it.
        """
        ...


class LocalTimer:
    """Times in this process, one job after the other."""

    def time_all(
        self, jobs: Iterable[tuple[Key, Job]], *, deadline: float
    ) -> Iterator[tuple[Key, Timed | TargetError | None]]:
        """See ``Timer``."""
        for key, job in jobs:
            if time.monotonic() > deadline:
                yield key, None
                continue
            try:
                yield key, run_and_time(executor_model(job.assembly.module()), job.inputs)
            except TargetError as error:
                yield key, error


def run_and_time(model: Model, inputs: Sequence[Array]) -> Timed:
    """Run ``model`` once for its outputs, and time it; the same here and on a board.

    Raises:
        TargetError: a region failed.
    """
    outputs = tuple(model.run(inputs))
    return Timed(time_model(model, inputs), outputs)


def executor_model(module: Any) -> Model:
    """An executor module as a model; its tensors are named by their position."""
    description = json.loads(module["describe"]())
    return Model(
        module,
        input_names=[str(i) for i in range(len(description["inputs"]))],
        output_names=[str(i) for i in range(len(description["outputs"]))],
    )
