"""How many placements the search evaluates in a second on one core, by number of operators.

    python benchmarks/evaluate.py [--devices 4] [--ops 100 500 2000 5000] [--json FILE]

Each figure is the median of several runs over random placements of one random instance: once with
every operator's variant drawn alone, which makes almost as many regions as operators, and once with
neighbours mostly alike, as the search has them.
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

from instances import SHAPES, draw_variants, make_instance

from tdse.search.native import Evaluator

_REPEATS = 7
# Operators evaluated in one run.
_OPS_PER_RUN = 1_000_000


@dataclass(frozen=True)
class Figure:
    """One instance and kind of placements."""

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
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    figures = [
        measure(shape, n_ops, arguments.devices, clustered=clustered)
        for shape in SHAPES
        for clustered in (True, False)
        for n_ops in arguments.ops
    ]
    _print(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")


def measure(shape: str, n_ops: int, n_devices: int, *, clustered: bool) -> Figure:
    """The median of several runs."""
    problem = make_instance(1, n_ops, n_devices, shape=shape)
    evaluator = Evaluator(problem)
    count = max(10, _OPS_PER_RUN // n_ops)
    variants = draw_variants(np.random.default_rng(0), problem, count, clustered=clustered)
    times_s = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        result = evaluator.evaluate(variants)
        times_s.append(time.perf_counter() - begun)
    median_s = statistics.median(times_s)
    return Figure(
        shape,
        "alike" if clustered else "alone",
        n_ops,
        n_devices,
        float(result.n_regions.mean()),
        count / median_s,
        median_s / count / n_ops * 1e9,
    )


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
