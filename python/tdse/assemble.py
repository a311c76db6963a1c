"""From regions to one executor module: compile each target's regions, plan the tensors, join."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.link import write_library
from tdse.platform import Device
from tdse.runtime import native
from tdse.runtime.model import Model, model_by_position
from tdse.runtime.plan import SPIN_US, Plan, PlanLane, PlanRegion, PlanTensor, time_limit_ms
from tdse.targets import CompiledRegion, target_for

# Lanes that run different parts of one item wait for each other many times within a run, and the
# run for every wake-up: so they look for work for longer than they ever wait there.
_SPIN_WITHIN_RUN_US = 5_000


@dataclass(frozen=True)
class Assembly:
    """A plan and the compiled libraries that its regions call."""

    plan: Plan
    libraries: tuple[Any, ...]

    def module(self) -> Any:
        """A ``tvm_ffi`` module of kind ``tdse_executor``, the libraries imported into it."""
        module = native.create_executor(self.plan.to_bytes())
        for library in self.libraries:
            module.import_module(library)
        return module

    def model(self) -> Model:
        """The module as a model; its tensors are named by their position."""
        return model_by_position(self.module())

    def save(self, directory: Path, written: dict[Any, Path]) -> tuple[Path, list[Path]]:
        """Write plan and libraries where another process can take them up.

        Args:
            directory: made where there is none.
            written: libraries of earlier assemblies, which are not written again; takes these.
        """
        directory.mkdir(parents=True, exist_ok=True)
        plan = directory / "plan.bin"
        plan.write_bytes(self.plan.to_bytes())
        for i, library in enumerate(self.libraries):
            if library not in written:
                path = directory / f"library{i}.so"
                write_library(library, path)
                written[library] = path
        return plan, [written[library] for library in self.libraries]


@dataclass(frozen=True)
class Compiled:
    """The regions of a placement, compiled; ``results`` stands beside ``regions``."""

    graph: Graph
    regions: tuple[Region, ...]
    results: tuple[CompiledRegion, ...]
    libraries: tuple[Any, ...]
    threads: int

    def whole(self, expected_us: float | None = None) -> Assembly:
        """All regions in one executor; inputs and outputs are the model's.

        Args:
            expected_us: what a run takes, from which lanes have their time limit; None for none.
        """
        graph = self.graph
        plan = _plan(graph, graph.inputs, graph.outputs, self.regions, self.results, self.threads)
        limit_ms = time_limit_ms(expected_us, len(plan.lanes))
        lanes = tuple(dataclasses.replace(lane, timeout_ms=limit_ms) for lane in plan.lanes)
        return Assembly(dataclasses.replace(plan, lanes=lanes), self.libraries)

    def alone(self, position: int) -> Assembly:
        """The region at ``position`` in an executor of its own; inputs and outputs are its own."""
        region = dataclasses.replace(self.regions[position], lanes=(0,))
        result = self.results[position]
        plan = _plan(self.graph, result.inputs, result.outputs, [region], [result], self.threads)
        return Assembly(plan, self.libraries if result.steps else ())


def compile_regions(
    graph: Graph,
    regions: Sequence[Region],
    *,
    threads: int,
    bodies: Mapping[int, Any] | None = None,
    processor: Device | None = None,
) -> Compiled:
    """Compile ``regions``, those of one target together.

    Args:
        graph: the model.
        regions: in an order in which they can run; ``device`` names the target of each.
        threads: threads that a region may use; a target may use fewer.
        bodies: Relax functions of operators, where another front door than the flatbuffer
            supplies them.
        processor: a platform's device that is not this machine's CPU; None for that.

    Raises:
        TargetError: a target cannot compile one of its regions, or not for the processor.
    """
    compiled: dict[int, CompiledRegion] = {}
    libraries = []
    for target_name in dict.fromkeys(region.device for region in regions):
        positions = [i for i, region in enumerate(regions) if region.device == target_name]
        mine = [regions[i] for i in positions]
        target = target_for(target_name, processor)
        if bodies is not None and hasattr(target, "compile_bodies"):
            result = target.compile_bodies(graph, mine, bodies, threads)
        else:
            result = target.compile(graph, mine, threads)
        compiled.update(zip(positions, result.regions, strict=True))
        libraries.extend(result.libraries)
    results = tuple(compiled[i] for i in range(len(regions)))
    return Compiled(graph, tuple(regions), results, tuple(libraries), threads)


def assemble(
    graph: Graph,
    regions: Sequence[Region],
    *,
    threads: int,
    bodies: Mapping[int, Any] | None = None,
    expected_us: float | None = None,
    processor: Device | None = None,
) -> Any:
    """Compile ``regions`` and join them into one module; see ``compile_regions`` and ``whole``.

    Returns:
        A ``tvm_ffi`` module of kind ``tdse_executor``, the compiled kernels imported into it.
    """
    compiled = compile_regions(graph, regions, threads=threads, bodies=bodies, processor=processor)
    return compiled.whole(expected_us).module()


def no_op_computes(graph: Graph, output: int) -> ModelError:
    """What is wrong with an output that is in no region: the index of its tensor."""
    return ModelError(
        f"output {graph.tensors[output].name!r} is computed by no operator",
        where=graph.name,
        why="it is a constant of the model, which cannot be an output of a runtime module",
        hint="remove this output from the model",
    )


def _plan(
    graph: Graph,
    inputs: Sequence[int],
    outputs: Sequence[int],
    regions: Sequence[Region],
    compiled: Sequence[CompiledRegion],
    threads: int,
) -> Plan:
    tensors: list[PlanTensor] = []
    position: dict[int, int] = {}

    def tensor_id(index: int) -> int:
        if index not in position:
            tensor = graph.tensors[index]
            position[index] = len(tensors)
            tensors.append(PlanTensor(tensor.name, tensor.dtype, tensor.shape))
        return position[index]

    input_ids = tuple(tensor_id(index) for index in inputs)
    plan_regions = []
    for region, result in zip(regions, compiled, strict=True):
        region_inputs = tuple(tensor_id(index) for index in result.inputs)
        region_outputs = tuple(tensor_id(index) for index in result.outputs)
        # The target numbers its local tensors from -1 downwards.
        first_local = len(tensors)
        tensors.extend(result.tensors)
        steps = tuple(
            dataclasses.replace(
                step,
                arguments=tuple(
                    tensor_id(a) if a >= 0 else first_local - a - 1 for a in step.arguments
                ),
            )
            for step in result.steps
        )
        # Where no kernel divides its work, the region leaves other threads alone.
        is_divided = not steps or any(step.iterations > 1 for step in steps)
        plan_regions.append(
            PlanRegion(
                name=f"region{region.index}_{region.device}",
                kind=result.kind,
                threads=threads if is_divided else 1,
                blob=result.blob,
                inputs=region_inputs,
                outputs=region_outputs,
                steps=steps,
                lanes=region.lanes,
            )
        )
    missing = [i for i in outputs if i not in position]
    if missing:
        raise no_op_computes(graph, missing[0])
    n_lanes = 1 + max((lane for region in regions for lane in region.lanes), default=0)
    are_copies = all(len(region.lanes) == n_lanes for region in regions)
    spin_us = SPIN_US if are_copies else _SPIN_WITHIN_RUN_US
    return Plan(
        tuple(tensors),
        input_ids,
        tuple(position[index] for index in outputs),
        tuple(plan_regions),
        tuple(PlanLane(f"cpu {lane}", spin_us=spin_us) for lane in range(n_lanes)),
    )
