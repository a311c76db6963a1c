"""What an artefact of an emulated board says of itself: its steps and their modelled times."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from tdse.faults import Record

Mode = Literal["correctness", "timing"]
"""``correctness``: results are computed on this machine; ``timing``: recorded and replayed."""

MODES: tuple[str, ...] = get_args(Mode)

_Index = Annotated[int, Field(ge=0)]
_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Step(Record):
    """A region on a device, or a tensor on its way over a link.

    Attributes:
        name: for messages and traces.
        place: the device or the link.
        lanes: lanes that each have a copy of it, ascending.
        start_us: when it starts in the predicted run.
        modelled_us: what it takes.
        is_measured: that was measured: there is a record of a region on an Edge TPU. What is
            modelled of its transfers is taken off.
        memory: that its results are in.
        ops: of a region, ascending; none of a transfer.
        tensor: index of the tensor that a transfer carries; null of a region.
        source: memory that a transfer reads; null of a region.
    """

    name: str
    place: str
    lanes: Annotated[tuple[_Index, ...], Field(min_length=1, strict=False)]
    start_us: _Time
    modelled_us: _Time
    memory: _Index
    ops: Annotated[tuple[_Index, ...], Field(strict=False)] = ()
    tensor: _Index | None = None
    source: _Index | None = None
    is_measured: bool = False


class Emulated(Record):
    """An emulated board and what a model does on it, in microseconds.

    All times are modelled, but those of steps that say otherwise.

    Attributes:
        board: the platform.
        mode: how results come about.
        lanes: names of what runs side by side: units of devices, then links.
        steps: in the order in which they run where they share a lane.
        predicted_us: of one run.
        predicted_period_us: between two results of a stream.
        items_per_lane: of a stream that may be on their way for each lane.
        predicted_mj: energy of one run, millijoules; null where the board has no power figures, or
            regions have copies.
        first_run_us: what the first run takes besides, while an Edge TPU is given its parameters;
            null where there is none.
        has_results: false where results are zeros, because nothing but an Edge TPU can compute what
            edgetpu_compiler made.
        compiler_us: of one run, with edgetpu_compiler's own placement of one region; null where
            there is no Edge TPU.
    """

    board: str
    mode: Mode
    lanes: Annotated[tuple[str, ...], Field(strict=False)]
    steps: Annotated[tuple[Step, ...], Field(strict=False)]
    predicted_us: _Time
    predicted_period_us: _Time
    items_per_lane: Annotated[int, Field(ge=1)] = 2
    predicted_mj: _Time | None = None
    first_run_us: _Time | None = None
    compiler_us: _Time | None = None
    has_results: bool = True

    @property
    def label(self) -> str:
        """What every figure is labelled with."""
        return f"emulated: {self.board}, {self.mode}"

    @property
    def measured_steps(self) -> int:
        """How many steps take what was measured."""
        return sum(step.is_measured for step in self.steps)

    @property
    def sequential_us(self) -> float:
        """One step after another."""
        return sum(step.modelled_us for step in self.steps)

    @property
    def capacity_us(self) -> float:
        """The largest load of a lane: no stream has a shorter time between two results."""
        loads = [0.0] * len(self.lanes)
        for step in self.steps:
            for lane in step.lanes:
                loads[lane] += step.modelled_us / len(step.lanes)
        return max(loads, default=0.0)
