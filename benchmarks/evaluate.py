"""How many placements the search evaluates in a second on one core, by number of operators.

    python benchmarks/evaluate.py [--devices 4] [--ops 100 500 2000 5000] [--tight] [--json FILE]

Each figure is the median of several random instances, and of several runs over random placements
of each, in processor time: once with every operator's variant drawn alone, which makes almost as
many regions as operators, and once with neighbours mostly alike, as the search has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "search"))

from instances import SHAPES, Shape, draw_variants, make_instance

from tdse.search import Problem
from tdse.search.native import Evaluator

_REPEATS = 5
_SEEDS = (1, 2, 3, 4, 5)
# Operators evaluated in one run.
_OPS_PER_RUN = 300_000


@dataclass(frozen=True)
class Figure:
    """One shape of graphs and kind of placements."""

    shape: str
    placements: str
    n_ops: int
    n_devices: int
    regions: float
    evaluations_per_s: float
    ns_per_op: float


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--ops", type=int, nargs="+", default=[100, 500, 2000, 5000])
    parser.add_argument("--tight", action="store_true", help="with all rules and limits")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    figures = [
        measure(shape, n_ops, arguments.devices, clustered=clustered, tight=arguments.tight)
        for shape in SHAPES
        for clustered in (True, False)
        for n_ops in arguments.ops
    ]
    _print(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")


def measure(shape: Shape, n_ops: int, n_devices: int, *, clustered: bool, tight: bool) -> Figure:
    """The median of several instances."""
    problems = [make_instance(seed, n_ops, n_devices, shape=shape, tight=tight) for seed in _SEEDS]
    rows = [_measure(problem, clustered=clustered) for problem in problems]
    seconds, regions = (statistics.median(column) for column in zip(*rows, strict=True))
    placements = "alike" if clustered else "alone"
    return Figure(shape, placements, n_ops, n_devices, regions, 1 / seconds, seconds / n_ops * 1e9)


def _measure(problem: Problem, *, clustered: bool) -> tuple[float, float]:
    """Seconds for each placement of a problem, and its regions."""
    evaluator = Evaluator(problem)
    count = max(10, _OPS_PER_RUN // problem.n_ops)
    variants = draw_variants(np.random.default_rng(0), problem, count, clustered=clustered)
    times_s = []
    for _ in range(_REPEATS):
        begun = time.thread_time()
        result = evaluator.evaluate(variants)
        times_s.append(time.thread_time() - begun)
    return statistics.median(times_s) / count, float(result.n_regions.mean())


def _print(figures: list[Figure]) -> None:
    table = Table("graph", "variants", "ops", "regions", "evaluations/s", "ns/op")
    for one in figures:
        table.add_row(
            one.shape,
            one.placements,
            str(one.n_ops),
            f"{one.regions:.1f}",
            f"{one.evaluations_per_s:,.0f}",
            f"{one.ns_per_op:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
