"""Time an artefact against what users run today, and hold its results against LiteRT's."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress, unheard
from tdse.errors import ModelError, TargetError, TdseError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.measure.accuracy import Difference, difference, worst
from tdse.measure.activations import Array, random_inputs, zero_inputs
from tdse.measure.race import Entry, Result, race
from tdse.measure.stats import Ratio, ratio
from tdse.measure.turn import measuring
from tdse.npz import read_inputs
from tdse.platform import discover_host
from tdse.processor import cpu_thread_counts
from tdse.runtime.artefact import PLACEMENT
from tdse.runtime.metadata import SourceModel, read_metadata
from tdse.runtime.model import Model, load
from tdse.versions import has_compiler
from tdse.worker import run_worker

PEERS = ("litert", "tvm", "openvino")
OURS = "tdse"
# One run of LiteRT, of a large network with the reference kernels, is done well within this.
_LITERT_LIMIT_S = 600.0
# LiteRT's reference kernels are slow; so many inputs are enough to see how far they are off.
_REFERENCE_INPUTS = 2
# Seconds of running before the regions are timed, and again of timing them.
_PROFILE_S = 0.5
# Processes that hold one contender only, for its load time, first call and memory.
_LAUNCHES_ALONE = 3
_SECONDS_ALONE = 0.05


@dataclass(frozen=True)
class Row:
    """One contender, timed over whole calls.

    Attributes:
        name: for example ``tdse`` or ``litert x2``.
        result: its times; None if it could not be run.
        alone: load time, first call and memory in processes of its own, imports included; in one
            process with others, the first one pays for the libraries that they share.
        against: its time over ours, above 1 if ours is faster; None if it could not be run.
        why_not: why it could not be run.
    """

    name: str
    result: Result | None
    alone: Result | None
    against: Ratio | None
    why_not: str = ""


@dataclass(frozen=True)
class RegionTime:
    """Median time of one region, microseconds, measured inside the artefact."""

    name: str
    ops: int
    median_us: float
    share: float


@dataclass(frozen=True)
class Correctness:
    """Results of the artefact beside LiteRT's, over ``inputs`` inputs.

    Attributes:
        inputs: how many inputs were compared.
        ours: largest difference from LiteRT's default kernels.
        litert_itself: largest difference of LiteRT's reference kernels from its default ones, on
            the first inputs; None if ours is exact, so that there is nothing to compare with, or if
            the reference kernels cannot run the model.
        argmax_agrees: inputs on which the largest element of the first output is the same.
    """

    inputs: int
    ours: Difference
    litert_itself: Difference | None
    argmax_agrees: int


@dataclass(frozen=True)
class Report:
    """Everything that ``tdse bench`` prints.

    Attributes:
        rows: the contenders, ours first.
        regions: of the artefact.
        correctness: of its results.
        model: name of the model.
        launches: processes in which it was timed.
        streamed: times are between two results of a stream, and of calls where a contender has
            no streams; else they are of calls.
    """

    rows: tuple[Row, ...]
    regions: tuple[RegionTime, ...]
    correctness: Correctness
    model: str
    launches: int
    streamed: bool = False

    @property
    def best_litert(self) -> Row | None:
        """LiteRT with the thread count that suits it best."""
        timed = [row for row in self.rows if row.name.startswith("litert") and row.result]
        return min(timed, key=lambda row: row.result.median_us, default=None)  # type: ignore[union-attr]


def bench(
    directory: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    against: Sequence[str] = PEERS,
    stream: bool = False,
    launches: int = 5,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Time the artefact in ``directory`` and check its results.

    Args:
        directory: an artefact.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        inputs: an ``.npz`` with an array for each input, by name or in order, each either one
            input or a stack of them along a new first axis; random inputs and zeros if None.
        against: peers among ``litert``, ``tvm`` and ``openvino``.
        stream: time a stream of runs, not one after the other.
        launches: processes to start, one after the other.
        seconds: timed seconds of each.
        seed: of random inputs and of the order.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact.
        ModelError: the model is missing, or another than the artefact was made of.
        UsageError: the inputs do not fit, a peer is unknown, or the artefact is of an emulated
            board.
    """
    say = progress or unheard
    unknown = [name for name in against if name not in PEERS]
    if unknown:
        raise UsageError(f"no peer is named {unknown[0]!r}", hint=f"choose {', '.join(PEERS)}")
    if launches < 1:
        raise UsageError("there must be at least one launch")
    metadata = read_metadata(directory)
    if metadata.emulated is not None:
        raise UsageError(
            "the artefact is of an emulated board",
            where=str(directory),
            why="its times are modelled, and nothing measured can be beside them",
            hint="run tdse bench without --check and --against",
        )
    graph = model_of(metadata.model, model)
    artefact = load(directory)
    cases = cases_of(graph, artefact, inputs, seed)
    say("check", 0, 1, "")
    with (
        ExitStack() as needed,
        measuring(say),
    ):
        correctness = check_results(graph, artefact, cases)
        entries, absent = _entries(directory, against, graph, needed, say, stream=stream)
        results = race(
            entries,
            cases[0],
            launches=launches,
            seconds=seconds,
            seed=seed,
            progress=lambda done, total: say("race", done, total, ""),
        )
        alone: dict[str, Result] = {}
        for i, entry in enumerate(entries):
            say("load", i, len(entries), entry.name)
            alone |= race(
                [entry], cases[0], launches=_LAUNCHES_ALONE, seconds=_SECONDS_ALONE, seed=seed
            )
    ours = results[OURS].medians_us
    rows = [
        Row(name, result, alone[name], ratio(result.medians_us, ours))
        for name, result in results.items()
    ]
    rows += [Row(name, None, None, None, why) for name, why in absent.items()]
    runs = max(1, int(_PROFILE_S * 1e6 / results[OURS].median_us))
    regions = _regions(artefact, cases[0], directory, runs)
    return Report(tuple(rows), regions, correctness, graph.name, launches, stream)


