"""The placement file: which operator runs where, saved so that a build can be repeated from it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

from pydantic import Field, ValidationError, model_validator

from tdse.errors import PlacementError
from tdse.faults import Record, faults_of
from tdse.search.pins import parse_pins

if TYPE_CHECKING:
    from tdse.graph.model import Graph
    from tdse.graph.regions import Region

__all__ = [
    "SCHEMA",
    "PlacedOp",
    "PlacedRegion",
    "Placement",
    "Record",
    "Windows",
    "load_placement",
    "make_placement",
    "parse_pins",
    "read_record",
]

SCHEMA: Literal["tdse.placement/3"] = "tdse.placement/3"

R = TypeVar("R", bound="Record")
# Operators of a region to its predicted start and end, microseconds since the start of a run.
Windows: TypeAlias = Mapping[tuple[int, ...], tuple[float, float]]

_Name = Annotated[str, Field(min_length=1)]
_Index = Annotated[int, Field(ge=0)]
_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PlacedOp(Record):
    """Where one operator runs.

    Attributes:
        index: the operator's index in the model.
        label: its name for people, for example ``12:conv2d``.
        device: the platform's device.
        target: the way it is compiled for that device.
    """

    index: _Index
    label: _Name
    device: _Name
    target: _Name


class PlacedRegion(Record):
    """Operators that are compiled and launched as one.

    Attributes:
        index: position in the order in which the regions run.
        device: the platform's device.
        target: the way it is compiled.
        ops: indices of its operators, ascending.
        lanes: lanes of the executor that each have a copy of it, ascending.
        predicted_start_us: when it starts, microseconds since the start of a run; null where it is
            not known.
        predicted_us: microseconds of one launch, likewise.
    """

    index: _Index
    device: _Name
    target: _Name
    ops: Annotated[tuple[_Index, ...], Field(min_length=1, strict=False)]
    lanes: Annotated[tuple[_Index, ...], Field(min_length=1, strict=False)] = (0,)
    predicted_start_us: _Time | None = None
    predicted_us: _Time | None = None


class Placement(Record):
    """A placement of one model.

    Attributes:
        schema_: the format and its version, ``schema`` in the file.
        model_sha256: hex digest of the model file it belongs to.
        model_name: that file's name without suffix.
        threads: threads of a region that runs on the CPU.
        ops: one entry for each placed operator.
        regions: in the order in which they run; each operator is in one.
        predicted_us: microseconds of one run, null where it is not known.
        predicted_period_us: microseconds between two results of a stream, likewise.
        seed: of the search.
        tdse_version: version that wrote the file.
    """

    schema_: Literal["tdse.placement/3"] = Field(default=SCHEMA, alias="schema")
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    model_name: str
    threads: Annotated[int, Field(ge=1)]
    ops: Annotated[tuple[PlacedOp, ...], Field(strict=False)]
    regions: Annotated[tuple[PlacedRegion, ...], Field(strict=False)]
    predicted_us: _Time | None = None
    predicted_period_us: _Time | None = None
    seed: int
    tdse_version: str

    @property
    def assignment(self) -> Mapping[int, str]:
        """The target of each operator, by the operator's index."""
        return {op.index: op.target for op in self.ops}

    @property
    def graph_regions(self) -> tuple[Region, ...]:
        """The regions as the graph knows them, in the order in which they run."""
        from tdse.graph.regions import Region

        return tuple(Region(r.index, r.target, r.ops, r.lanes) for r in self.regions)

    @property
    def lanes(self) -> int:
        """The number of lanes of the executor."""
        return len({lane for region in self.regions for lane in region.lanes})

    @model_validator(mode="after")
    def _agree(self) -> Placement:
        places = {op.index: (op.device, op.target) for op in self.ops}
        if len(places) != len(self.ops):
            raise ValueError("ops names an operator twice")
        seen: set[int] = set()
        for position, region in enumerate(self.regions):
            if region.index != position:
                raise ValueError(f"regions[{position}] has index {region.index}")
            for op in region.ops:
                if op not in places:
                    raise ValueError(f"region {position} holds operator {op}, which ops has not")
                if op in seen:
                    raise ValueError(f"operator {op} is in two regions")
                if places[op] != (region.device, region.target):
                    raise ValueError(
                        f"region {position} is for {region.target} on {region.device}, its "
                        f"operator {op} for {places[op][1]} on {places[op][0]}"
                    )
                seen.add(op)
            if list(region.lanes) != sorted(set(region.lanes)):
                raise ValueError(f"the lanes of region {position} do not ascend")
        lanes = {lane for region in self.regions for lane in region.lanes}
        if lanes != set(range(len(lanes))):
            raise ValueError(f"no region is on lane {min(set(range(max(lanes))) - lanes)}")
        if len(seen) != len(places):
            raise ValueError(f"operator {min(set(places) - seen)} is in no region")
        return self

    def save(self, path: Path | str) -> None:
        """Writes the file; one that is already there stays whole if this fails.

        Raises:
            PlacementError: it cannot be written.
        """
        path = Path(path)
        text = self.model_dump_json(by_alias=True, indent=2) + "\n"
        try:
            _replace(path, text)
        except OSError as error:
            raise PlacementError(
                "cannot write the placement",
                where=str(path),
                why=error.strerror or str(error),
                hint="choose a directory that can be written",
            ) from error


