"""The front file: placements of which none beats another in both latency and energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tdse.search.placement import Placement, Record, read_record

SCHEMA: Literal["tdse.front/1"] = "tdse.front/1"

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FrontEntry(Record):
    """A placement, and what it takes.

    Attributes:
        number: what it is called by, from 1 on.
        name: the candidate's.
        placement: as ``placement.json`` has it.
        measured_us: median latency of a run, measured, microseconds.
        modelled_mj: energy of a run, millijoules: the measured latency times modelled power.
        predicted_us: latency as the search predicted it, null where it is not known.
        predicted_mj: energy likewise.
    """

    number: Annotated[int, Field(ge=1)]
    name: str
    placement: Placement
    measured_us: _Amount
    modelled_mj: _Amount
    predicted_us: _Amount | None
    predicted_mj: _Amount | None


class Front(Record):
    """The placements of one model to choose from, the fastest first.

    Attributes:
        schema_: the format and its version, ``schema`` in the file.
        entries: numbered from 1 on.
    """

    schema_: Literal["tdse.front/1"] = Field(default=SCHEMA, alias="schema")
    entries: Annotated[tuple[FrontEntry, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _agree(self) -> Front:
        for number, entry in enumerate(self.entries, 1):
            if entry.number != number:
                raise ValueError(f"entry {number} has number {entry.number}")
        return self

    def text(self) -> str:
        """The file's contents."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def load_front(path: Path | str) -> Front:
    """Reads a front file.

    Raises:
        PlacementError: it cannot be read or is not a front; all faults are told at once.
    """
    return read_record(path, Front, "front", "make one with tdsec --objective pareto")
