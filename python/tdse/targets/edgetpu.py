"""The Edge TPU, through Google's edgetpu_compiler and libedgetpu (Codegen ``edgetpu``).

A region is a slice of the model's flatbuffer. The compiler must map all of it. All regions of one
Edge TPU are compiled together, so that they share its memory for parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tdse.edgetpu import package, rules
from tdse.edgetpu.blob import Compiled
from tdse.edgetpu.compiler import compile_slices, find_compiler, why_no_compiler
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.platform.model import Device
from tdse.runtime.edgetpu import KIND

from .base import CompiledRegion, CompiledRegions, Support, Variant, cut_region


class EdgetpuTarget:
    """Slices of the model, compiled by edgetpu_compiler.

    Attributes:
        name: ``edgetpu``, or ``edgetpu:1`` for the second one, or ``edgetpu:1@13`` for one with an
            older runtime than the newest.
        number: of the Edge TPU.
        runtime: version of its runtime.
    """

    def __init__(self, which: str = "0") -> None:
        """For one Edge TPU.

        Args:
            which: what is behind the colon of the name.

        Raises:
            TargetError: it names no Edge TPU, or a runtime that is not known.
        """
        number, _, runtime = which.partition("@")
        runtime = runtime or str(rules.RUNTIMES[-1])
        if not number.isdecimal() or runtime not in map(str, rules.RUNTIMES):
            raise TargetError(
                f"there is no Edge TPU {which!r}", hint="say edgetpu, edgetpu:1 or edgetpu:1@13"
            )
        self.number, self.runtime = int(number), int(runtime)
        self.name = edgetpu_name(self.number, self.runtime)

    def available(self) -> Support:
        """Whether there is a compiler; whether there is an Edge TPU is found out at loading."""
        return Support(True) if find_compiler() else Support(False, why_no_compiler())

    def variants(self, cores: int) -> tuple[Variant, ...]:
        """One: the host's cores play no part."""
        return (Variant(self.name, 1),)

    def for_processor(self, processor: Device) -> EdgetpuTarget:
        """The same: an Edge TPU's code has nothing of the processor beside it."""
        return self

    def supports(self, graph: Graph, op_index: int) -> Support:
        """By the table in ``tdse.edgetpu.rules``; what the compiler says comes later."""
        refused = rules.refusal(graph, op_index, self.runtime)
        return Support(True) if refused is None else Support(False, str(refused))

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Compile regions together; what a model brings compiled is taken as it is.

        Raises:
            TargetError: a region cannot be cut out, or one of the compiler's kinds.
        """
        pieces = [cut_region(graph, region) for region in regions]
        is_done = [package.is_compiled_region(graph, region.ops) for region in regions]
        waiting = tuple(p.data for p, done in zip(pieces, is_done, strict=True) if not done)
        made = iter(
            compile_slices(waiting, runtime=self.runtime, where=graph.name) if waiting else ()
        )
        compiled = [
            Compiled(b"", piece.data, "", _runtime(graph, region)) if done else next(made)
            for piece, region, done in zip(pieces, regions, is_done, strict=True)
        ]
        return CompiledRegions(
            tuple(
                CompiledRegion(
                    KIND,
                    dataclasses.replace(each, device=self.number).to_bytes(),
                    piece.inputs,
                    piece.outputs,
                )
                for piece, each in zip(pieces, compiled, strict=True)
            )
        )


def edgetpu_name(number: int, runtime: int) -> str:
    """The target's name for an Edge TPU.

    Args:
        number: of the Edge TPU.
        runtime: version of its runtime.
    """
    if runtime != rules.RUNTIMES[-1]:
        return f"{KIND}:{number}@{runtime}"
    return f"{KIND}:{number}" if number else KIND


def _runtime(graph: Graph, region: Region) -> int:
    return package.read_package(graph, region.ops[0]).runtime