def make_placement(
    graph: Graph,
    regions: Sequence[Region],
    threads: int,
    predicted_us: float | None,
    seed: int,
    devices: Mapping[str, str] | None = None,
    *,
    predicted_period_us: float | None = None,
    windows_us: Windows | None = None,
) -> Placement:
    """The placement that puts the operators of ``graph`` into ``regions``.

    Args:
        graph: the model.
        regions: in the order in which they run; ``Region.device`` is the target.
        threads: threads of a region that runs on the CPU.
        predicted_us: microseconds of one run, None where it is not known.
        seed: of the search.
        devices: the platform's device of each target, ``cpu`` where it does not say.
        predicted_period_us: microseconds between two results of a stream, likewise.
        windows_us: when regions are predicted to run.
    """
    from tdse import __version__

    of_target = devices or {}
    target = {op: region.device for region in regions for op in region.ops}
    windows = [(windows_us or {}).get(region.ops) for region in regions]
    return Placement(
        model_sha256=graph.sha256,
        model_name=graph.name,
        threads=threads,
        ops=tuple(
            PlacedOp(
                index=op,
                label=graph.ops[op].label,
                device=of_target.get(target[op], "cpu"),
                target=target[op],
            )
            for op in sorted(target)
        ),
        regions=tuple(
            PlacedRegion(
                index=index,
                device=of_target.get(region.device, "cpu"),
                target=region.device,
                ops=region.ops,
                lanes=region.lanes,
                predicted_start_us=None if window is None else window[0],
                predicted_us=None if window is None else window[1] - window[0],
            )
            for index, (region, window) in enumerate(zip(regions, windows, strict=True))
        ),
        predicted_us=predicted_us,
        predicted_period_us=predicted_period_us,
        seed=seed,
        tdse_version=__version__,
    )


def load_placement(path: Path | str) -> Placement:
    """Reads a placement file.

    Raises:
        PlacementError: it cannot be read or is not a placement; all faults are told at once.
    """
    hint = "correct the file, or leave it out and let tdse search again"
    return read_record(path, Placement, "placement", hint)


def read_record(path: Path | str, kind: type[R], what: str, hint: str) -> R:
    """Reads a file that is one record.

    Args:
        path: the file.
        kind: of record.
        what: it is, for messages.
        hint: what to do if it is not.

    Raises:
        PlacementError: it cannot be read or is no such record; all faults are told at once.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise PlacementError(
            f"cannot read the {what}", where=str(path), why=error.strerror or str(error)
        ) from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise PlacementError(
            f"not a {what} that tdse can use",
            where=str(path),
            why="; ".join(faults_of(error, kind)),
            hint=hint,
        ) from error


def _replace(path: Path, text: str) -> None:
    """Writes beside the file and renames, so that no reader ever sees half a file."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a placement is as public as the umask says.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
