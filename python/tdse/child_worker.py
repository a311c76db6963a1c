"""The process that ``child`` starts: reads jobs as JSON lines, does them, answers with JSON lines.

A line says what it is at before anything that may crash, so that the parent knows what did.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdse.assemble import Compiled, compile_regions
from tdse.child import PREPARING, RUNNING
from tdse.edgetpu.package import is_compiled
from tdse.emulation.executor import emulated_executor
from tdse.errors import ModelError, TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.legality import Legality, demand_all_supported, find_legality
from tdse.link import write_library
from tdse.measure.accuracy import Difference, difference
from tdse.measure.activations import Array, activations, random_inputs
from tdse.measure.conditions import compiled_for, current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.ops import OPS_TOGETHER, Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.regions import measure_regions
from tdse.measure.remote import Boards
from tdse.measure.timer import LocalTimer, Timer
from tdse.outputs import LitertOutputs
from tdse.platform import Device
from tdse.regionwise import compare_regions
from tdse.runtime.emulated import Emulated
from tdse.runtime.litert import run_litert
from tdse.runtime.model import model_by_position
from tdse.search.placement import load_placement
from tdse.targets import target_threads, target_variants
from tdse.targets.litert import demand_as_said, demand_runs
from tdse.verify import Verified, check_against_litert, verified_regions
from tdse.worker import end_at_faults, end_with_parent

if TYPE_CHECKING:
    from tdse.tuning import Promise


def main() -> None:
    """Entry point of ``python -m tdse.child_worker``."""
    end_with_parent()
    end_at_faults()
    # What libraries print must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=lines)

    opening = json.loads(sys.stdin.readline())
    if opening["memory_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (opening["memory_bytes"],) * 2)
    model = Path(opening["model"])
    worker = _Worker(
        _read(model.read_bytes(), opening["name"]), model.parent, tell, Path(opening["stop"])
    )
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            tell(answer=JOBS[arguments.pop("job")](worker, **arguments))
        except TdseError as error:
            tell(error=error.as_dict())
        except MemoryError as error:
            failure = TdseError(
                "memory ran out",
                where=worker.graph.name,
                why=str(error),
                hint="use a machine with more memory, or convert the model for smaller inputs",
            )
            tell(error=failure.as_dict())
        except OSError as error:
            why = error.strerror or str(error)
            tell(error=TdseError("a temporary file cannot be written", why=why).as_dict())


def _read(data: bytes, name: str) -> Graph:
    # A module in TVM's JSON; the fifth byte of a flatbuffer begins its identifier.
    if data.startswith(b"{"):
        from tdse.relax.ir_graph import graph_of_ir

        return graph_of_ir(data, name)
    return read_tflite(data, name)


class _Worker:
    """The model, what is known of it from earlier jobs, and the way to the parent."""

    def __init__(
        self, graph: Graph, directory: Path, tell: Callable[..., None], stop: Path
    ) -> None:
        self.graph = graph
        self._tell = tell
        self._stop = stop
        self._file = directory / "values.npz"
        self._values: dict[int, Array] = {}
        # Where kernels were written, which several candidates may share.
        self.libraries: dict[Any, Path] = {}
        self._outputs: LitertOutputs | None = None
        # Candidates that differ in their lanes only are compiled once.
        self._verified: dict[Any, Verified] = {}

    def verified(self, regions: Sequence[Region], threads: int, seed: int) -> Verified:
        """Regions compiled and checked.

        Raises:
            TargetError: they cannot be compiled, or their results are off.
        """
        key = threads, tuple((region.device, region.ops) for region in regions)
        if key not in self._verified:
            self._verified[key] = verified_regions(
                self.graph, regions, threads=threads, values=self.values(seed)
            )
        return self._verified[key].on_lanes_of(regions)

    def deadline(self, at_s: float) -> Deadline:
        """That time, or when the parent is asked to end early."""
        return Deadline(at_s, self._stop)

    def output_gap(self, compiled: Compiled, seed: int) -> dict[str, Any] | None:
        """The outputs of all regions together beside those of the whole model in LiteRT.

        None of a model that is not cut, which is LiteRT's, or that LiteRT cannot run.

        Raises:
            TargetError: LiteRT or a region cannot be run.
        """
        if self.graph.whole_reason or self.graph.ir:
            return None
        if self._outputs is None:
            self._outputs = LitertOutputs(self.graph, seed)
        return self._outputs.gap(compiled.whole().model().run).as_json()

    def at(self, stage: str, target: str, keys: Sequence[str]) -> None:
        """Say what is begun, and with which operators; none for the model as a whole."""
        self._tell(at=[stage, target, keys])

    def say(self, stage: str, done: int, total: int, detail: str) -> None:
        """Say how far it is."""
        self._tell(progress=[stage, done, total, detail])

    def demand_runs(self, seed: int) -> None:
        """Refuse a model that LiteRT cannot run.

        Raises:
            ModelError: with LiteRT's reason.
        """
        graph = self.graph
        if graph.ir:
            return
        self.at(PREPARING, "litert", [])
        demand_runs(graph)
        if graph.whole_reason:
            self.at(RUNNING, "litert", [])
            try:
                outputs = run_litert(graph.data, random_inputs(graph, seed))
            except (RuntimeError, ValueError) as error:
                raise ModelError(
                    "LiteRT cannot run the model", where=graph.name, why=str(error)
                ) from None
            for index, output in zip(graph.outputs, outputs, strict=True):
                demand_as_said(graph, "the model", index, output.shape, output.dtype)
        self.at("", "", [])

    def values(self, seed: int, signatures: Mapping[int, str] | None = None) -> dict[int, Array]:
        """Activations, tensor index to array; none of a model that is not cut.

        LiteRT computes them, or what TVM builds by default of a model without a flatbuffer. They
        outlive the process in a file. Those of a model that edgetpu_compiler made are zeros: no
        machine but an Edge TPU knows them, and times do not depend on them.

        Args:
            seed: of the inputs.
            signatures: operator index to signature, to name the one that is run.
        """
        if self.graph.whole_reason or self._values:
            return self._values
        if self._file.is_file():
            with np.load(self._file) as archive:
                indices, *arrays = (archive[name] for name in archive.files)
            self._values = dict(zip(indices.tolist(), arrays, strict=True))
            return self._values

        if is_compiled(self.graph):
            self._values = {
                tensor.index: np.zeros(tensor.shape, tensor.dtype)
                for tensor in self.graph.tensors
                if not tensor.is_constant
            }
            return self._values

        def begin(op: int) -> None:
            self.at(RUNNING, "litert", [signatures[op]] if signatures else [])

        inputs = random_inputs(self.graph, seed)
        if self.graph.ir:
            from tdse.relax.reference import reference_values

            values = reference_values(self.graph, inputs)
        else:
            values = activations(self.graph, inputs, begin=begin)
        self.at("", "", [])
        beside = self._file.with_suffix(".part.npz")
        np.savez(beside, np.array(list(values)), *values.values())
        beside.replace(self._file)
        self._values = values
        return values


def _ask_targets(
    worker: _Worker, *, store: str, targets: Sequence[str], processor: Mapping[str, Any] | None
) -> None:
    device = _device(processor)
    conditions = current_conditions() if device is None else compiled_for(device)
    with contextlib.closing(RecordStore(conditions, Path(store))) as records:
        find_legality(worker.graph, targets, records, begin=worker.at, processor=device)


def _device(fields: Mapping[str, Any] | None) -> Device | None:
    """A platform's device that is compiled for; None for this machine."""
    return None if fields is None else Device.model_validate(fields)


