"""Which operators edgetpu_compiler maps by itself, and what keeps the others off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tdse.edgetpu.limits import Refusal
from tdse.edgetpu.rules import RUNTIMES, refusal, works_on_floats
from tdse.graph.model import Graph

ONE_REGION = "More than one subgraph is not supported"


@dataclass(frozen=True)
class CompilerMapping:
    """What the compiler maps into its one region, and why not the rest.

    Attributes:
        mapped: operators in the region.
        refusals: operator to why the Edge TPU cannot run it.
        stranded: operator that it could run to the one that it comes behind.
        prefix: operators before the region, on floats, that it skips.
    """

    mapped: frozenset[int]
    refusals: Mapping[int, Refusal]
    stranded: Mapping[int, int]
    prefix: frozenset[int]

    def reason(self, graph: Graph, op: int) -> str:
        """Why the compiler leaves an operator out, in its words; empty if it does not."""
        if op in self.refusals:
            return str(self.refusals[op])
        if op in self.stranded:
            return f"{ONE_REGION}: it comes behind {graph.ops[self.stranded[op]].label}"
        return ""


def compiler_mapping(graph: Graph, runtime: int = RUNTIMES[-1]) -> CompilerMapping:
    """The compiler's default mapping.

    It makes one region: it skips operators on floats before anything else, takes all that it can,
    and stops at the first operators that it cannot take; what is behind any of them stays out.

    Args:
        graph: the model.
        runtime: version of the runtime, one of ``rules.RUNTIMES``.
    """
    found = {op: refusal(graph, op, runtime) for op in graph.placed_ops}
    refusals = {op: why for op, why in found.items() if why is not None}
    return _mapping(graph, refusals)


def would_help(graph: Graph, mapping: CompilerMapping) -> list[tuple[int, int, str]]:
    """Operators whose mapping would bring others along: (operator, how many more, remedy).

    Those that bring most come first.
    """
    gains = []
    for op in dict.fromkeys(mapping.stranded.values()):
        rest = {other: why for other, why in mapping.refusals.items() if other != op}
        more = len(_mapping(graph, rest).mapped) - len(mapping.mapped) - 1
        if more > 0:
            gains.append((op, more, mapping.refusals[op].remedy))
    return sorted(gains, key=lambda gain: -gain[1])


def _mapping(graph: Graph, refusals: Mapping[int, Refusal]) -> CompilerMapping:
    before: dict[int, list[int]] = {op: [] for op in graph.placed_ops}
    for source, op, _ in graph.edges:
        before[op].append(source)
    prefix: set[int] = set()
    blocked: dict[int, int] = {}
    mapped: set[int] = set()
    for op in graph.placed_ops:
        stops = [blocked[source] for source in before[op] if source in blocked]
        if op in refusals and prefix.issuperset(before[op]) and works_on_floats(graph, op):
            prefix.add(op)
        elif op in refusals:
            blocked[op] = op
        elif stops:
            blocked[op] = stops[0]
        else:
            mapped.add(op)
    stranded = {op: by for op, by in blocked.items() if op not in refusals}
    return CompilerMapping(frozenset(mapped), refusals, stranded, frozenset(prefix))