def model_of(compiled: SourceModel, given: str | os.PathLike[str] | None) -> Graph:
    """The model that an artefact was made of.

    Raises:
        ModelError: it is missing, or another.
    """
    path = Path(given or compiled.path)
    if not path.is_file():
        raise ModelError(
            "the model that the artefact was made of is not there",
            where=str(path),
            why="LiteRT needs it to be compared with",
            hint="say where it is with --model",
        )
    graph = read_tflite(path)
    if hashlib.sha256(graph.data).hexdigest() != compiled.sha256:
        raise ModelError(
            "this is not the model that the artefact was made of",
            where=str(path),
            why="its sha256 differs",
            hint="compile it again, or give the right one with --model",
        )
    return graph


def cases_of(
    graph: Graph, artefact: Model, inputs: str | os.PathLike[str] | None, seed: int
) -> list[list[Array]]:
    """Inputs to compare results on: given ones, or random ones and zeros.

    Raises:
        UsageError: they do not fit.
    """
    if inputs is None:
        return [*(random_inputs(graph, seed + i) for i in range(5)), zero_inputs(graph)]
    return read_inputs(artefact, inputs)


class Runs(Protocol):
    """What gives outputs for inputs: a loaded artefact, or one that ran elsewhere."""

    def run(self, arrays: Sequence[npt.ArrayLike]) -> list[Array]:
        """The outputs of one run."""
        ...


def check_results(graph: Graph, artefact: Runs, cases: Sequence[Sequence[Array]]) -> Correctness:
    """Results of an artefact beside LiteRT's."""
    # All see the same inputs in the same order from their first call on, which a state depends on.
    expected = _litert_outputs(graph, cases)
    results = [artefact.run(case) for case in cases]
    total = worst([difference(y, e) for y, e in zip(results, expected, strict=True)])
    agrees = sum(
        not y[0].size or bool(np.argmax(y[0]) == np.argmax(e[0]))
        for y, e in zip(results, expected, strict=True)
    )
    if total.is_exact:
        return Correctness(len(cases), total, None, agrees)
    try:
        plain = _litert_outputs(graph, cases[:_REFERENCE_INPUTS], reference_kernels=True)
    except TargetError:
        # Some custom operators exist in the XNNPACK delegate only.
        return Correctness(len(cases), total, None, agrees)
    itself = [difference(y, e) for y, e in zip(plain, expected, strict=False)]
    return Correctness(len(cases), total, worst(itself), agrees)


