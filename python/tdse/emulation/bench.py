"""Time the artefact of an emulated board: its lanes against one step after another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdse.bench import OURS, Correctness, cases_of, check_results, model_of
from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress, unheard
from tdse.errors import ArtefactError, TargetError, UsageError
from tdse.measure.activations import Array, random_inputs
from tdse.measure.stats import Ratio, ratio
from tdse.measure.turn import measuring
from tdse.runtime import native
from tdse.runtime.emulated import Emulated
from tdse.runtime.metadata import read_metadata
from tdse.runtime.model import Model, load, model_by_position

SEQUENTIAL = "one step after another"
# Steps of less than this are disturbed by the machine that emulates.
SHORT_US = 1000.0
# Runs of which each step is held against its model.
_TRACED_RUNS = 5
_LEAST_RUNS = 5


@dataclass(frozen=True)
class Row:
    """One way to run all steps: what is predicted from their modelled times, and what came out.

    Attributes:
        name: for example ``tdse``.
        predicted_us: of a run, or between two results of a stream.
        medians_us: what was measured instead, one median for each round.
    """

    name: str
    predicted_us: float
    medians_us: tuple[float, ...]

    @property
    def median_us(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.medians_us))

    @property
    def error(self) -> float:
        """By what share the measured time is above the predicted one."""
        return self.median_us / self.predicted_us - 1.0 if self.predicted_us else 0.0


@dataclass(frozen=True)
class Jitter:
    """By how much later than modelled steps end, microseconds.

    Attributes:
        median_us: over the steps of a few runs.
        p90_us: likewise.
        most_us: likewise.
        short_steps: how many steps are modelled to take less than a millisecond.
        steps: of how many.
    """

    median_us: float
    p90_us: float
    most_us: float
    short_steps: int
    steps: int

    @staticmethod
    def of(late_us: Sequence[float], emulated: Emulated) -> Jitter:
        """That of steps that end so much later."""
        median_us, p90_us, most_us = (float(x) for x in np.percentile(late_us, (50, 90, 100)))
        short = sum(step.modelled_us < SHORT_US for step in emulated.steps)
        return Jitter(median_us, p90_us, most_us, short, len(emulated.steps))


@dataclass(frozen=True)
class EmulatedReport:
    """Everything that ``tdse bench`` prints of an emulated board. All times are emulated.

    Attributes:
        emulated: the board and its steps.
        model: name of the model.
        streamed: times are between two results of a stream; else of runs.
        ours: on lanes.
        sequential: one step after another.
        speedup: how many times as fast ours is.
        jitter: of steps.
        correctness: of results; None where they are zeros.
    """

    emulated: Emulated
    model: str
    streamed: bool
    ours: Row
    sequential: Row
    speedup: Ratio
    jitter: Jitter
    correctness: Correctness | None

    @property
    def share_of_capacity(self) -> float:
        """The least time between two results that the busiest lane allows, over ours."""
        return self.emulated.capacity_us / self.ours.median_us


def bench_emulated(
    directory: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    stream: bool = False,
    rounds: int = 5,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> EmulatedReport:
    """Time an artefact on its lanes and one step after another, and check its results.

    Args:
        directory: an artefact of an emulated board.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        inputs: as of ``tdse.bench.bench``; only where results are computed.
        stream: time a stream of runs, not one after the other.
        rounds: in which both are timed in turns.
        seconds: timed in each round.
        seed: of random inputs.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact, or it is not of an emulated board.
        ModelError: the model is missing, or another than the artefact was made of.
        UsageError: the inputs do not fit, or results are recorded and inputs are given.
        TargetError: what runs one step after another cannot be built.
    """
    say = progress or unheard
    if rounds < 1:
        raise UsageError("there must be at least one round")
    metadata = read_metadata(directory)
    emulated = metadata.emulated
    if emulated is None:
        raise ArtefactError("the artefact is not of an emulated board", where=str(directory))
    graph = model_of(metadata.model, model)
    artefact = load(directory)
    if emulated.mode == "correctness":
        cases = cases_of(graph, artefact, inputs, seed)
    elif inputs is None:
        cases = [random_inputs(graph, metadata.seed)]
    else:
        raise UsageError(
            "results are recorded, whatever the inputs are",
            where=f"--inputs {os.fspath(inputs)}",
            hint="leave them out, or compile with --emulate correctness",
        )
    say("check", 0, 1, "")
    with (
        Child(graph, say) as child,
        measuring(say),
    ):
        correctness = check_results(graph, artefact, cases) if emulated.has_results else None
        plan = child.directory / "sequential.bin"
        _write_sequential(child, emulated, metadata.seed, plan)
        sequential = model_by_position(native.create_executor(plan.read_bytes()))
        ours_us: list[float] = []
        sequential_us: list[float] = []
        for done in range(rounds):
            say("race", done, rounds, "")
            for medians_us, timed in ((ours_us, artefact), (sequential_us, sequential)):
                time_us = stream_us if stream else run_us
                medians_us.append(time_us(timed, cases[0], seconds / 2))
        late_us = lateness_us(sequential, emulated, cases[0])
    predicted_us = emulated.predicted_period_us if stream else emulated.predicted_us
    return EmulatedReport(
        emulated,
        graph.name,
        stream,
        Row(OURS, predicted_us, tuple(ours_us)),
        Row(SEQUENTIAL, emulated.sequential_us, tuple(sequential_us)),
        ratio(sequential_us, ours_us),
        Jitter.of(late_us, emulated),
        correctness,
    )


def run_us(model: Model, inputs: Sequence[Array], seconds: float) -> float:
    """The median of so many seconds of runs, one after the other."""
    first_us = float(model.time_runs(inputs, 1)[0])
    count = max(_LEAST_RUNS, int(seconds * 1e6 / first_us))
    return float(np.median(model.time_runs(inputs, count)))


def stream_us(model: Model, inputs: Sequence[Array], seconds: float) -> float:
    """Between two results of a stream of so many seconds, while lanes are full."""
    least = _LEAST_RUNS * model.max_items
    ends_us = model.time_stream(inputs, least)
    per_item_us = float(ends_us[-1]) / len(ends_us)
    return model.time_period(inputs, max(least, int(seconds * 1e6 / per_item_us)))


def lateness_us(sequential: Model, emulated: Emulated, inputs: Sequence[Array]) -> list[float]:
    """By how much later than modelled each step of a few runs ends, one step after another.

    A thread that is late with one step is not later with the next one for that reason.
    """
    sequential.run(inputs)
    late_us = []
    for _ in range(_TRACED_RUNS):
        sequential.start_trace()
        sequential.run(inputs)
        steps = sequential.take_trace()
        due_us = steps[0].start_us
        for step in steps:
            due_us += emulated.steps[step.region].modelled_us
            late_us.append(step.end_us - due_us)
    return late_us


def _write_sequential(child: Child, emulated: Emulated, seed: int, plan: Path) -> None:
    """Have the plan written that runs one step after another."""
    try:
        child.ask(
            "emulate_sequential",
            silent_s=BUILD_SILENT_S,
            emulated=emulated.model_dump_json(),
            seed=seed,
            plan=str(plan),
        )
    except CrashError as crash:
        raise TargetError(
            "the model cannot be built",
            where=emulated.board,
            why=f"{crash.stage or 'beginning'} it {crash.why}",
        ) from None
