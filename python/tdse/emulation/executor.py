"""The executor of an emulated board: a plan whose regions keep their lanes for modelled times."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.assemble import no_op_computes
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.graph.slice import slice_model
from tdse.runtime import native
from tdse.runtime.emulated import Emulated, Step
from tdse.runtime.plan import BLOB_ALIGNMENT, Plan, PlanLane, PlanRegion, PlanTensor, time_limit_ms
from tdse.targets import get_target

KIND = "emulated"

Array = npt.NDArray[Any]


class _Result(IntEnum):
    """As ``EmulatedResult`` in cpp/executor/emulated_region.h."""

    CARRIED = 0
    RECORDED = 1
    LITERT = 2
    LITERT_INTERPRETER = 3


_HOST_KINDS = {_Result.LITERT: "litert", _Result.LITERT_INTERPRETER: "litert_interpreter"}


@dataclass(frozen=True)
class _Made:
    """How a step's results come about, the content of its blob, and the tensors at its borders."""

    how: _Result
    content: bytes
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class EmulatedExecutor:
    """A plan, and the kind of region that computes each step on this machine.

    Attributes:
        plan: of kind ``emulated`` throughout.
        host_kinds: of each step ``litert`` or ``litert_interpreter``; empty where nothing is
            computed.
    """

    plan: Plan
    host_kinds: tuple[str, ...]

    def module(self) -> Any:
        """A ``tvm_ffi`` module of kind ``tdse_executor``."""
        return native.create_executor(self.plan.to_bytes())


def emulated_executor(
    graph: Graph,
    emulated: Emulated,
    values: Mapping[int, Array],
    *,
    one_lane: bool = False,
    measured_us: float = 0.0,
) -> EmulatedExecutor:
    """The executor of a model on an emulated board.

    Args:
        graph: the model.
        emulated: what it does there, and how results come about.
        values: what is recorded of the model's outputs, tensor index to array; not looked at where
            results are computed.
        one_lane: one step after another, whatever lanes they are for.
        measured_us: what a run took on this machine, which may be slower than modelled; a lane's
            time limit allows for it.

    Raises:
        TargetError: LiteRT cannot run a region.
        ModelError: an output is computed by no operator.
    """
    planner = _Planner(graph)
    inputs = tuple(planner.tensor_id(tensor, 0) for tensor in graph.inputs)
    regions, host_kinds = [], []
    for step in emulated.steps:
        if emulated.mode == "timing":
            result = _recorded(graph, step, values)
        elif step.tensor is not None:
            result = _carried(step)
        else:
            result = _computed(graph, step)
        host_kinds.append(_HOST_KINDS.get(result.how, ""))
        regions.append(planner.region(step, (0,) if one_lane else step.lanes, result))
    outputs = tuple(planner.output_id(tensor) for tensor in graph.outputs)
    # A lane sleeps at once when there is nothing to do: to spin would use a CPU.
    names = [f"{emulated.board} (emulated)"] if one_lane else emulated.lanes
    limit_ms = time_limit_ms(max(emulated.sequential_us, measured_us), len(names))
    lanes_of_plan = tuple(PlanLane(name, spin_us=0, timeout_ms=limit_ms) for name in names)
    plan = Plan(
        tuple(planner.tensors),
        inputs,
        outputs,
        tuple(regions),
        lanes_of_plan,
        emulated.items_per_lane,
    )
    return EmulatedExecutor(plan, tuple(host_kinds))


def emulated_region(graph: Graph, ops: tuple[int, ...], modelled_us: float) -> EmulatedExecutor:
    """The executor of one region by itself, with results that LiteRT computes.

    Args:
        graph: the model.
        ops: the region's operators, ascending.
        modelled_us: what a run takes, transfers included.

    Raises:
        TargetError: LiteRT cannot run the region.
    """
    planner = _Planner(graph)
    step = Step(
        name="region", place="", lanes=(0,), start_us=0, modelled_us=modelled_us, memory=0, ops=ops
    )
    result = _computed(graph, step)
    region = planner.region(step, (0,), result)
    plan = Plan(tuple(planner.tensors), region.inputs, region.outputs, (region,))
    return EmulatedExecutor(plan, (_HOST_KINDS[result.how],))


class _Planner:
    """Tensors of a plan: one for each tensor of the model and memory that it is in."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.tensors: list[PlanTensor] = []
        self._ids: dict[tuple[int, int], int] = {}

    def tensor_id(self, index: int, memory: int) -> int:
        key = index, memory
        if key not in self._ids:
            tensor = self._graph.tensors[index]
            self._ids[key] = len(self.tensors)
            self.tensors.append(PlanTensor(tensor.name, tensor.dtype, tensor.shape))
        return self._ids[key]

    def output_id(self, index: int) -> int:
        """The tensor in the host's memory.

        Raises:
            ModelError: nothing computes it.
        """
        if (index, 0) not in self._ids:
            raise no_op_computes(self._graph, index)
        return self._ids[index, 0]

    def region(self, step: Step, lanes: tuple[int, ...], result: _Made) -> PlanRegion:
        source = step.memory if step.source is None else step.source
        read = tuple(self.tensor_id(t, source) for t in result.inputs)
        made = tuple(self.tensor_id(t, step.memory) for t in result.outputs)
        # As cpp/executor/emulated_region.h says.
        header = struct.pack("<QI", round(step.modelled_us * 1e3), result.how)
        blob = header.ljust(BLOB_ALIGNMENT, b"\0") + result.content
        return PlanRegion(step.name, KIND, 1, blob, read, made, lanes=lanes)


def _carried(step: Step) -> _Made:
    assert step.tensor is not None, "the step is a transfer"
    return _Made(_Result.CARRIED, b"", (step.tensor,), (step.tensor,))


def _recorded(graph: Graph, step: Step, values: Mapping[int, Array]) -> _Made:
    """Of what the step makes, the outputs of the model in the host's memory are replayed."""
    borders = slice_model(graph, step.ops) if step.tensor is None else _carried(step)
    given = [step.memory == 0 and tensor in graph.outputs for tensor in borders.outputs]
    content = bytes(given) + b"".join(
        np.ascontiguousarray(values[tensor]).tobytes()
        for tensor, is_given in zip(borders.outputs, given, strict=True)
        if is_given
    )
    return _Made(_Result.RECORDED, content, borders.inputs, borders.outputs)


def _computed(graph: Graph, step: Step) -> _Made:
    region = Region(0, "litert", step.ops)
    compiled = get_target("litert").compile(graph, [region], 1).regions[0]
    assert compiled.blob is not None, "LiteRT's regions are slices"
    how = next(how for how, kind in _HOST_KINDS.items() if kind == compiled.kind)
    return _Made(how, compiled.blob, compiled.inputs, compiled.outputs)
