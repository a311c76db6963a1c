"""TVM's own code for the CPU, compiled with LLVM.

Some operators on 8-bit tensors have kernels of their own (``llvm_own``); the rest is what TVM makes
of the operator. Threads may divide convolutions and elementwise kernels, all else runs on the
caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import tvm

from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.platform.model import Device

from .base import CompiledRegions, Support, Variant, cpu_thread_counts
from .llvm_arithmetic import Arithmetic
from .llvm_conv import Conv, Tiles, conv_arithmetic, conv_of
from .llvm_conv_tiles import ranked_tiles
from .llvm_import import import_op
from .llvm_isa import Isa, host_isa, isa_of_device
from .llvm_lower import KernelCall
from .llvm_own import conv_calls, own_calls
from .llvm_schedule import divide_kernel, schedule_kernel
from .llvm_tuned import TunedTiles, find_tuned, keep_tuned
from .tvm_target import TvmTarget

__all__ = ["LlvmTarget", "import_op"]


@dataclass(frozen=True)
class TunableConv:
    """A kernel that can be built in several ways; equal ones are of operators that share it.

    Attributes:
        shape: geometry.
        how: arithmetic.
        tiles: the ways, the best by a model of a core first.
    """

    shape: Conv
    how: Arithmetic
    tiles: tuple[Tiles, ...]


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

    def own_calls(self, graph: Graph, ops: tuple[int, ...]) -> tuple[KernelCall, ...]:
        """See ``llvm_own``."""
        return own_calls(graph, ops, self._isa)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """Thread counts in powers of two, and all cores."""
        return tuple(Variant(self.name, n) for n in cpu_thread_counts(cores))

    def tunable(self, graph: Graph, op_index: int) -> TunableConv | None:
        """The operator's kernel, if there is more than one way to build it."""
        op = graph.ops[op_index]
        shape = conv_of(graph, op)
        if shape is None:
            return None
        how = conv_arithmetic(graph, op, shape, self._isa)
        tiles = tuple(ranked_tiles(shape, how, self._isa))
        return TunableConv(shape, how, tiles) if len(tiles) > 1 else None

    def tuned(self, conv: TunableConv) -> TunedTiles | None:
        """What tuning found for a kernel, in this process or an earlier one."""
        return find_tuned(conv.shape, conv.how, self._isa)

    def keep_tuned(self, conv: TunableConv, tuned: TunedTiles) -> None:
        """Build the kernel so from now on, here and in later processes."""
        keep_tuned(conv.shape, conv.how, self._isa, tuned)
        self._forget_calls()

    def compile_trials(
        self, graph: Graph, op_index: int, conv: TunableConv, tiles: Sequence[Tiles]
    ) -> CompiledRegions:
        """The operator once for each of ``tiles``, as regions of it alone.

        Raises:
            TargetError: TVM cannot compile one of them.
        """
        op, kernels = graph.ops[op_index], self._kernel_set()
        regions = tuple(
            self._assemble(
                graph,
                Region(0, self.name, (op_index,)),
                conv_calls(graph, op, conv.shape, conv.how, each, self._isa),
                kernels,
            )
            for each in tiles
        )
        symbols = [step.symbol for region in regions for step in region.steps]
        return CompiledRegions(regions, kernels.build(symbols, self.tvm_target))

    @property
    def _isa(self) -> Isa:
        return self._given_isa or host_isa()


@cache
def _of_processor(processor: Device) -> LlvmTarget:
    return LlvmTarget(isa_of_device(processor))
