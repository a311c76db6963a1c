"""TVM's own code for the CPU, compiled with LLVM.

Some operators on 8-bit tensors have kernels of their own (``llvm_own``); the rest is what TVM makes
of the operator. Threads may divide convolutions and elementwise kernels, all else runs on the
caller's.
"""

from __future__ import annotations

from functools import cache

import tvm

from tdse.graph.model import Graph, Op
from tdse.platform.model import Device

from .base import Support, Variant, cpu_thread_counts
from .llvm_import import import_op
from .llvm_isa import Isa, host_isa, isa_of_device
from .llvm_lower import KernelCall
from .llvm_own import own_calls
from .llvm_schedule import divide_kernel, schedule_kernel
from .llvm_table import table_values
from .tvm_target import TvmTarget

__all__ = ["LlvmTarget", "import_op", "table_values"]


class LlvmTarget(TvmTarget):
    """Kernels compiled with TVM and LLVM.

    Args:
        isa: the processor to compile for; the one of this machine by default.
    """

    def __init__(self, isa: Isa | None = None) -> None:
        super().__init__("llvm", "tvm")
        self._given_isa = isa

    def for_processor(self, processor: Device) -> LlvmTarget:
        """The target that compiles for another processor; the same object every time."""
        return _of_processor(processor)

    def available(self) -> Support:
        """Whether the installed TVM compiles with LLVM."""
        if not tvm.runtime.enabled("llvm"):
            return Support(False, "the installed apache-tvm is built without LLVM")
        return Support(True)

    @property
    def tvm_target(self) -> tvm.target.Target:
        """The processor."""
        return self._isa.target

    @property
    def check_target(self) -> tvm.target.Target:
        """The processor, for code that is not optimised."""
        options = dict(self._isa.target.attrs)
        return tvm.target.Target({"kind": "llvm", **options, "opt-level": 0})

    def schedule(self, function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
        """See ``llvm_schedule``."""
        return schedule_kernel(function)

    def divided(self, function: tvm.tirx.PrimFunc) -> tuple[tvm.tirx.PrimFunc, int]:
        """See ``llvm_schedule``."""
        return divide_kernel(schedule_kernel(function))

    def own_calls(self, graph: Graph, op: Op) -> tuple[KernelCall, ...]:
        """See ``llvm_own``."""
        return own_calls(graph, op, self._isa)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """Thread counts in powers of two, and all cores."""
        return tuple(Variant(self.name, n) for n in cpu_thread_counts(cores))

    @property
    def _isa(self) -> Isa:
        return self._given_isa or host_isa()


@cache
def _of_processor(processor: Device) -> LlvmTarget:
    return LlvmTarget(isa_of_device(processor))