@contextlib.contextmanager
def _place(store: str, boards: tuple[str, str] | None) -> Iterator[tuple[RecordStore, Timer]]:
    """Where is measured, this process or boards, and the records of that machine."""
    with contextlib.ExitStack() as stack:
        if boards is None:
            records = RecordStore(current_conditions(), Path(store))
            yield stack.enter_context(contextlib.closing(records)), LocalTimer(records)
        else:
            timer = stack.enter_context(Boards(*boards))
            records = RecordStore(timer.board.conditions, Path(store))
            yield stack.enter_context(contextlib.closing(records)), timer


def _survey(
    worker: _Worker,
    *,
    store: str,
    targets: Sequence[str],
    counts: Sequence[int],
    pins: Sequence[tuple[int, str]],
    seed: int,
    deadline: float,
    patience_s: float,
    demand_all: bool,
    boards: tuple[str, str] | None,
    one_by_one: bool = False,
) -> int:
    """The number of measurements that were made."""
    graph = worker.graph
    worker.demand_runs(seed)
    with _place(store, boards) as (records, timer):
        worker.say("legality", 0, 1, "")
        legality = find_legality(
            graph, targets, records, begin=worker.at, processor=timer.processor
        )
        if demand_all:
            demand_all_supported(graph, legality)
        if graph.whole_reason:
            return 0
        return _measure(
            worker,
            legality,
            worker.values(seed, legality.signatures),
            records,
            timer,
            counts=counts,
            pins=pins,
            deadline=worker.deadline(deadline),
            patience_s=patience_s,
            one_by_one=one_by_one,
        )


