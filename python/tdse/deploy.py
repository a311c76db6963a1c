"""Send an artefact to a board, run and time it there beside LiteRT, and compare its results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tdse.bench import OURS, Correctness, check_results, model_of
from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress, unheard
from tdse.errors import ArtefactError, TargetError, TdseError, UsageError
from tdse.faults import faults_of
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.signature import region_signature
from tdse.measure.activations import Array, random_inputs
from tdse.measure.conditions import Conditions
from tdse.measure.deployed import FILES, LIMIT_S
from tdse.measure.description import Board
from tdse.measure.message import as_array, pack, unpack
from tdse.measure.ops import record_of
from tdse.measure.records import RecordStore
from tdse.measure.session import LostError, board_error, connected, malformed, within
from tdse.measure.stats import Ratio, ratio
from tdse.measure.timing import Timing
from tdse.measure.tracker import Place, Tracker
from tdse.place import thread_counts
from tdse.platform import Device, discover_host
from tdse.runtime.artefact import METADATA, MODULE, PLACEMENT, write_json
from tdse.runtime.metadata import Metadata, read_metadata, sealed
from tdse.runtime.sealed import file_inside
from tdse.search.placement import Placement, load_placement, make_placement

# What a network may add to the limit of the board itself, seconds.
_TRANSFER_S = 120.0


@dataclass(frozen=True)
class Contender:
    """The artefact, or LiteRT with the whole model, on the board.

    Attributes:
        name: ``tdse``, or ``litert x2`` with a thread count.
        load_us: microseconds from files to a model that can run; None if it does not load.
        median_us: of one run.
        p90_us: likewise.
        against: its time over that of the artefact, with a 95 % interval.
        why_not: why it was not timed.
    """

    name: str
    load_us: float | None = None
    median_us: float | None = None
    p90_us: float | None = None
    against: Ratio | None = None
    why_not: str = ""


@dataclass(frozen=True)
class DeployedRegion:
    """A region as it ran inside the artefact.

    Attributes:
        index: its position.
        target: that it runs on.
        ops: how many operators it has.
        median_us: measured on the board.
        predicted_us: as it was placed; None where that is not known.
    """

    index: int
    target: str
    ops: int
    median_us: float
    predicted_us: float | None


@dataclass(frozen=True)
class Deployment:
    """What came back from a board.

    Attributes:
        place: address of its server.
        conditions: of the board.
        isa: architecture of its processor.
        contenders: the artefact first.
        first_us: microseconds of the artefact's first run.
        resident_bytes: that loading the artefact and running it took.
        regions: in their order.
        correctness: of its outputs, beside LiteRT's on this machine.
        outputs: of each input, an array for each output.
        records: times of regions that were kept for this board.
    """

    place: str
    conditions: Conditions
    isa: str
    contenders: tuple[Contender, ...]
    first_us: float
    resident_bytes: int
    regions: tuple[DeployedRegion, ...]
    correctness: Correctness
    outputs: tuple[tuple[Array, ...], ...]
    records: int


@dataclass(frozen=True)
class _Entry:
    """What a board tells of an artefact."""

    name: str
    error: dict[str, str] | None = None
    load_us: float | None = None
    first_us: float | None = None
    resident_bytes: int | None = None
    turns_us: list[list[float]] | None = None
    regions_us: list[list[float]] | None = None


_ENTRIES = TypeAdapter(list[_Entry])


def deploy(
    directory: str | os.PathLike[str],
    *,
    rpc: str,
    key: str | None = None,
    model: str | os.PathLike[str] | None = None,
    seconds: float = 5.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Deployment:
    """Run the artefact in ``directory`` on a board.

    Args:
        directory: an artefact, compiled for the board's processor.
        rpc: ``HOST:PORT`` of the board's RPC server, or with ``key`` of a tracker that knows it.
        key: of the board at the tracker.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        seconds: for timing on the board.
        seed: of random inputs.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact, or it is for another processor than the board's.
        ModelError: the model is missing, or another than the artefact was made of.
        UsageError: the address is none, or the artefact is of an emulated board.
        VersionError: the board has another version of tdse.
        TdseError: the board is not there, was lost, or cannot load or run the artefact.
    """
    say = progress or unheard
    if not 0 < seconds <= LIMIT_S / 4:
        raise UsageError(
            f"{seconds:g} s cannot be timed for", hint=f"give above 0 and at most {LIMIT_S / 4:g}"
        )
    metadata = read_metadata(directory)
    if metadata.emulated is not None:
        raise UsageError(
            "the artefact is of an emulated board, which nobody can deploy to",
            where=str(directory),
            hint="compile it for a board that is there",
        )
    graph = model_of(metadata.model, model)
    placement = load_placement(Path(directory) / PLACEMENT)
    place = _place(rpc, key)
    cases = [random_inputs(graph, seed + i) for i in range(3)]
    say("connect", 0, 1, str(place))
    with Child(graph, say) as child:

        def request(board: Board) -> bytes:
            _demand_fits(metadata, board, place)
            names, files = [OURS], _files(Path(directory))
            counts = thread_counts(None, board.conditions.cores)
            for i, count in enumerate(counts):
                say("build", i, len(counts), f"litert x{count}")
                names.append(f"litert x{count}")
                files += _litert_files(graph, metadata, count, child)
            inputs = [np.ascontiguousarray(array).tobytes() for case in cases for array in case]
            say("run", 0, 1, f"{board.conditions.cpu} at {place}")
            header = {"names": names, "cases": len(cases), "seconds": seconds}
            return pack(header, [*files, *inputs])

        told, parts, board = _asked(place, request)
        entries = _entries(place, told)
        outputs = _outputs(graph, place, parts, len(cases))
        say("check", 0, 1, "")
        correctness = check_results(graph, _Replayed(outputs), cases)
    regions = np.array(entries[0].regions_us or [[]], np.float64)
    if regions.shape[1] != len(placement.regions):
        raise malformed(place, f"times of {regions.shape[1]} regions")
    turns = entries[0].turns_us or []
    kept = _keep(graph, board.conditions, placement, regions, turns)
    return Deployment(
        place=str(place),
        conditions=board.conditions,
        isa=board.isa,
        contenders=_contenders(place, entries),
        first_us=entries[0].first_us or 0.0,
        resident_bytes=entries[0].resident_bytes or 0,
        regions=tuple(
            DeployedRegion(r.index, r.target, len(r.ops), median_us, r.predicted_us)
            for r, median_us in zip(
                placement.regions, np.median(regions, axis=0).tolist(), strict=True
            )
        ),
        correctness=correctness,
        outputs=tuple(map(tuple, outputs)),
        records=kept,
    )


class _Replayed:
    """Gives the outputs that came back, case by case, where an artefact would be run."""

    def __init__(self, outputs: Sequence[Sequence[Array]]) -> None:
        self._outputs = iter(outputs)

    def run(self, arrays: Sequence[Any]) -> list[Array]:
        """The outputs of the next case."""
        return list(next(self._outputs))


def _asked(
    place: Place, request: Callable[[Board], bytes]
) -> tuple[dict[str, Any], list[memoryview], Board]:
    """Have a board run artefacts; header and parts of its answer, and what the board is.

    Raises:
        VersionError: it has another version of tdse.
        TdseError: it was lost, or cannot load or run the artefact.
    """
    try:
        run, board = connected(place, "tdse.rpc.run_artefacts")
        try:
            answer = bytes(within(LIMIT_S + _TRANSFER_S, run, request(board)))
        finally:
            # Gives the board back, also if an error keeps this frame.
            del run
    except LostError as error:
        raise TdseError(
            "the board is lost",
            where=f"board {place}",
            why=f"it {error}",
            hint="see that `tdse serve` runs there and can be reached; nothing of the artefact is "
            "left there",
        ) from None
    told, parts = unpack(answer)
    if "error" in told:
        raise board_error(place, told["error"])
    return told, parts, board


def _demand_fits(metadata: Metadata, board: Board, place: Place) -> None:
    """Refuse an artefact for another processor before anything is built or sent.

    Raises:
        ArtefactError: says what differs.
    """
    missing = sorted(set(metadata.cpu.features) - set(board.features))
    if metadata.cpu.isa != board.isa:
        why = f"it is for {metadata.cpu.isa}, the board is {board.isa}"
    elif missing:
        why = f"its kernels may use {', '.join(missing)}, which the board has not"
    else:
        return
    raise ArtefactError(
        "the artefact was made for another processor",
        where=f"board {place}, {board.conditions.cpu}",
        why=why,
        hint="compile the model with a --platform like the board",
    )


def _place(rpc: str, key: str | None) -> Place:
    """Where the board's server listens.

    Raises:
        UsageError: it is no address.
        TdseError: there is no tracker, or it has no free board with the key.
    """
    tracker = Tracker.parse(rpc)
    if key is None:
        return Place(tracker.host, tracker.port, "")
    place = tracker.take(key)
    if place is None:
        raise TdseError(
            f"no board with the key {key!r} is free",
            where=rpc,
            hint="wait until one is given back, or restart its RPC server",
        )
    return place


def _files(directory: Path) -> list[bytes]:
    return [file_inside(directory, name).read_bytes() for name in FILES]


def _litert_files(graph: Graph, metadata: Metadata, threads: int, child: Child) -> list[bytes]:
    """The artefact of the whole model on LiteRT, for the processor of another artefact.

    Raises:
        TargetError: the child did not survive making it.
    """
    whole = [Region(0, "litert", graph.placed_ops)]
    placement = make_placement(graph, whole, threads, None, metadata.seed)
    directory = child.directory / f"litert{threads}"
    directory.mkdir()
    placement.save(directory / PLACEMENT)
    isa = metadata.cpu.isa
    # LiteRT chooses its code when it runs, so that no more need be said of the processor.
    processor = Device(name="cpu", targets=("litert",), triple=f"{isa}-linux-gnu")
    is_host = isa == discover_host().devices[0].isa
    try:
        kinds = child.ask(
            "write",
            silent_s=BUILD_SILENT_S,
            placement=str(directory / PLACEMENT),
            module=str(directory / MODULE),
            processor=None if is_host else processor.model_dump(mode="json"),
        )
    except CrashError as crash:
        raise TargetError(
            "LiteRT's own artefact cannot be built", where=graph.name, why=crash.why
        ) from None
    fields = {
        **metadata.as_dict(),
        "objective": None,
        "threads": threads,
        "lanes": 1,
        "region_kinds": kinds,
        "predicted_us": None,
        "predicted_period_us": None,
        "cpu": {"isa": isa, "features": []},
        "searches": [],
        "contest": [],
        "op_costs": None,
        "edgetpus": 0,
        "measured_regions": [],
    }
    write_json(directory / METADATA, sealed(fields, directory))
    return _files(directory)


def _entries(place: Place, told: Mapping[str, Any]) -> list[_Entry]:
    try:
        entries = _ENTRIES.validate_python(told.get("artefacts"))
    except ValidationError as error:
        raise malformed(place, faults_of(error)[0]) from None
    if not entries or not entries[0].turns_us or not all(map(len, entries[0].turns_us)):
        raise malformed(place, "it has no times")
    return entries


def _outputs(
    graph: Graph, place: Place, parts: Sequence[memoryview], cases: int
) -> list[list[Array]]:
    tensors = [graph.tensors[index] for index in graph.outputs]
    if len(parts) != cases * len(tensors):
        raise malformed(place, f"{len(parts)} outputs")
    arrays = [
        as_array(part, tensors[i % len(tensors)].dtype, tensors[i % len(tensors)].shape)
        for i, part in enumerate(parts)
    ]
    return [arrays[i : i + len(tensors)] for i in range(0, len(arrays), len(tensors))]


def _contenders(place: Place, entries: Sequence[_Entry]) -> tuple[Contender, ...]:
    ours = [float(np.median(turn)) for turn in entries[0].turns_us or []]
    found = []
    for entry in entries:
        if entry.error is not None or not entry.turns_us:
            why = str(board_error(place, entry.error)) if entry.error else "it was not timed"
            found.append(Contender(entry.name, why_not=why))
            continue
        medians = [float(np.median(turn)) for turn in entry.turns_us]
        every = np.concatenate([np.array(turn) for turn in entry.turns_us])
        found.append(
            Contender(
                entry.name,
                entry.load_us,
                float(np.median(medians)),
                float(np.percentile(every, 90)),
                ratio(medians, ours),
            )
        )
    return tuple(found)


def _keep(
    graph: Graph,
    conditions: Conditions,
    placement: Placement,
    regions_us: Array,
    turns_us: Sequence[Sequence[float]],
) -> int:
    """Keep the times of regions as records of the board; how many.

    How disturbed the board was is told by the turns of the artefact: the median one over the best.
    """
    medians = [float(np.median(turn)) for turn in turns_us]
    contention = max(1.0, float(np.median(medians)) / min(medians))
    records = []
    for region, times_us in zip(placement.regions, regions_us.T, strict=True):
        low, middle, high = np.percentile(times_us, [10, 50, 90]).tolist()
        if middle > 0:
            timing = Timing(middle, high - low, len(times_us), contention)
            key = region_signature(graph, region.ops)
            threads = placement.threads
            records.append(record_of(graph, region.ops, key, region.target, threads, timing))
    with contextlib.closing(RecordStore(conditions)) as store:
        store.add(records)
    return len(records)