def _litert_outputs(
    graph: Graph,
    cases: Sequence[Sequence[Array]],
    *,
    reference_kernels: bool = False,
) -> list[list[Array]]:
    """The outputs of each case, from one interpreter in a process of its own.

    Raises:
        TargetError: LiteRT cannot run the model with these kernels.
    """
    with tempfile.TemporaryDirectory(prefix="tdse-bench-") as directory:
        files = {name: str(Path(directory) / name) for name in ("model", "inputs", "outputs.npz")}
        Path(files["model"]).write_bytes(graph.data)
        with open(files["inputs"], "wb") as file:
            np.savez(file, *(array for case in cases for array in case))
        try:
            run_worker(
                "tdse.measure.litert_worker",
                *files.values(),
                str(len(cases)),
                *(["reference"] if reference_kernels else []),
                doing="running the model with LiteRT",
                limit_s=_LITERT_LIMIT_S,
                where=graph.name,
            )
        except TdseError as error:
            raise TargetError(
                "LiteRT cannot run the model", where=graph.name, why=error.why
            ) from None
        with np.load(files["outputs.npz"]) as archive:
            arrays = [archive[name] for name in archive.files]
    count = len(graph.outputs)
    return [arrays[i * count : (i + 1) * count] for i in range(len(cases))]


def _entries(
    directory: str | os.PathLike[str],
    against: Sequence[str],
    graph: Graph,
    needed: ExitStack,
    say: Progress,
    *,
    stream: bool,
) -> tuple[list[Entry], dict[str, str]]:
    """Who takes part, and why others do not; ``needed`` keeps what they need in files."""
    scratch = needed.enter_context(tempfile.TemporaryDirectory(prefix="tdse-bench-"))
    # OpenVINO tells a model's format by its name.
    model = Path(scratch) / "model.tflite"
    model.write_bytes(graph.data)
    ours = {"directory": str(Path(directory).absolute()), "streamed": stream}
    entries = [Entry(OURS, "artefact", ours)]
    absent: dict[str, str] = {}
    cores = discover_host().devices[0].cores
    counts = cpu_thread_counts(cores)
    if "litert" in against:
        litert = {"model": str(model), "copies": 1}
        entries += [Entry(f"litert x{n}", "litert", {**litert, "threads": n}) for n in counts]
        if stream and cores > 1:
            copies = {**litert, "copies": cores, "threads": 1}
            entries.append(Entry(f"{cores} copies of litert x1", "litert", copies))
    if "tvm" in against and not has_compiler():
        absent["tvm default"] = "there is no compiler in tdse-runtime (pip install tdse)"
    elif "tvm" in against:
        say("build", 0, 1, "TVM's default build")
        child = needed.enter_context(Child(graph, say))
        library = child.directory / "tvm_default.so"
        why = _default_tvm_build(child, library)
        if why:
            absent["tvm default"] = why
        else:
            entries.append(Entry("tvm default", "tvm", {"library": str(library)}))
    if "openvino" in against:
        if importlib.util.find_spec("openvino") is None:
            absent["openvino"] = "not installed (pip install openvino)"
        else:
            found, why = _openvino_entries(model, counts)
            entries += found
            if why:
                absent["openvino"] = why
    return entries, absent


def _default_tvm_build(child: Child, library: Path) -> str:
    """Have the model built as TVM does by itself; the one-line reason where there is no such."""
    try:
        return str(child.ask("build_default", silent_s=BUILD_SILENT_S, library=str(library)))
    except CrashError as crash:
        return f"building it {crash.why}"


def _openvino_entries(model: Path, counts: Sequence[int]) -> tuple[list[Entry], str]:
    import openvino

    try:
        openvino.Core().compile_model(str(model), "CPU")
    except RuntimeError as error:
        return [], str(error).strip().splitlines()[-1][:200]
    arguments = {"model": str(model)}
    return [Entry(f"openvino x{n}", "openvino", {**arguments, "threads": n}) for n in counts], ""


def _regions(
    artefact: Model, case: Sequence[Array], directory: str | os.PathLike[str], runs: int
) -> tuple[RegionTime, ...]:
    artefact.time_runs(case, runs)
    medians = np.median(artefact.profile(case, runs), axis=0)
    total = float(medians.sum()) or 1.0
    # As it was checked when the artefact was loaded.
    placement = json.loads((Path(directory) / PLACEMENT).read_bytes())
    ops = [len(region["ops"]) for region in placement["regions"]]
    return tuple(
        RegionTime(region["name"], count, float(time), float(time) / total)
        for region, count, time in zip(artefact.regions, ops, medians, strict=True)
    )
