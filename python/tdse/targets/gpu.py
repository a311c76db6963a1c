"""What the targets for GPUs share: TVM's import, with TVM's own schedules for GPUs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import tvm
from tvm.s_tir import Schedule, dlight
from tvm.s_tir.schedule import SBlockRV

from tdse.graph.model import Graph
from tdse.quiet import quiet_stderr
from tdse.runtime import native

from .gpu_own import own_call
from .llvm_inline import UnsupportedError
from .llvm_isa import host_isa
from .llvm_lower import KernelCall
from .tvm_errors import IMPORT_ERRORS, reason_of
from .tvm_target import TvmTarget

# Each kernel gets the first that fits it, from special to general.
_RULES = (
    dlight.gpu.Matmul(),
    dlight.gpu.GEMV(),
    dlight.gpu.Reduction(),
    dlight.gpu.GeneralReduction(),
    dlight.gpu.Fallback(),
)
# Most of these share each sum among a few hundred threads, which must be worth it: a window of a
# depthwise convolution has a few elements, and one thread adds them up sooner.
_SHORT_SUM = 128
_RULES_OF_SHORT_SUMS = (dlight.gpu.Matmul(), dlight.gpu.Fallback())

# Threads of a work-group where each thread computes a result: every device has as many.
_THREADS = 256

# Given a number of bytes, makes buffers of that size and gives what carries them once.
Transfer = Callable[[int], Callable[[], object]]


class GpuTarget(TvmTarget):
    """Kernels for a GPU, compiled with TVM; the CPU's part of them launches these.

    Args:
        name: the target's.
        device: that runs the kernels, as TVM names and numbers it.
    """

    def __init__(self, name: str, device: tuple[str, int]) -> None:
        kind, number = device
        super().__init__(name, kind if number == 0 else f"{kind}:{number}")
        self._device = device
        # TVM makes its modules of kernels with what registers here.
        native.load_runtime()

    @property
    @abstractmethod
    def tvm_target(self) -> tvm.target.Target:
        """The GPU, with this machine's processor as its host."""

    def schedule(self, function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
        """The kernel with its loops bound to the threads of the GPU, by TVM's own rules."""
        module = tvm.IRModule({"main": function})
        try:
            schedule = Schedule(module)
            sums = _sums(schedule)
            if 1 in sums:
                # TVM's rules take it for no sum, and put what follows it both into its beginning
                # and into its end: a bias is added twice.
                return _bound(schedule)
            rules = _RULES if max(sums, default=0) > _SHORT_SUM else _RULES_OF_SHORT_SUMS
            with self.tvm_target, quiet_stderr():
                return dlight.ApplyDefaultSchedule(*rules)(module)["main"]
        except IMPORT_ERRORS as error:
            raise UnsupportedError(reason_of(error)) from None

    def transfers(self) -> tuple[Transfer, Transfer]:
        """To the device, and from it."""
        device = tvm.device(*self._device)

        def to_device(size: int) -> Callable[[], object]:
            there, here = tvm.runtime.empty((size,), "uint8", device), np.zeros(size, np.uint8)
            return lambda: there.copyfrom(here)

        def from_device(size: int) -> Callable[[], object]:
            there = tvm.runtime.empty((size,), "uint8", device)
            return there.numpy

        return to_device, from_device

    def own_calls(self, graph: Graph, ops: tuple[int, ...]) -> tuple[KernelCall, ...]:
        """See ``gpu_own``."""
        call = own_call(graph, ops)
        if call is None:
            return ()
        return (KernelCall(self.schedule(call.function), call.arguments),)


def host_target() -> tvm.target.Target:
    """The processor that launches the kernels."""
    return host_isa().target


def _sums(schedule: Schedule) -> list[int]:
    """How many elements each stage that is a sum adds up for one of its results."""
    statements = [schedule.get(stage) for stage in _stages(schedule)]
    return [
        math.prod(
            int(variable.dom.extent)
            for variable in statement.iter_vars
            if variable.iter_type == tvm.tirx.IterVar.CommReduce
        )
        for statement in statements
        if statement.init is not None
    ]


def _bound(schedule: Schedule) -> tvm.tirx.PrimFunc:
    """The kernel ``main`` with the results of each stage computed by a thread each."""
    for stage in _stages(schedule):
        loops = schedule.get_loops(stage)
        kinds = [variable.iter_type for variable in schedule.get(stage).iter_vars]
        results = [x for x, k in zip(loops, kinds, strict=True) if k == tvm.tirx.IterVar.DataPar]
        summed = [x for x, k in zip(loops, kinds, strict=True) if k != tvm.tirx.IterVar.DataPar]
        results = results or [schedule.add_unit_loop(stage)]
        schedule.reorder(*results, *summed)
        block, thread = schedule.split(schedule.fuse(*results), [None, _THREADS])
        schedule.bind(block, "blockIdx.x")
        schedule.bind(thread, "threadIdx.x")
    return schedule.mod["main"]


def _stages(schedule: Schedule) -> list[SBlockRV]:
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))
