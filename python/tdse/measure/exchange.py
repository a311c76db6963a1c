"""Records as JSON lines, by which those of a board are carried to a workstation and back.

The first line is a header: the format, the machine and how many lines of each kind follow. Each
further line is a record, a decision on support, or a best time of the reference operator. A file
may come from anybody, so every line is checked against bounds before anything of it is kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tdse.errors import TdseError, UsageError
from tdse.faults import faults_of
from tdse.graph.workload import TensorForm, Workload
from tdse.measure.conditions import IDENTITY, Conditions
from tdse.measure.records import (
    LONGEST_US,
    Decision,
    KeptRecord,
    Record,
    RecordStore,
    ReferenceTime,
)

FORMAT = "tdse.records/1"
_VERSION = int(FORMAT.rpartition("/")[2])
_AGAIN = "nothing was imported; export again, and copy the whole file"
# A message shows no more of what a stranger wrote.
_MOST_WHY = 200

# Bounds of what is read: far beyond what tdse writes, and harmless.
_MOST_LINE_BYTES = 1 << 20
_MOST_LINES = 1_000_000
_MOST_ELEMENTS = 1 << 40
_MOST_OPERATORS = 10_000
# A clock may be ahead, but not so far that its records could never be replaced.
_MOST_AHEAD_S = 86_400.0

_Count = Annotated[int, Field(ge=0, le=_MOST_LINES)]
_Size = Annotated[int, Field(ge=0, le=1 << 50)]
_Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
_Small = Annotated[int, Field(ge=-1, le=1 << 31)]
_Positive = Annotated[int, Field(ge=1, le=1 << 31)]
_Text = Annotated[str, Field(max_length=2000)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Signature = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Moment = Annotated[float, Field(ge=0)]
_Mhz = Annotated[float, Field(gt=0, le=1e6)]
# As ``Workload.to_json`` writes them.
_Shape = Annotated[tuple[_Size, ...], Field(max_length=32)]
_Form = tuple[_Shape, _Name, _Small, _Small, _Small]
_Attribute = bool | _Int64 | float | _Text | tuple[_Int64, ...] | tuple[float, ...]
_Workload = tuple[
    _Name,
    tuple[_Form | None, ...],
    tuple[_Form, ...],
    dict[_Name, _Attribute],
    tuple[_Size, _Size, _Size, _Size],
]


@dataclass(frozen=True)
class Exchange:
    """What was written or taken.

    Attributes:
        conditions: of the machine; what varies between its records is left empty.
        records: in the file.
        decisions: in the file, on whether a target may run an operator.
        taken: records that were newer than what the store had; all of an export.
    """

    conditions: Conditions
    records: int
    decisions: int
    taken: int


def export_records(store: RecordStore, path: str | os.PathLike[str]) -> Exchange:
    """Write what ``store`` knows of its machine to ``path``, which is replaced when all is written.

    Raises:
        TdseError: it has no records of that machine, or the file cannot be written.
        UsageError: there is something other than a file.
    """
    lines = [_line(entry) for entry in store.kept()]
    counts = Counter(str(line["kind"]) for line in lines)
    if not counts["record"]:
        raise TdseError(
            f"there are no records of {store.conditions.cpu or 'this machine'} to export",
            where=str(store.path),
            hint="measure some with `tdse profile --budget SECONDS`",
        )
    header = _Header.model_validate(
        {
            "format": FORMAT,
            **store.conditions.identity,
            "records": counts["record"],
            "decisions": counts["support"],
            "references": counts["reference"],
        }
    )
    _replace(Path(path), [header.model_dump(), *lines])
    return Exchange(header.machine, header.records, header.decisions, header.records)


def import_records(store: RecordStore, path: str | os.PathLike[str]) -> Exchange:
    """Keep what another store wrote, under the machine it was measured on; all of it or nothing.

    Records of this machine are found by this store afterwards, those of another by a store that is
    opened with its conditions.

    Raises:
        TdseError: the file cannot be read, a line is wrong, or a newer tdse wrote it.
    """
    where = str(path)
    lines = _lines(path)
    with _blaming(where, 1):
        header = _parse_header(next(lines, b""), where)
    entries = _entries(lines, header, where)
    taken = store.take(header.machine, entries)
    return Exchange(header.machine, header.records, header.decisions, taken)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Head(BaseModel):
    """The one key that every version of the header has."""

    format: Annotated[str, Field(strict=True)]


class _Header(_Line):
    """The first line: the machine's identity, and how many lines of each kind follow."""

    format: Literal["tdse.records/1"]
    cpu: Annotated[str, Field(max_length=200)]
    cores: _Positive
    governor: Annotated[str, Field(max_length=200)]
    versions: tuple[tuple[_Name, _Name], ...]
    records: _Count
    decisions: _Count
    references: _Count

    @property
    def machine(self) -> Conditions:
        """Conditions with its identity, and nothing of what varies."""
        return Conditions(self.cpu, self.cores, (), self.governor, 0.0, self.versions)


