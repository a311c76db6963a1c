"""How far results of the target llvm are from LiteRT's, operator kind by operator kind.

    python benchmarks/exactness.py [--kinds add,mean,...] [--operators 20] [--tensors 50]
        [--seed 0] [--json FILE]

Of each kind on 8-bit tensors, random operators are drawn as ``tdse profile`` draws them, each is
run on so many random inputs, and every element of its results is compared. "Steps" are of the
stored type, between neighbouring values. Bytes are drawn uniformly, from all or from a part of
their range.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tdse.assemble import compile_regions
from tdse.errors import TdseError
from tdse.graph.build import build_graph
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.activations import Array
from tdse.measure.excitation import KINDS, draw
from tdse.runtime.litert import invoke, make_interpreter
from tdse.targets import get_target

_BYTES = ("int8", "uint8")
# Operators that llvm cannot run are drawn anew, so often in all for each that is wanted.
_DRAWS = 3


@dataclass
class Row:
    """What was found for one kind.

    Attributes:
        kind: of the operators.
        dtype: of their results.
        operators: compared.
        refused: that LiteRT or ``llvm`` does not run.
        tensors: results compared.
        exact_tensors: those equal in every element.
        elements: of all results.
        exact_elements: those that are equal.
        steps: largest difference.
    """

    kind: str
    dtype: str
    operators: int = 0
    refused: int = 0
    tensors: int = 0
    exact_tensors: int = 0
    elements: int = 0
    exact_elements: int = 0
    steps: int = 0


def main() -> None:
    """Entry point."""
    arguments = _arguments()
    wanted = set(arguments.kinds.split(",")) if arguments.kinds else None
    console, rows = Console(stderr=True), []
    for position, (kind, dtype) in enumerate(KINDS):
        if dtype not in _BYTES or (wanted is not None and kind not in wanted):
            continue
        generator = np.random.default_rng([arguments.seed, position])
        row = _compare(kind, dtype, arguments.operators, arguments.tensors, generator)
        console.print(f"{kind} {dtype}: {row.steps} steps at most", highlight=False)
        rows.append(row)
    _print(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _compare(
    kind: str, dtype: str, operators: int, tensors: int, generator: np.random.Generator
) -> Row:
    row = Row(kind, dtype)
    llvm = get_target("llvm")
    while row.operators < operators and row.operators + row.refused < _DRAWS * operators:
        graph = build_graph(draw(generator, kind, dtype))
        try:
            interpreter = make_interpreter(graph.data)
            region = Region(0, llvm.name, graph.placed_ops)
            model = compile_regions(graph, [region], threads=1).whole().model()
        except (TdseError, RuntimeError, ValueError):
            row.refused += 1
            continue
        row.operators += 1
        for inputs in _inputs(graph, tensors, generator):
            expected, results = invoke(interpreter, inputs), model.run(inputs)
            for one, other in zip(results, expected, strict=True):
                _add(row, one, other)
    return row


def _inputs(graph: Graph, count: int, generator: np.random.Generator) -> Iterator[list[Array]]:
    for _ in range(count):
        values: list[Array] = []
        for tensor in (graph.tensors[index] for index in graph.inputs):
            if tensor.dtype not in _BYTES:
                values.append(generator.uniform(-4, 4, tensor.shape).astype(tensor.dtype))
                continue
            limits = np.iinfo(tensor.dtype)
            low, high = np.sort(generator.integers(limits.min, limits.max + 1, 2))
            if generator.random() < 0.5:
                low, high = limits.min, limits.max
            drawn = generator.integers(low, high, tensor.shape, endpoint=True)
            values.append(drawn.astype(tensor.dtype))
        yield values


def _add(row: Row, result: Array, expected: Array) -> None:
    difference = np.abs(result.astype(np.int64) - expected.astype(np.int64))
    row.tensors += 1
    row.exact_tensors += not difference.any()
    row.elements += difference.size
    row.exact_elements += int((difference == 0).sum())
    row.steps = max(row.steps, int(difference.max(initial=0)))


def _print(rows: list[Row]) -> None:
    table = Table(title="Results of llvm against LiteRT's")
    for name in ("kind", "dtype"):
        table.add_column(name)
    for name in ("operators", "refused", "tensors", "exact tensors", "exact elements", "steps"):
        table.add_column(name, justify="right")
    for row in rows:
        shares = (
            f"{100 * part / whole:.{digits}f} %" if whole else ""
            for part, whole, digits in (
                (row.exact_tensors, row.tensors, 1),
                (row.exact_elements, row.elements, 5),
            )
        )
        counts = map(str, (row.operators, row.refused, row.tensors))
        table.add_row(row.kind, row.dtype, *counts, *shares, str(row.steps))
    Console(width=120).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", help="only these, such as add,mean")
    parser.add_argument("--operators", type=int, default=20, help="of each kind and type")
    parser.add_argument("--tensors", type=int, default=50, help="random inputs of each operator")
    parser.add_argument("--seed", type=int, default=0, help="of operators and inputs")
    parser.add_argument("--json", type=Path, help="write all figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
