"""``metadata.json``: what is in it, how it is sealed when written, and how it is read back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from tdse.errors import ArtefactError
from tdse.faults import Record, faults_of
from tdse.runtime.artefact import FRONT, METADATA, METADATA_SCHEMA, MODULE, PLACEMENT
from tdse.runtime.emulated import Emulated
from tdse.runtime.sealed import AGAIN, digest_of, file_digest, read_bytes

_VERSION = int(METADATA_SCHEMA.rpartition("/")[2])

_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SourceModel(Record):
    """The model file that was compiled; ``ops`` counts its placed operators."""

    path: str
    name: str
    sha256: _Sha256
    ops: _Count


class Cpu(Record):
    """The processor that ``model.so`` was compiled for.

    Attributes:
        isa: the architecture, for example ``x86_64``.
        features: extensions that its kernels may use, in the kernel's names; none if the artefact
            has no kernels of its own.
    """

    isa: str
    features: tuple[str, ...]


class Versions(Record):
    """The distributions that the artefact was made with."""

    tdse: str
    litert: Annotated[str, Field(alias="ai-edge-litert")]
    tvm: Annotated[str, Field(alias="apache-tvm")]
    tvm_ffi: Annotated[str, Field(alias="apache-tvm-ffi")]


class Files(Record):
    """sha256 of the files beside ``metadata.json``; not every artefact has a front."""

    module: Annotated[_Sha256, Field(alias=MODULE)]
    placement: Annotated[_Sha256, Field(alias=PLACEMENT)]
    front: Annotated[_Sha256 | None, Field(alias=FRONT)] = None


class Licence(Record):
    """A part of ``model.so`` and the licence that it is under."""

    part: str
    licence: str


class LargestDifference(Record):
    """As ``tdse.measure.accuracy.Difference``."""

    steps: int
    relative: float


class OutputDifferences(Record):
    """As ``tdse.outputs.OutputGap``."""

    inputs: _Count
    ours: LargestDifference
    litert_itself: LargestDifference | None


class MadeUnder(Record):
    """As ``tdse.measure.conditions.Conditions``."""

    cpu: str
    cores: _Count
    affinity: tuple[int, ...]
    governor: str
    load_average: float
    versions: tuple[tuple[str, str], ...]
    frequency_mhz: float | None = None
    max_frequency_mhz: float | None = None


class ContestRow(Record):
    """A contestant: either what was measured, or why it was not timed.

    ``measured_us`` is of one run, or from one result of a stream to the next where the objective is
    throughput. ``power_w`` is modelled, and with it ``modelled_mj``: that power times this time.
    """

    name: str
    threads: _Count
    lanes: _Count
    regions: _Count
    targets: tuple[str, ...]
    predicted_us: float | None
    predicted_period_us: float | None
    power_w: float | None
    won: bool
    not_timed: str = ""
    measured_us: float | None = None
    modelled_mj: float | None = None
    launch_medians_us: tuple[float, ...] = ()
    ratio_to_winner: tuple[float, float, float] | None = None


class Search(Record):
    """As ``tdse.candidates.Searched``; ``gap`` is within the cost model."""

    threads: _Count
    in_place: bool
    gap: float | None
    ended: Literal["optimal", "settled", "budget"]
    evaluations: _Count
    seconds: float


class TunedKernel(Record):
    """As ``tdse.survey.Tuned``."""

    ops: tuple[str, ...]
    trials: _Count
    gain: Annotated[float, Field(ge=1)]


class Refusal(Record):
    """Why some operators, by index, may not run at a place."""

    place: str
    reason: str
    ops: tuple[_Count, ...]


class OpCosts(Record):
    """What the search took each operator to cost at each place; rows are operators.

    Attributes:
        ops: indices of the placed operators.
        places: targets, or devices of an emulated board, the columns.
        threads: of each place: those of the winner.
        cost_us: microseconds that an operator adds to its region, without the launch; null where it
            may not run, or where nothing is known of it.
        alone_us: microseconds of an operator by itself, with its launch, which the cost was taken
            from; null where neither measured nor predicted.
        source: of each figure: ``measured``, ``predicted``, ``modelled``, ``not measured`` or ``not
            legal``.
        refusals: why operators may not run at places.
    """

    ops: tuple[_Count, ...]
    places: tuple[str, ...]
    threads: tuple[_Count, ...]
    cost_us: tuple[tuple[float | None, ...], ...]
    alone_us: tuple[tuple[float | None, ...], ...]
    source: tuple[tuple[str, ...], ...]
    refusals: tuple[Refusal, ...]

    @model_validator(mode="after")
    def _agree(self) -> OpCosts:
        for name in ("cost_us", "alone_us", "source"):
            rows = getattr(self, name)
            if {len(self.places)} != {len(self.threads), *map(len, rows)} or (
                len(rows) != len(self.ops)
            ):
                raise ValueError(f"{name} has not one row an operator with one value a place")
        return self


class Elsewhere(Record):
    """Of an artefact that was compiled for another machine, so that nothing of it was timed.

    Attributes:
        why: what makes the machine that compiled it another one.
        times_of: processor or board whose times the placement rests on; empty where it was given,
            and of a model that is placed whole.
        is_its_own: whether that is the machine that it is for; else these times stand in.
        why_not_its_own: why that machine's own were not used; empty where they were.
        checked_on: architecture and name of the processor on which results were compared with
            LiteRT's, with the same placement compiled for that processor.
    """

    why: str
    times_of: str
    is_its_own: bool
    why_not_its_own: str
    checked_on: str


class Metadata(Record):
    """The whole file.

    Attributes:
        schema_: the format and its version, ``schema`` in the file.
        tdse: version that wrote it.
        made_at: date and time, ISO 8601.
        labels: names of classes, by output, where the model brings them.
        objective: what was made small; null where the placement was given.
        op_costs: what the placement was chosen from; null where it was given, and of a model that
            is placed whole.
        needs: the distributions that must be installed to load it, with the versions that it was
            made with; none for regions of kernels on the CPU.
        linker: the compiler that linked ``model.so``.
        difference_from_litert: of regions; null where there is nothing to compare with, because the
            model holds regions that edgetpu_compiler made.
        outputs_from_litert: of the outputs of the whole; not there of a model that is not cut, of
            one that LiteRT cannot run, and of an emulated board.
        tuned: kernels that were tuned, now or earlier, where that was asked for.
        emulated: of an emulated board: what it does, with times that are modelled or say otherwise.
        edgetpus: how many Edge TPUs it runs on, for an artefact that does.
        measured_regions: of such an artefact: regions of the placement, by index, whose predicted
            times were measured; those of the others are modelled.
        elsewhere: of an artefact that was compiled for another machine.
        metadata_sha256: of all other keys, so that damage to the file is noticed.
    """

    schema_: Annotated[Literal["tdse.metadata/5"], Field(alias="schema")]
    tdse: str
    made_at: str
    model: SourceModel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    platform: str
    objective: str | None
    threads: _Count
    lanes: _Count
    seed: int
    budget_s: float
    pins: tuple[str, ...]
    region_kinds: tuple[str, ...]
    predicted_us: float | None
    predicted_period_us: float | None
    difference_from_litert: LargestDifference | None
    outputs_from_litert: OutputDifferences | None = None
    conditions: MadeUnder
    cpu: Cpu
    versions: Versions
    needs: dict[str, str]
    searches: tuple[Search, ...]
    tuned: tuple[TunedKernel, ...] = ()
    contest: tuple[ContestRow, ...]
    op_costs: OpCosts | None = None
    labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    linker: str
    licences: tuple[Licence, ...]
    emulated: Emulated | None = None
    edgetpus: Annotated[int, Field(ge=0)] = 0
    measured_regions: tuple[_Count, ...] = ()
    elsewhere: Elsewhere | None = None
    files: Files
    metadata_sha256: _Sha256

    def as_dict(self) -> dict[str, Any]:
        """The keys and values of the file."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def sealed(fields: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """``fields`` with the sha256 of the files in ``directory`` and of themselves, ready to write.

    Raises:
        ArtefactError: they are not metadata that could be read back.
    """
    names = [MODULE, PLACEMENT, *([FRONT] if (directory / FRONT).is_file() else [])]
    digests = {name: file_digest(directory / name) for name in names}
    unsealed = {**fields, "files": digests, "metadata_sha256": "0" * 64}
    values = _parsed(json.dumps(unsealed), directory).as_dict()
    return {**values, "metadata_sha256": digest_of(values)}


def read_metadata(
    directory: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None
) -> Metadata:
    """The metadata of the artefact in ``directory``, signed with ``public_key`` if one is given.

    Raises:
        ArtefactError: there is no artefact, its metadata cannot be read, are damaged, are of
            another version, or not signed with the key; all faults of the file are told.
        UsageError: the key cannot be read.
    """
    path, text = read_bytes(directory, public_key)
    metadata = _parsed(text, path)
    if metadata.metadata_sha256 != digest_of(metadata.as_dict()):
        raise ArtefactError(
            f"{METADATA} is damaged", where=str(path), why="its sha256 is another one", hint=AGAIN
        )
    return metadata


class _Head(BaseModel):
    """The one key that every version of the file has."""

    schema_: Annotated[str, Field(alias="schema", strict=True)]


# Of artefacts for TVM's graph executor, which tdse itself does not run.
RELAY_SCHEMA = "tdse.relay/1"


def _parsed(text: str | bytes, path: Path) -> Metadata:
    try:
        schema = _Head.model_validate_json(text).schema_
        if schema == RELAY_SCHEMA:
            raise ArtefactError(
                "the artefact is for TVM's graph executor",
                where=str(path),
                why="it was compiled with --ir relay",
                hint="load model.so with tvm.runtime.load_module, as docs/relay.md says",
            )
        version = re.fullmatch(r"tdse\.metadata/([0-9]{1,9})", schema)
        if version is not None and int(version[1]) != _VERSION:
            raise _another_version(int(version[1]), path)
        return Metadata.model_validate_json(text)
    except ValidationError as error:
        raise ArtefactError(
            "the metadata are not such as tdse writes",
            where=str(path),
            why="; ".join(faults_of(error, Metadata)),
            hint=AGAIN,
        ) from None


def _another_version(version: int, path: Path) -> ArtefactError:
    newer = version > _VERSION
    return ArtefactError(
        f"the artefact was made by {'a newer' if newer else 'an older'} tdse",
        where=str(path),
        why=f"its metadata have format {version}, this tdse reads format {_VERSION}",
        hint="update tdse" if newer else "compile the model again",
    )