def _repeat(
    worker: _Worker,
    *,
    store: str,
    work: Sequence[tuple[int, str, int]],
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None,
) -> None:
    """Measure again what has a record."""
    with _place(store, boards) as (records, timer):
        measure_ops(
            worker.graph,
            [Work(*each) for each in work],
            worker.values(seed),
            records,
            timer,
            deadline=worker.deadline(deadline),
            patience_s=patience_s,
            again=True,
        )


def _tune(
    worker: _Worker,
    *,
    store: str,
    targets: Sequence[str],
    counts: Sequence[int],
    trials: int,
    seed: int,
    patience_s: float,
    without: Sequence[str],
) -> list[dict[str, Any]]:
    """See ``tune_kernels``; without kernels of operators whose signatures are in ``without``."""
    from tdse.tuning import TARGET, trials_left, tune

    graph, deadline = worker.graph, worker.deadline(math.inf)
    done: list[dict[str, Any]] = []
    with _place(store, None) as (records, timer):
        legality, work = _tunable(worker, records, targets)
        values = worker.values(seed, legality.signatures)
        total = sum(trials_left(promise, trials) for promise in work)
        begun = 0
        for promise in work:
            keys = {legality.signatures[op]: op for op in promise.ops}
            left, label = trials_left(promise, trials), graph.ops[promise.ops[0]].label
            if deadline.is_over or not keys.keys().isdisjoint(without):
                continue
            worker.at("tuning", TARGET, list(keys))
            say = partial(_say_tuned, worker, begun, total, label)
            say(0)
            tuned = tune(graph, promise, values, trials, deadline, say)
            begun += left
            if tuned is None:
                continue
            done.append(asdict(tuned))
            if left and tuned.gain > 1:
                threads = target_threads(TARGET, counts)
                again = [Work(op, TARGET, n) for n in threads for op in keys.values()]
                measure_ops(
                    graph, again, values, records, timer, deadline=deadline, patience_s=patience_s
                )
    worker.at("", "", [])
    return done


def _say_tuned(worker: _Worker, begun: int, total: int, label: str, tried: int) -> None:
    worker.say("tune", begun + tried, total, label)


def _tunable(
    worker: _Worker, records: RecordStore, targets: Sequence[str]
) -> tuple[Legality, Sequence[Promise]]:
    from tdse.tuning import TARGET, promises

    graph = worker.graph
    legality = find_legality(graph, targets, records, begin=worker.at)
    ops = [op for op in graph.placed_ops if legality.support[TARGET][op].ok]
    known = records.find(legality.signatures.values())
    # Times on targets that may not be chosen now say nothing of where operators will be.
    of_targets = {key: record for key, record in known.items() if record.target in targets}
    return legality, promises(graph, ops, legality.signatures, of_targets)


def _count_trials(
    worker: _Worker, *, store: str, targets: Sequence[str], trials: int
) -> tuple[int, int]:
    """Kernels that would be tuned, and ways to build them that would be tried."""
    from tdse.tuning import trials_left

    with contextlib.closing(RecordStore(current_conditions(), Path(store))) as records:
        _, work = _tunable(worker, records, targets)
        left = [trials_left(promise, trials) for promise in work]
        return sum(count > 0 for count in left), sum(left)


def _measure_regions(
    worker: _Worker,
    *,
    store: str,
    regions: Sequence[Any],
    counts: Sequence[int],
    seed: int,
    deadline: float,
    patience_s: float,
    boards: tuple[str, str] | None,
    recorded_as: Mapping[str, str],
) -> None:
    given = list(map(Region.from_json, regions))

    def begin(region: Region) -> None:
        worker.at("measuring", region.device, [])

    with _place(store, boards) as (records, timer):
        for threads in counts:
            measure_regions(
                worker.graph,
                [region for region in given if threads in target_threads(region.device, counts)],
                threads,
                worker.values(seed),
                records,
                timer,
                deadline=worker.deadline(deadline),
                patience_s=patience_s,
                begin=begin,
                recorded_as=recorded_as,
            )