class _RecordLine(_Line):
    """A ``KeptRecord``; what its conditions share with those of the others is in the header."""

    kind: Literal["record"]
    signature: _Signature
    target: _Name
    threads: _Positive
    workloads: Annotated[tuple[_Workload, ...], Field(max_length=_MOST_OPERATORS)]
    median_us: float
    spread_us: float
    runs: _Positive
    contention: float
    repeat_us: float | None
    measured_at: _Moment
    affinity: tuple[_Size, ...]
    load_average: Annotated[float, Field(ge=0)]
    frequency_mhz: _Mhz | None
    max_frequency_mhz: _Mhz | None

    def entry(self, machine: Conditions) -> KeptRecord:
        """The record of ``machine``; a ValueError if it cannot have been measured."""
        _demand_past(self.measured_at)
        record = Record(
            self.signature,
            self.target,
            self.threads,
            tuple(map(_workload, self.workloads)),
            self.median_us,
            self.spread_us,
            self.runs,
            self.contention,
            self.repeat_us,
        )
        conditions = replace(
            machine,
            affinity=self.affinity,
            load_average=self.load_average,
            frequency_mhz=self.frequency_mhz,
            max_frequency_mhz=self.max_frequency_mhz,
        )
        return KeptRecord(record, conditions, self.measured_at)


class _SupportLine(_Line):
    """A ``Decision``."""

    kind: Literal["support"]
    signature: _Signature
    target: _Name
    ok: bool
    reason: str
    decided_at: _Moment

    def entry(self, machine: Conditions) -> Decision:
        """The decision; a ValueError if it lies in the future."""
        _demand_past(self.decided_at)
        return Decision(self.signature, self.target, self.ok, self.reason, self.decided_at)


class _ReferenceLine(_Line):
    """A ``ReferenceTime``."""

    kind: Literal["reference"]
    threads: _Positive
    best_us: Annotated[float, Field(gt=0, lt=LONGEST_US)]

    def entry(self, machine: Conditions) -> ReferenceTime:
        """The time."""
        return ReferenceTime(self.threads, self.best_us)


_AnyLine = _RecordLine | _SupportLine | _ReferenceLine
_LINE: TypeAdapter[_AnyLine] = TypeAdapter(Annotated[_AnyLine, Field(discriminator="kind")])


def _line(entry: KeptRecord | Decision | ReferenceTime) -> dict[str, Any]:
    """The keys and values of an entry's line."""
    if isinstance(entry, Decision):
        return {"kind": "support", **asdict(entry)}
    if isinstance(entry, ReferenceTime):
        return {"kind": "reference", **asdict(entry)}
    record, conditions = entry.record, asdict(entry.conditions)
    varying = {name: conditions[name] for name in conditions if name not in IDENTITY}
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {
        "kind": "record",
        **fields,
        "workloads": [work.to_row() for work in record.workloads],
        "measured_at": entry.measured_at,
        **varying,
    }


