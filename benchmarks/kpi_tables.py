"""How far predictions of memory and interference are from measurements.

    python benchmarks/kpi_tables.py memory MODEL_OR_DIRECTORY... [--fit CHAINS]
    python benchmarks/kpi_tables.py interference MODEL_OR_DIRECTORY... [--pairs N] [--seconds S]

``memory`` builds each model whole on LiteRT, with one and two threads, and on a random placement on
both targets, and runs each in a fresh process. With ``--fit``, the coefficients of the prediction
are first fitted to so many random chains, and printed. ``interference`` learns from the pairs of
random operators in the record store, of which it measures more, and is judged on pairs of the
models' operators and parts, which it has not learnt from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tdse.assemble import compile_regions
from tdse.cost.memory import COEFFICIENTS, MemoryEstimate, estimate_memory, memory_terms
from tdse.errors import TdseError
from tdse.graph.build import build_graph
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, form_regions
from tdse.link import write_library
from tdse.measure.chains import draw_chain, with_half_weights
from tdse.measure.memory import MemoryReading, measure_memory
from tdse.relax.build import wrap_in_vm
from tdse.targets import get_target


@dataclass(frozen=True)
class MemoryRow:
    """A placement's memory, bytes, and relative errors of the prediction."""

    model: str
    placement: str
    reading: MemoryReading
    estimate: MemoryEstimate

    @property
    def peak_error(self) -> float:
        """Of the largest resident memory."""
        return self.estimate.peak_bytes / self.reading.peak_bytes - 1

    @property
    def model_error(self) -> float:
        """Of what the model itself takes, which is harder: libraries are left out on both sides."""
        measured = self.reading.private_bytes - self.reading.runtime_private_bytes
        return self.estimate.model_bytes / measured - 1


def memory_table(models: Iterable[Path]) -> list[MemoryRow]:
    """Measure and predict each model on LiteRT with 1 and 2 threads, and on a mixed placement."""
    rows = []
    for path in models:
        graph = read_tflite(path)
        whole = form_regions(graph, dict.fromkeys(graph.placed_ops, "litert"))
        placements = [("litert x1", whole, 1), ("litert x2", whole, 2)]
        if not graph.whole_reason:
            placements.append(("mixed x1", mixed_placement(graph, seed=7), 1))
        for name, regions, threads in placements:
            try:
                reading = _read(graph, regions, threads)
            except TdseError as error:
                print(f"{path.name}, {name}: {error}", file=sys.stderr)
                continue
            rows.append(MemoryRow(path.stem, name, reading, estimate_memory(graph, regions)))
    return rows


def mixed_placement(graph: Graph, seed: int) -> tuple[Region, ...]:
    """Regions of a random placement on ``litert`` and, where it is legal, on ``llvm``."""
    generator = np.random.default_rng(seed)
    target = get_target("llvm")
    share, current, assignment = generator.choice((0.1, 0.3, 0.6, 1.0)), "litert", {}
    for op in graph.placed_ops:
        if generator.random() < 0.3:
            current = "llvm" if generator.random() < share else "litert"
        assignment[op] = current if target.supports(graph, op).ok else "litert"
    return form_regions(graph, assignment)


def fit_memory(chains: int) -> Mapping[str, float]:
    """Coefficients fitted to random chains: a third of them placed on both targets."""
    terms, sizes = [], []
    for seed in range(chains):
        generator = np.random.default_rng(seed)
        dtype = ("float32", "int8")[seed % 2]
        configuration = draw_chain(generator, dtype, int(generator.integers(1, 30)))
        halved = dtype == "float32" and seed % 4 == 0
        graph = with_half_weights(configuration) if halved else build_graph(configuration)
        if seed % 3 == 0:
            regions = mixed_placement(graph, seed)
        else:
            regions = form_regions(graph, dict.fromkeys(graph.placed_ops, "litert"))
        reading = _read(graph, regions, 1)
        terms.append(memory_terms(graph, regions))
        sizes.append(reading.private_bytes - reading.runtime_private_bytes)
    return fit_relative(terms, sizes)


def fit_relative(
    terms: Sequence[Mapping[str, float]], sizes: Sequence[float]
) -> Mapping[str, float]:
    """Non-negative coefficients of named terms with the least squared relative error."""
    from scipy.optimize import nnls

    names = list(COEFFICIENTS)
    rows = np.array([[term[name] for name in names] for term in terms]) / np.array(sizes)[:, None]
    scale = np.maximum(rows.max(axis=0), 1e-12)
    found, _ = nnls(rows / scale, np.ones(len(sizes)))
    return dict(zip(names, (found / scale).tolist(), strict=True))


def _read(graph: Graph, regions: Sequence[Region], threads: int) -> MemoryReading:
    compiled = compile_regions(graph, regions, threads=threads)
    with tempfile.TemporaryDirectory(prefix="tdse-memory-") as directory:
        module = Path(directory) / "model.so"
        write_library(wrap_in_vm(compiled.whole().module(), graph), module)
        return measure_memory(module)


def _print_memory(rows: Sequence[MemoryRow]) -> None:
    table = Table("model", "placement", "peak MiB", "predicted", "error", "model MiB", "error")
    for row in rows:
        own = row.reading.private_bytes - row.reading.runtime_private_bytes
        table.add_row(
            row.model,
            row.placement,
            f"{row.reading.peak_bytes / 2**20:.1f}",
            f"{row.estimate.peak_bytes / 2**20:.1f}",
            f"{row.peak_error:+.1%}",
            f"{own / 2**20:.1f}",
            f"{row.model_error:+.1%}",
        )
    Console(width=120).print(table)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("memory", "interference"))
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--fit", type=int, default=0)
    arguments = parser.parse_args()
    models = [
        model
        for path in arguments.models
        for model in (sorted(path.rglob("*.tflite")) if path.is_dir() else [path])
        if "edgetpu" not in model.name
    ]
    if arguments.what == "memory":
        if arguments.fit:
            print(fit_memory(arguments.fit))
        _print_memory(memory_table(models))
    return 0


if __name__ == "__main__":
    sys.exit(main())