def _build(
    worker: _Worker, *, regions: Sequence[Any], threads: int, seed: int, directory: str
) -> dict[str, Any]:
    """Compile and check regions, and save what a race can load.

    Raises:
        TargetError: they cannot be compiled, or their results are off.
    """
    worker.at("building", "", [])
    given = list(map(Region.from_json, regions))
    verified = worker.verified(given, threads, seed)
    plan, libraries = verified.compiled.whole().save(Path(directory), worker.libraries)
    return {
        "plan": str(plan),
        "libraries": [str(path) for path in libraries],
        "regions": [astuple(region) for region in verified.regions],
        "difference": asdict(verified.difference),
        "outputs": worker.output_gap(verified.compiled, seed),
    }


def _check(worker: _Worker, *, placement: str, seed: int) -> dict[str, Any]:
    """The differences of regions and outputs of a placement that is taken as given.

    Raises:
        ModelError: LiteRT cannot run the model.
        TargetError: a target cannot compile one of the regions.
    """
    worker.demand_runs(seed)
    graph = worker.graph
    if graph.whole_reason:
        return {"difference": asdict(Difference()), "outputs": None}
    worker.at("building", "", [])
    given = load_placement(placement)
    compiled = compile_regions(graph, given.graph_regions, threads=given.threads)
    return {
        "difference": asdict(check_against_litert(compiled, worker.values(seed))),
        "outputs": worker.output_gap(compiled, seed),
    }


def _write(
    worker: _Worker, *, placement: str, module: str, processor: Mapping[str, Any] | None
) -> list[str]:
    """Write the runtime module of a placement; the kind of each region."""
    from tdse.relax import build, from_tflite
    from tdse.relax.build import executor_of
    from tdse.relax.partition import placed

    worker.at("building", "", [])
    device = _device(processor)
    lib = build(placed(from_tflite(worker.graph), load_placement(placement), device))
    write_library(lib, Path(module), device)
    description = json.loads(executor_of(lib)["describe"]())
    return [region["kind"] for region in description["regions"]]


def _emulate(worker: _Worker, *, emulated: str, seed: int, module: str) -> dict[str, Any]:
    """Write the runtime module of an emulated board.

    Returns:
        The kinds of region that compute on this machine, and the difference of a run from LiteRT;
        null where LiteRT cannot run the model.

    Raises:
        ModelError: LiteRT cannot run the model.
        TargetError: LiteRT cannot run one of the regions.
    """
    from tdse.relax.build import wrap_in_vm

    steps = Emulated.model_validate_json(emulated)
    values = _emulated_values(worker, steps, seed)
    graph = worker.graph
    model = model_by_position(emulated_executor(graph, steps, values).module())
    begun = time.perf_counter()
    outputs = model.run([values[index] for index in graph.inputs])
    measured_us = 1e6 * (time.perf_counter() - begun)
    executor = emulated_executor(graph, steps, values, measured_us=measured_us)
    gap = difference(outputs, [values[index] for index in graph.outputs])
    write_library(wrap_in_vm(executor.module(), graph), Path(module))
    return {
        "host_kinds": executor.host_kinds,
        "difference": asdict(gap) if steps.has_results else None,
    }


def _emulate_sequential(worker: _Worker, *, emulated: str, seed: int, plan: str) -> None:
    """Write the plan that runs the steps of an emulated board one after another."""
    steps = Emulated.model_validate_json(emulated)
    values = _emulated_values(worker, steps, seed)
    executor = emulated_executor(worker.graph, steps, values, one_lane=True)
    Path(plan).write_bytes(executor.plan.to_bytes())


def _emulated_values(worker: _Worker, emulated: Emulated, seed: int) -> dict[int, Array]:
    """What is recorded of the model.

    Raises:
        ModelError: LiteRT cannot run it, though results are asked for.
    """
    if emulated.has_results:
        worker.demand_runs(seed)
    values = worker.values(seed)
    worker.at("building", "", [])
    return values