def _replace(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise UsageError("the export goes to a file", where=str(path), hint="give another name")
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        beside.replace(path)
    except OSError as error:
        raise TdseError(
            "the export cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            hint="free some space, or choose another file",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The lines of a file.

    Raises:
        TdseError: it cannot be read, or is not of lines.
    """
    try:
        # A pipe that nobody writes to would be waited for.
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(0, "it is not a file")
        with Path(path).open("rb") as file:
            for number in itertools.count(1):
                line = file.readline(_MOST_LINE_BYTES + 1)
                if not line:
                    return
                if len(line) > _MOST_LINE_BYTES:
                    raise _broken(str(path), number, f"longer than {_MOST_LINE_BYTES} bytes")
                yield line
    except OSError as error:
        raise TdseError(
            "the export cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            hint="give a file that `tdse profile --export` wrote",
        ) from None


def _parse_header(line: bytes, where: str) -> _Header:
    """The first line; raises a ValueError if it is wrong."""
    version = re.fullmatch(r"tdse\.records/([0-9]{1,9})", _Head.model_validate_json(line).format)
    if version is not None and int(version[1]) > _VERSION:
        raise TdseError(
            "the export was written by a newer tdse",
            where=where,
            why=f"it has format {version[1]}, this tdse reads format {_VERSION}",
            hint="update tdse",
        )
    return _Header.model_validate_json(line)


def _entries(
    lines: Iterator[bytes], header: _Header, where: str
) -> Iterator[KeptRecord | Decision | ReferenceTime]:
    """What the lines after the header say.

    Raises:
        TdseError: one is wrong, or they are not as many as the header says.
    """
    expected = Counter(record=header.records, support=header.decisions, reference=header.references)
    machine = header.machine
    for number, line in enumerate(lines, 2):
        with _blaming(where, number):
            parsed = _LINE.validate_json(line)
            expected[parsed.kind] -= 1
            if expected[parsed.kind] < 0:
                raise ValueError(f"kind: there are more of {parsed.kind} than the header says")
            entry = parsed.entry(machine)
        yield entry
    missing = ", ".join(f"{n} of kind {kind}" for kind, n in expected.items() if n)
    if missing:
        raise TdseError(
            "the export is not complete",
            where=where,
            why=f"lines are missing: {missing}",
            hint=_AGAIN,
        )


@contextlib.contextmanager
def _blaming(where: str, number: int) -> Iterator[None]:
    """Turn a ValueError into an error that names the line."""
    try:
        yield
    except ValidationError as error:
        # A union tells all that it tried; the first says enough.
        raise _broken(where, number, faults_of(error)[0]) from None
    except ValueError as error:
        raise _broken(where, number, str(error)) from None


def _broken(where: str, number: int, why: str) -> TdseError:
    return TdseError(
        f"line {number} of the export is broken",
        where=where,
        why=why if len(why) <= _MOST_WHY else f"{why[:_MOST_WHY]}...",
        hint=_AGAIN,
    )


def _demand_past(moment: float) -> None:
    if moment > time.time() + _MOST_AHEAD_S:
        raise ValueError("it was measured in the future; set the clocks of both machines")


def _workload(row: _Workload) -> Workload:
    kind, inputs, outputs, attributes, numbers = row
    return Workload(
        kind,
        tuple(_form(form) if form else None for form in inputs),
        tuple(map(_form, outputs)),
        attributes,
        *numbers,
    )


def _form(row: _Form) -> TensorForm:
    shape, dtype, is_constant, scales, quantization = row
    if math.prod(shape) > _MOST_ELEMENTS:
        raise ValueError(f"workload: a tensor of {' x '.join(map(str, shape))} elements")
    return TensorForm(shape, dtype, bool(is_constant), scales, quantization)
