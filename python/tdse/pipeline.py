"""The whole way: from a ``.tflite`` file to a measured artefact."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdse.admission import admit
from tdse.artefact_metadata import artefact_metadata, elsewhere_metadata, emulated_metadata
from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress, unheard
from tdse.cost.table import MEASURED, NOT_LEGAL
from tdse.edgetpu.package import is_compiled
from tdse.elsewhere import decide_elsewhere, processor_elsewhere
from tdse.emulation.emulate import Emulation, demand_known, demand_mode, emulate_given
from tdse.emulation.emulate import emulate as emulated_placement
from tdse.emulation.hardware import (
    COMPILE_ONLY,
    HARDWARE,
    count_edgetpus,
    demand_edgetpu_mode,
    edgetpu_placement,
    emulate_measured,
    measured_regions,
    on_host,
)
from tdse.emulation.measured import records_of
from tdse.errors import PlacementError, TargetError, UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.link import find_linker
from tdse.measure.accuracy import Difference
from tdse.measure.conditions import current_conditions
from tdse.measure.deadline import Stop
from tdse.measure.records import RecordStore
from tdse.outputs import OutputGap
from tdse.place import Decision, Options, contestant_placement, decide, demand_untuned, given_on
from tdse.platform import Device, Platform, discover_host, load_platform
from tdse.runtime.artefact import (
    FRONT,
    METADATA,
    MODULE,
    PLACEMENT,
    check_writable,
    demand_space,
    replacing,
    write_json,
)
from tdse.runtime.emulated import Mode
from tdse.runtime.metadata import sealed
from tdse.search.front import Front, FrontEntry
from tdse.search.given import given_placement
from tdse.search.placement import Placement

_STRICT = "--strict refuses this, leave it out to allow it"


@dataclass(frozen=True)
class CompileResult:
    """What ``compile`` made.

    Attributes:
        out: the artefact's directory.
        placement: which operator runs where.
        decision: how the placement was found; None if it was given.
        difference: largest difference of a region from LiteRT's own; None of a model that holds
            what edgetpu_compiler made, which LiteRT cannot run.
        metadata: as written to ``metadata.json``.
        front: as written to ``front.json``: what was found for the objective ``pareto``, or what
            a given placement was chosen from; else None.
        emulation: of an emulated platform: what is modelled; else None.
        outputs: how far the outputs of the whole are from LiteRT's; None of a model that is not cut
            or that LiteRT cannot run, and of an emulated platform.
    """

    out: Path
    placement: Placement
    decision: Decision | None
    difference: Difference | None
    metadata: Mapping[str, Any]
    front: Front | None = None
    emulation: Emulation | None = None
    outputs: OutputGap | None = None


def compile(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    platform: str = "host",
    targets: Sequence[str] | None = None,
    objective: str = "latency",
    threads: int | None = None,
    budget_s: float = 60.0,
    pins: Sequence[str] = (),
    placement: str | os.PathLike[str] | Placement | None = None,
    strict: bool = False,
    emulate: str | None = None,
    edgetpu: str | None = None,
    tune: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> CompileResult:
    """Place ``model`` on ``platform`` and write the artefact to ``out``.

    For a platform that is not this machine, nothing is timed: the placement rests on records of
    that machine or on those of this one, and its results are checked as compiled for this one.

    Args:
        model: a ``.tflite`` file.
        out: directory of the artefact; one that is there is replaced once the new one is complete.
        platform: ``host``, the name of a preset, or a platform file.
        targets: use these targets only; None for all that the platform has.
        objective: what to make small: ``latency``, ``throughput``, ``energy``, ``edp`` (energy
            times latency), or ``pareto`` for the front of latency and energy, of which the
            fastest is built.
        threads: threads of every region; None to try 1 up to the number of cores.
        budget_s: seconds for measuring operators and timing candidates.
        pins: ``OP=TARGET`` texts; OP is an index, a label or a kind.
        placement: take this one, this file's, or ``FRONT.json#NUMBER``, instead of searching.
        strict: refuse every fallback: a model that cannot be cut, a region that LiteRT's C
            interface cannot run, a time that is predicted because the budget was short.
        emulate: for an emulated platform, and only then, how its results come about:
            ``correctness``, computed on this machine, or ``timing``, recorded and replayed.
        edgetpu: for a platform with Edge TPUs, instead of ``emulate``: ``hardware``, compile for
            them and check the result on them, or ``compile-only``, for another machine, whose
            processor the platform's first device names, or else one like this. The placement is
            modelled either way.
        tune: try so many ways to build each kernel, where that may change the placement, before
            the search; takes its own time beside ``budget_s``, and what is found is kept.
        seed: of everything random; with equal records, the search gives equal candidates.
        progress: called with (stage, done, all, detail).
        stop: once it is asked for, nothing more is measured, and the best of what is known by then
            is timed against LiteRT, in one process at least, and written.

    Raises:
        UsageError: an argument is wrong.
        ModelError: the file is not a model that can be run.
        PlatformError: tdse cannot compile for the platform, or it has no power figures though
            the objective needs them.
        PlacementError: a pin or a given placement cannot be obeyed.
        ArtefactError: ``out`` cannot be written.
    """
    options = Options(
        platform,
        tuple(targets) if targets else None,
        threads,
        budget_s,
        tuple(pins),
        seed,
        objective,
        tune,
    )
    say = progress or unheard
    board = load_platform(platform)
    mode = demand_mode(board, emulate) if edgetpu is None else None
    if edgetpu is not None:
        demand_edgetpu_mode(board, edgetpu, emulate)
    processor = _processor(board, mode, edgetpu)
    if placement is not None or emulate or edgetpu or processor is not None:
        demand_untuned(tune)
    check_writable(out)
    find_linker(processor)
    graph = read_tflite(Path(model))
    demand_space(len(graph.data), out)
    admit(graph)
    with Child(graph, say, stop) as child:
        decision = front = emulation = None
        gap: Difference | None
        outputs: OutputGap | None = None
        if board.is_emulated:
            _demand_for_emulated(targets, threads)
            if placement is not None:
                _demand_nothing_to_choose(pins, targets, threads, objective)
            modelled = _modelled(graph, board, child, options, mode, edgetpu, placement, say)
        if mode is not None:
            demand_known(graph, modelled.emulated)
            emulation, chosen = modelled, modelled.placement
        elif edgetpu is not None:
            chosen = edgetpu_placement(board, modelled)
            # Where there is no Edge TPU, the slices are checked on this machine.
            checked = chosen if edgetpu == HARDWARE else on_host(chosen)
            gap = None
            if not is_compiled(graph):
                gap, outputs = _checked(graph, child, checked, seed)
        elif placement is None:
            if processor is None:
                decision = decide(graph, options, child=child, progress=say)
            else:
                decision = decide_elsewhere(graph, options, processor, child=child, say=say)
            chosen = decision.placement
            gap = decision.contest.winner.difference or Difference()
            outputs = decision.contest.winner.outputs
            front = _front(graph, decision, options)
        else:
            _demand_nothing_to_choose(pins, targets, threads, objective)
            given = given_on(graph, board, placement)
            chosen, front = given.placement, given.front
            gap, outputs = _checked(graph, child, chosen, seed)
        say("write", 0, 1, str(out))
        module = child.directory / MODULE
        if emulation is None:
            kinds = _built(
                graph,
                child,
                "write",
                chosen,
                module=str(module),
                processor=None if processor is None else processor.model_dump(mode="json"),
            )
        else:
            kinds, gap = _emulated(graph, child, emulation, seed, module)
        if strict:
            _demand_no_fallback(graph, decision, kinds)
        fields = artefact_metadata(graph, model, options, chosen, decision, gap, kinds, processor)
        if processor is not None:
            fields["elsewhere"] = elsewhere_metadata(board, decision)
        if outputs is not None:
            fields["outputs_from_litert"] = outputs.as_json()
        if emulation is not None:
            fields |= emulated_metadata(emulation, objective)
        if edgetpu is not None:
            fields |= {
                "objective": objective,
                "edgetpus": count_edgetpus(chosen),
                "measured_regions": measured_regions(modelled),
                "searches": [asdict(one) for one in modelled.searches],
            }
        with replacing(out) as beside:
            shutil.copyfile(module, beside / MODULE)
            chosen.save(beside / PLACEMENT)
            if front is not None:
                (beside / FRONT).write_text(front.text(), encoding="utf-8")
            metadata = sealed(fields, beside)
            write_json(beside / METADATA, metadata)
    say("write", 1, 1, str(out))
    return CompileResult(Path(out), chosen, decision, gap, metadata, front, emulation, outputs)


def _processor(board: Platform, mode: Mode | None, edgetpu: str | None) -> Device | None:
    """The processor to compile for, where it is another than this machine's.

    Raises:
        PlatformError: tdse cannot compile for it.
    """
    if mode is not None:
        return None
    if edgetpu is None:
        return processor_elsewhere(board)
    host, cpu = discover_host().devices[0], board.devices[0]
    # Beside an Edge TPU, LiteRT computes on any processor of the architecture.
    return cpu if edgetpu == COMPILE_ONLY and cpu.isa not in ("", host.isa) else None


def _modelled(
    graph: Graph,
    board: Platform,
    child: Child,
    options: Options,
    mode: Mode | None,
    edgetpu: str | None,
    placement: str | os.PathLike[str] | Placement | None,
    say: Progress,
) -> Emulation:
    """The placement on a board that is not measured, or of which only Edge TPUs are there."""
    how: Mode = mode or "correctness"
    if placement is not None:
        given = given_placement(graph, placement)
        with records_of(board) as records:
            return emulate_given(
                graph, board, how, given.placement, seed=options.seed, records=records
            )

    def search(records: RecordStore | None) -> Emulation:
        return emulated_placement(
            graph,
            board,
            how,
            objective=options.objective,
            pins=options.pins,
            seed=options.seed,
            budget_s=options.budget_s,
            records=records,
            say=say,
        )

    if edgetpu == HARDWARE:
        deadline = time.monotonic() + options.budget_s
        with contextlib.closing(RecordStore(current_conditions())) as store:
            return emulate_measured(
                graph,
                board,
                child,
                store,
                lambda: search(store),
                seed=options.seed,
                deadline=deadline,
            )
    with records_of(board) as records:
        return search(records)


def _checked(
    graph: Graph, child: Child, placement: Placement, seed: int
) -> tuple[Difference, OutputGap | None]:
    """How far regions and outputs of a placement are from LiteRT's.

    Raises:
        TargetError: the child did not survive it.
    """
    made = _built(graph, child, "check", placement, seed=seed)
    outputs = made["outputs"]
    gap = None if outputs is None else OutputGap.from_json(outputs)
    return Difference(**made["difference"]), gap


def _built(graph: Graph, child: Child, job: str, placement: Placement, **arguments: Any) -> Any:
    """The child's answer to a job on a placement.

    Raises:
        TargetError: the child did not survive it.
    """
    file = child.directory / PLACEMENT
    placement.save(file)
    return _asked(graph, child, job, placement=str(file), **arguments)


def _asked(graph: Graph, child: Child, job: str, **arguments: Any) -> Any:
    """The child's answer to a job that builds.

    Raises:
        TargetError: the child did not survive it.
    """
    try:
        return child.ask(job, silent_s=BUILD_SILENT_S, **arguments)
    except CrashError as crash:
        raise TargetError(
            "the model cannot be built",
            where=graph.name,
            why=f"{crash.stage or 'beginning'} it {crash.why}",
            hint="choose other targets with --targets",
        ) from None


def _emulated(
    graph: Graph, child: Child, emulation: Emulation, seed: int, module: Path
) -> tuple[list[str], Difference | None]:
    """Have the module of an emulated board written; kinds that compute here, and what was checked.

    Raises:
        TargetError: the child did not survive it.
    """
    made = _asked(
        graph,
        child,
        "emulate",
        emulated=emulation.emulated.model_dump_json(),
        seed=seed,
        module=str(module),
    )
    gap = made["difference"]
    return made["host_kinds"], None if gap is None else Difference(**gap)


def _demand_nothing_to_choose(
    pins: Sequence[str], targets: Sequence[str] | None, threads: int | None, objective: str
) -> None:
    """Refuse what a given placement has decided.

    Raises:
        UsageError: something of it is given as well.
    """
    if pins or targets or threads is not None or objective != "latency":
        raise UsageError("a placement leaves nothing to pin or to choose", hint="give one only")


def _demand_for_emulated(targets: Sequence[str] | None, threads: int | None) -> None:
    """Refuse what is said of devices that are there.

    Raises:
        UsageError: says which.
    """
    given = {"--targets": targets, "--threads": threads}
    for option, value in given.items():
        if value:
            raise UsageError(
                "an emulated platform has devices with one way to run an operator, one unit each",
                where=option,
                hint="leave it out; --pin OP=DEVICE says where an operator must run",
            )


def _front(graph: Graph, decision: Decision, options: Options) -> Front | None:
    """The contest's front, None if it has none."""
    entries = []
    for number, contestant in enumerate(decision.contest.front, 1):
        measured_us = decision.contest.results[contestant.name].median_us
        predicted_us = contestant.predicted_us
        modelled_mj = contestant.energy_mj(measured_us)
        assert modelled_mj is not None, "decide refuses a platform without power figures"
        entries.append(
            FrontEntry(
                number=number,
                name=contestant.name,
                placement=contestant_placement(graph, contestant, options),
                measured_us=measured_us,
                modelled_mj=modelled_mj,
                predicted_us=predicted_us,
                predicted_mj=None if predicted_us is None else contestant.energy_mj(predicted_us),
            )
        )
    return Front(entries=tuple(entries)) if entries else None


def _demand_no_fallback(graph: Graph, decision: Decision | None, kinds: Sequence[str]) -> None:
    """Refuse what ``--strict`` refuses: whatever is less than the user might take it for."""
    if graph.whole_reason:
        raise PlacementError(
            "the model is placed whole", where=graph.name, why=graph.whole_reason, hint=_STRICT
        )
    if "litert_interpreter" in kinds:
        raise PlacementError(
            f"region {kinds.index('litert_interpreter')} runs in LiteRT's Python interpreter",
            where=graph.name,
            why="LiteRT's C interface cannot run it",
            hint=_STRICT,
        )
    table = decision.table if decision is not None else None
    if decision is None or table is None:
        return
    why, more = "the budget ended before it was measured", "give a larger --budget"
    if decision.elsewhere is not None:
        why, more = "there is no record of it from that machine", "measure it there"
    for op, sources in zip(table.ops, table.source, strict=True):
        for target, source in zip(table.targets, sources, strict=True):
            if source not in (MEASURED, NOT_LEGAL):
                raise PlacementError(
                    f"the time of op {graph.ops[op].label} on {target} is {source}",
                    where=graph.name,
                    why=why,
                    hint=f"{more}; {_STRICT}",
                )