def _build_default(worker: _Worker, *, library: str) -> str:
    """TVM's own import and default CPU build; the one-line reason if there is none."""
    import tflite
    import tvm
    from tvm.relax.frontend.tflite import from_tflite

    from tdse.targets.llvm_isa import host_isa

    try:
        module = from_tflite(tflite.Model.GetRootAsModel(worker.graph.data, 0))
        write_library(tvm.compile(module, target=host_isa().target), Path(library))
    # TVM's importer raises whatever its assertions and lookups happen to raise.
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[-1].strip()[:200] if lines else ''}"
    return ""


def _compare_regions(
    worker: _Worker, *, directory: str, ops: list[list[int]], inputs: str, tensors: str
) -> list[dict[str, Any]]:
    """See ``compare_regions``; ``inputs`` is an ``.npz``."""
    with np.load(inputs) as archive:
        arrays = [archive[name] for name in archive.files]
    return compare_regions(worker.graph, directory, ops, arrays, tensors)


JOBS: Mapping[str, Callable[..., Any]] = {
    "ask_targets": _ask_targets,
    "survey": _survey,
    "repeat": _repeat,
    "tune": _tune,
    "count_trials": _count_trials,
    "measure_regions": _measure_regions,
    "build": _build,
    "check": _check,
    "write": _write,
    "emulate": _emulate,
    "emulate_sequential": _emulate_sequential,
    "build_default": _build_default,
    "compare_regions": _compare_regions,
}


def _measure(
    worker: _Worker,
    legality: Legality,
    values: Mapping[int, Array],
    store: RecordStore,
    timer: Timer,
    *,
    counts: Sequence[int],
    pins: Sequence[tuple[int, str]],
    deadline: Deadline,
    patience_s: float,
    one_by_one: bool,
) -> int:
    """Measure what has no record yet: pins, then LiteRT, then the rest where most may be gained.

    A few operators at a time are measured on all that is left, so that a budget that is too short
    leaves out operators, of which little may be gained, rather than targets.
    """
    graph = worker.graph

    def begin(ops: Sequence[int], target: str) -> None:
        worker.at("measuring", target, [legality.signatures[op] for op in ops])

    def measure(work: Sequence[Work]) -> int:
        known = store.find(legality.signatures.values())
        unique = {(legality.signatures[w.op], w.target, w.threads): w for w in work}
        return measure_ops(
            graph,
            [
                item
                for key, item in unique.items()
                if key not in known and legality.support[item.target][item.op].ok
            ],
            values,
            store,
            timer,
            deadline=deadline,
            patience_s=patience_s,
            one_by_one=one_by_one,
            begin=begin,
            progress=lambda done, total, text: worker.say("measure", done, total, text),
        )

    total = measure(
        [
            Work(op, target, threads)
            for op, target in pins
            for threads in target_threads(target, counts)
        ]
    )
    variants = target_variants(legality.targets, counts)
    if "litert" in legality.targets:
        first = ("litert", target_threads("litert", counts)[0])
        by_size = sorted(graph.placed_ops, key=lambda op: -graph.ops[op].macs)
        total += measure([Work(op, *first) for op in by_size])
        variants = [variant for variant in variants if variant != first]
    records = store.find(legality.signatures.values())
    by_key = {legality.signatures[op]: op for op in graph.placed_ops}
    by_hope = sorted(by_key.values(), key=partial(_hope, graph, legality, records, counts))
    return total + measure(
        [
            Work(op, target, threads)
            for begin_at in range(0, len(by_hope), OPS_TOGETHER)
            for target, threads in variants
            for op in by_hope[begin_at : begin_at + OPS_TOGETHER]
        ]
    )


# Rough rates of unscheduled loops, only to order what is measured: MAC/us and byte/us.
_LOOP_MACS_PER_US = 1500.0
_LOOP_BYTES_PER_US = 1000.0


def _hope(
    graph: Graph,
    legality: Legality,
    records: Mapping[tuple[str, str, int], Any],
    counts: Sequence[int],
    index: int,
) -> float:
    """The smaller, the more time a measurement on another target may save."""
    op = graph.ops[index]
    key = legality.signatures[index]
    times = [records[key, "litert", n].median_us for n in counts if (key, "litert", n) in records]
    loops = op.macs / _LOOP_MACS_PER_US + (op.input_bytes + op.output_bytes) / _LOOP_BYTES_PER_US
    return loops - min(times, default=0.0)


if __name__ == "__main__":
    main()
