"""Hold the Edge TPU's rules against what edgetpu_compiler made of models.

Run ``python benchmarks/edgetpu_twins.py MODEL_edgetpu.tflite ...``. Beside each must be the
``MODEL.tflite`` that it was compiled from, as in Coral's test data. For each it prints how many
operators tdse and the compiler map into the one region that the compiler makes, every operator on
which they differ, and how far the estimate of parameters is off from what the package holds.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tdse.edgetpu.mapping import compiler_mapping
from tdse.edgetpu.package import CUSTOM_OP, read_package
from tdse.edgetpu.parameters import parameter_bytes
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite


def mapped_by_compiler(graph: Graph, twin: Graph) -> frozenset[int]:
    """Operators of ``graph`` that are not in ``twin`` any more; names of results tell."""
    left = {
        twin.tensors[tensor].name
        for op in twin.ops
        if op.tflite_name != CUSTOM_OP
        for tensor in op.outputs
    }
    return frozenset(
        op
        for op in graph.placed_ops
        if not any(graph.tensors[tensor].name in left for tensor in graph.ops[op].outputs)
    )


def main() -> None:
    """Print a line for each twin, and what differs."""
    for path in map(Path, sys.argv[1:]):
        twin = read_tflite(path)
        graph = read_tflite(path.with_name(path.name.replace("_edgetpu", "")))
        theirs, ours = mapped_by_compiler(graph, twin), compiler_mapping(graph)
        custom = next(op.index for op in twin.ops if op.tflite_name == CUSTOM_OP)
        held = read_package(twin, custom).cached_bytes
        estimated = sum(parameter_bytes(graph, op) for op in ours.mapped)
        print(
            f"{graph.name}: of {len(graph.placed_ops)} operators the compiler maps {len(theirs)}, "
            f"tdse {len(ours.mapped)}, {len(theirs ^ ours.mapped)} differ; parameters {held} "
            f"bytes, estimated {estimated} ({estimated / max(held, 1) - 1:+.2%})"
        )
        for op in sorted(theirs ^ ours.mapped):
            why = ours.reason(graph, op) or "the compiler left it out"
            print(f"  {graph.ops[op].label}: {why}")


if __name__ == "__main__":
    main()
