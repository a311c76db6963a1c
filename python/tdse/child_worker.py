"""The process that ``child`` starts: reads jobs as JSON lines, does them, answers with JSON lines.

A line says what it is at before anything that may crash, so that the parent knows what did.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np

from tdse.assemble import compile_regions
from tdse.child_measure import (
    ask_targets,
    count_trials,
    device_of,
    measure_regions,
    repeat,
    survey,
    tune,
)
from tdse.child_model import ChildModel
from tdse.emulation.executor import emulated_executor
from tdse.errors import TdseError
from tdse.graph.regions import Region
from tdse.lifted import read_model
from tdse.link import write_library
from tdse.measure.accuracy import Difference, difference
from tdse.measure.activations import Array
from tdse.regionwise import compare_regions
from tdse.runtime.emulated import Emulated
from tdse.runtime.model import model_by_position
from tdse.runtime.native import find_executor
from tdse.search.placement import load_placement
from tdse.verify import check_against_litert
from tdse.worker import end_at_faults, end_with_parent


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
    worker = ChildModel(
        read_model(model.read_bytes(), opening["name"]),
        model.parent,
        tell,
        Path(opening["stop"]),
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


def _build(
    worker: ChildModel, *, regions: Sequence[Any], threads: int, seed: int, directory: str
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


def _check(worker: ChildModel, *, placement: str, seed: int) -> dict[str, Any]:
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
    worker: ChildModel, *, placement: str, module: str, processor: Mapping[str, Any] | None
) -> list[str]:
    """Write the runtime module of a placement; the kind of each region."""
    from tdse.relax import build, from_tflite
    from tdse.relax.regions import with_regions

    worker.at("building", "", [])
    device = device_of(processor)
    lib = build(with_regions(from_tflite(worker.graph), load_placement(placement), device))
    write_library(lib, Path(module), device)
    description = json.loads(find_executor(lib)["describe"]())
    return [region["kind"] for region in description["regions"]]


def _emulate(worker: ChildModel, *, emulated: str, seed: int, module: str) -> dict[str, Any]:
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


def _emulate_sequential(worker: ChildModel, *, emulated: str, seed: int, plan: str) -> None:
    """Write the plan that runs the steps of an emulated board one after another."""
    steps = Emulated.model_validate_json(emulated)
    values = _emulated_values(worker, steps, seed)
    executor = emulated_executor(worker.graph, steps, values, one_lane=True)
    Path(plan).write_bytes(executor.plan.to_bytes())


def _emulated_values(worker: ChildModel, emulated: Emulated, seed: int) -> dict[int, Array]:
    """What is recorded of the model.

    Raises:
        ModelError: LiteRT cannot run it, though results are asked for.
    """
    if emulated.has_results:
        worker.demand_runs(seed)
    values = worker.values(seed)
    worker.at("building", "", [])
    return values


def _build_default(worker: ChildModel, *, library: str) -> str:
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
    worker: ChildModel, *, directory: str, ops: list[list[int]], inputs: str, tensors: str
) -> list[dict[str, Any]]:
    """See ``compare_regions``; ``inputs`` is an ``.npz``."""
    with np.load(inputs) as archive:
        arrays = [archive[name] for name in archive.files]
    return compare_regions(worker.graph, directory, ops, arrays, tensors)


JOBS: Mapping[str, Callable[..., Any]] = {
    "ask_targets": ask_targets,
    "survey": survey,
    "repeat": repeat,
    "tune": tune,
    "count_trials": count_trials,
    "measure_regions": measure_regions,
    "build": _build,
    "check": _check,
    "write": _write,
    "emulate": _emulate,
    "emulate_sequential": _emulate_sequential,
    "build_default": _build_default,
    "compare_regions": _compare_regions,
}


if __name__ == "__main__":
    main()
