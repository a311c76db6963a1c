"""What the targets that TVM compiles for have in common.

An operator becomes one or a few kernels that the executor calls in order, without TVM's virtual
machine. TVM imports it, as a rule; some operators have kernels of their own on some targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm

from tdse.errors import TargetError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.runtime.plan import PlanTensor, Step

from .base import CompiledRegion, CompiledRegions, Support, Variant
from .byte_tables import table_groups
from .llvm_build import KernelSet
from .llvm_import import import_op
from .llvm_lower import Constant, KernelCall, Local, lower_bodies
from .llvm_support import support_form

# A Relax function, or a module with a function `main`, for each of some operators.
Bodies = Mapping[int, Any]


@dataclass
class _Calls:
    """Kernel calls of a model's operators, as far as they were needed.

    Attributes:
        sha256: the model's.
        own: calls of kernels that are written for operators; none where there are none.
        lowered: calls that TVM made of operators which it saw together.
    """

    sha256: str = ""
    own: dict[tuple[int, ...], tuple[KernelCall, ...]] = field(default_factory=dict)
    lowered: dict[tuple[int, ...], list[KernelCall]] = field(default_factory=dict)


class TvmTarget(ABC):
    """Kernels compiled with TVM.

    Args:
        name: the target's.
        kind: the executor's kind of its regions.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind
        self._support: dict[str, Support] = {}
        self._kernels = self._kernel_set()
        self._calls = _Calls()

    @property
    @abstractmethod
    def tvm_target(self) -> tvm.target.Target:
        """What the kernels are compiled for."""

    @property
    def check_target(self) -> tvm.target.Target:
        """What they are compiled for to see whether they can be, as cheaply as can be."""
        return self.tvm_target

    @abstractmethod
    def available(self) -> Support:
        """Whether this machine has what the target needs."""

    @abstractmethod
    def schedule(self, function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
        """The kernel with loops in an order, and bound to threads, that suit the target."""

    def divided(self, function: tvm.tirx.PrimFunc) -> tuple[tvm.tirx.PrimFunc, int]:
        """The scheduled kernel, and the iterations that threads may divide; 0: none.

        One with some takes the first iteration of a call, and the one after its last, as two more
        arguments.
        """
        return self.schedule(function), 0

    @abstractmethod
    def own_calls(self, graph: Graph, ops: tuple[int, ...]) -> tuple[KernelCall, ...]:
        """The calls of kernels that are written for one operator, or for a group; none without any.

        A group is one of ``table_groups``.
        """

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """One thread: that of the caller, whose kernels are not divided among the CPU's threads."""
        return (Variant(self.name, 1),)

    def supports(self, graph: Graph, op_index: int) -> Support:
        """Whether the operator becomes kernels that TVM compiles, and if not, TVM's reason."""
        if graph.whole_reason:
            return Support(False, f"the model can only run whole: {graph.whole_reason}")
        form = support_form(graph, op_index)
        if form not in self._support:
            self._support[form] = self._try_op(graph, op_index)
        return self._support[form]

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Compile ``regions`` from TVM's import of their operators.

        Kernels that this process has compiled before are taken from then, so that candidates
        which have much in common, and operators that were measured, are cheap to build.

        Args:
            graph: a model that was read from a flatbuffer.
            regions: in any order.
            threads: makes no difference to the code.

        Raises:
            TargetError: TVM cannot import, lower or compile an operator; ``why`` is its reason.
        """
        if self._calls.sha256 != graph.sha256:
            # Candidates of one model are compiled one after the other; the last model's are over.
            self._calls = _Calls(graph.sha256)
        return self._compile(
            graph, regions, lambda op: import_op(graph, op), self._kernels, self._calls
        )

    def compile_bodies(
        self, graph: Graph, regions: Sequence[Region], bodies: Bodies, threads: int
    ) -> CompiledRegions:
        """Compile ``regions`` into one library, from bodies that the caller has.

        Args:
            graph: the model; where it was read from a flatbuffer, operators that have kernels of
                their own get these, and their bodies are not looked at.
            regions: in any order.
            bodies: for each operator of ``regions``, a Relax function, or a module with a function
                ``main``, that takes the inputs of the operator's slice and returns its outputs.
            threads: makes no difference to the code.

        Raises:
            TargetError: TVM cannot lower or compile an operator; ``why`` is its reason.
        """
        return self._compile(graph, regions, bodies.__getitem__, self._kernel_set(), _Calls())

    def _forget_calls(self) -> None:
        """Have kernels of the last model made anew, as they would be other ones now."""
        self._calls = _Calls()

    def _kernel_set(self) -> KernelSet:
        return KernelSet(self.name)

    def _try_op(self, graph: Graph, op_index: int) -> Support:
        kernels = self._kernel_set()
        try:
            for call in self._lower(graph, (op_index,), lambda op: import_op(graph, op), _Calls()):
                kernels.add(call.function)
            kernels.check(self.check_target)
        except TargetError as error:
            return Support(False, error.why or error.what)
        return Support(True)

    def _compile(
        self,
        graph: Graph,
        regions: Sequence[Region],
        body_of: Callable[[int], Any],
        kernels: KernelSet,
        known: _Calls,
    ) -> CompiledRegions:
        compiled = tuple(
            self._assemble(graph, region, self._lower(graph, region.ops, body_of, known), kernels)
            for region in regions
        )
        symbols = (step.symbol for region in compiled for step in region.steps)
        return CompiledRegions(compiled, kernels.build(symbols, self.tvm_target))

    def _lower(
        self, graph: Graph, ops: Sequence[int], body_of: Callable[[int], Any], known: _Calls
    ) -> list[KernelCall]:
        """Kernel calls of some operators; TVM sees those between two own kernels together.

        What is in ``known`` is taken from there, and the rest is added to it.
        """
        runs: list[tuple[int, ...]] = []
        waiting: list[int] = []
        for group in table_groups(graph, ops):
            alone = [(op,) for op in group]
            for part in [group] if self._own(graph, group, known) else alone:
                if not self._own(graph, part, known):
                    waiting.extend(part)
                    continue
                if waiting:
                    runs.append(tuple(waiting))
                    waiting.clear()
                runs.append(part)
        if waiting:
            runs.append(tuple(waiting))
        calls: list[KernelCall] = []
        for run in runs:
            own = known.own.get(run)
            if own:
                calls.extend(own)
                continue
            if run not in known.lowered:
                bodies = {op: body_of(op) for op in run}
                known.lowered[run] = lower_bodies(graph, run, bodies, self.tvm_target, self.divided)
            calls.extend(known.lowered[run])
        return calls

    def _own(self, graph: Graph, ops: tuple[int, ...], known: _Calls) -> tuple[KernelCall, ...]:
        """``own_calls``, made once."""
        if ops not in known.own:
            known.own[ops] = self.own_calls(graph, ops)
        return known.own[ops]

    def _assemble(
        self, graph: Graph, region: Region, calls: Iterable[KernelCall], kernels: KernelSet
    ) -> CompiledRegion:
        """The region's kernel calls in the executor's terms."""
        inputs, outputs = op_border(graph, region.ops)
        tensors: list[PlanTensor] = []
        position: dict[object, int] = {}

        def argument(value: int | Local | Constant) -> int:
            if isinstance(value, int):
                return value
            # Constants are told apart by what they hold, so that equal ones are stored once.
            key = _constant_key(value) if isinstance(value, Constant) else value
            if key not in position:
                position[key] = -len(tensors) - 1
                tensors.append(_plan_tensor(value, f"region{region.index}_{len(tensors)}"))
            return position[key]

        steps = tuple(
            Step(
                kernels.add(call.function),
                tuple(argument(value) for value in call.arguments),
                call.iterations,
            )
            for call in calls
        )
        return CompiledRegion(self._kind, None, inputs, outputs, tuple(tensors), steps)


def _constant_key(constant: Constant) -> tuple[str, tuple[int, ...], bytes]:
    value = constant.value
    return str(value.dtype), value.shape, np.ascontiguousarray(value).tobytes()


def _plan_tensor(value: Local | Constant, name: str) -> PlanTensor:
    if isinstance(value, Local):
        return PlanTensor(name, value.dtype, value.shape)
    array = np.ascontiguousarray(value.value)
    return PlanTensor(name, str(array.dtype), value.value.shape, array.tobytes())
