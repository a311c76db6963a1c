"""How far predictions of memory and interference are from measurements.

    python benchmarks/kpi_tables.py memory MODEL_OR_DIRECTORY... [--fit CHAINS]
    python benchmarks/kpi_tables.py interference MODEL_OR_DIRECTORY... [--seconds S]
    python benchmarks/kpi_tables.py links

``memory`` builds each model whole on LiteRT, with one and two threads, and on a random placement on
both targets, and runs each in a fresh process. With ``--fit``, the coefficients of the prediction
are first fitted to so many random chains, and printed. ``interference`` learns from the pairs of
random operators and chains, and is judged on pairs of the models' operators and parts, which it
has not learnt from. ``links`` times copies within the CPU's memory, the one link of this machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from model_files import model_files
from rich.console import Console
from rich.table import Table

from tdse.assemble import compile_regions
from tdse.cost.interference import InterferenceModel, Pair, fit_interference, load_of
from tdse.cost.links import fit_link
from tdse.cost.memory import COEFFICIENTS, MemoryEstimate, estimate_memory, memory_terms
from tdse.errors import TdseError
from tdse.graph.build import build_graph
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, form_regions
from tdse.link import write_library
from tdse.measure.conditions import current_conditions
from tdse.measure.excitation import KINDS, draw
from tdse.measure.excitation_chains import draw_chain
from tdse.measure.interference import Contender, measure_pair
from tdse.measure.links import SIZES, measure_transfers, memory_copy
from tdse.measure.memory import MemoryReading, measure_memory
from tdse.measure.records import RecordStore
from tdse.measure.references import References
from tdse.measure.timing import QUIET
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
        graph = build_graph(draw_chain(generator, ("float32", "int8")[seed % 2]))
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


@dataclass(frozen=True)
class Part:
    """A region that can be run beside another."""

    name: str
    graph: Graph
    ops: tuple[int, ...]
    contender: Contender


def random_parts(count: int, seed: int = 0) -> list[Part]:
    """Random operators and, for a third, chains; excitation, on ``litert``."""
    generator = np.random.default_rng(seed)
    kinds, weights = list(KINDS), np.array([*KINDS.values()])
    parts: list[Part] = []
    while len(parts) < count:
        if generator.random() < 0.33:
            dtype = str(generator.choice(("float32", "int8")))
            configuration = draw_chain(generator, dtype)
        else:
            kind, dtype = kinds[generator.choice(len(kinds), p=weights / weights.sum())]
            configuration = draw(generator, kind, dtype)
        graph = build_graph(configuration)
        parts += _part(f"{graph.sha256[:12]}", graph, graph.placed_ops)
    return parts


def model_parts(models: Iterable[Path], each: int = 3, seed: int = 0) -> list[Part]:
    """Operators and runs of up to ten operators of real models."""
    generator = np.random.default_rng(seed)
    parts: list[Part] = []
    for path in models:
        graph = read_tflite(path)
        if graph.whole_reason:
            continue
        for _ in range(each):
            first = int(generator.integers(len(graph.placed_ops)))
            last = first + int(generator.choice((1, 1, 5, 10)))
            ops = graph.placed_ops[first:last]
            parts += _part(f"{path.stem}:{ops[0]}-{ops[-1]}", graph, ops)
    return parts


def _part(name: str, graph: Graph, ops: tuple[int, ...]) -> list[Part]:
    """The part, unless it cannot be compiled or one run is too short or too long to be measured."""
    try:
        compiled = compile_regions(graph, [Region(0, "litert", ops)], threads=1)
        model = compiled.alone(0).model()
        inputs = model.random_inputs(0)
        once_us = float(np.median(model.time_runs(inputs, 3)))
    except TdseError:
        return []
    return [Part(name, graph, ops, Contender(model, inputs))] if 20 < once_us < 8000 else []


def measure_pairs(
    parts: Sequence[Part], store: RecordStore, *, seconds: float, seed: int = 0
) -> dict[tuple[str, str], Pair]:
    """Measure random pairs for some seconds; the store knows the reference's best time."""
    generator = np.random.default_rng(seed)
    references = (References(store).of(1), References(store).of(1))
    deadline = time.monotonic() + seconds
    pairs = {}
    while time.monotonic() < deadline:
        a, b = (parts[i] for i in generator.choice(len(parts), 2, replace=False))
        found = measure_pair(a.contender, b.contender, references, patience_s=1.5)
        pair = Pair(
            load_of(a.graph, a.ops, found.first_us),
            load_of(b.graph, b.ops, found.second_us),
            found.first,
            found.second,
            found.contention,
        )
        pairs[a.name, b.name] = pair
    return pairs


def interference_table(
    model: InterferenceModel, pairs: Mapping[tuple[str, str], Pair]
) -> list[tuple[str, str, float, float]]:
    """Each side of each quiet pair: who, beside whom, measured and predicted slowdown."""
    rows = []
    for (first, second), pair in pairs.items():
        if pair.contention <= QUIET:
            one, other = model.slowdown(pair.first, pair.second)
            rows.append((first, second, pair.first_slowdown, one))
            rows.append((second, first, pair.second_slowdown, other))
    return rows


def _private_bytes() -> float:
    """Size of the second cache, which a core has for itself."""
    text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
    return float(text.removesuffix("K")) * 1024


def _interference(models: Sequence[Path], seconds: float) -> None:
    store = RecordStore(current_conditions())
    excitation, real = random_parts(30), model_parts(models)
    pairs = list(measure_pairs(excitation, store, seconds=seconds * 0.6).values())
    held_out = measure_pairs(real, store, seconds=seconds * 0.4)
    quiet = [pair for pair in pairs if pair.contention <= QUIET]
    model = fit_interference(quiet, _private_bytes())
    rows = interference_table(model, held_out)
    for first, second, measured, predicted in rows:
        print(f"{first} beside {second}: {measured:.3f}, predicted {predicted:.3f}")
    measured = np.array([row[2] for row in rows])
    errors = np.abs(np.array([row[3] for row in rows]) / measured - 1)
    print(f"{len(quiet)} of {len(pairs)} pairs quiet; weights {model.weights}")
    print(f"{len(rows)} slowdowns held out, {measured.min():.3f} to {measured.max():.3f}")
    print(f"error: median {np.median(errors):.3f}, largest {errors.max():.3f}")
    unaware = np.abs(1 / measured - 1)
    print(f"within 10 %: {(errors <= 0.1).mean():.1%}, with no model {(unaware <= 0.1).mean():.1%}")


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


def _print_links() -> None:
    times_us = measure_transfers(memory_copy)
    fit = fit_link(SIZES, times_us)
    table = Table("bytes", "us", "fitted us", title="copies in the memory of the CPU")
    for size, time_us in zip(SIZES, times_us, strict=True):
        table.add_row(f"{size:,}", f"{time_us:.3f}", f"{fit.time_us(size):.3f}")
    Console(width=120).print(table)
    print(
        f"latency {fit.latency_us:.3f} us, {fit.bandwidth_bytes_per_s / 1e9:.2f} GB/s, "
        f"error: median {fit.error:.1%}, largest {fit.worst_error:.1%}"
    )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("memory", "interference", "links"))
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--fit", type=int, default=0, help="random chains to fit memory to")
    parser.add_argument("--seconds", type=float, default=120.0, help="to measure pairs for")
    arguments = parser.parse_args()
    models = [model for model in model_files(arguments.models) if "edgetpu" not in model.name]
    if arguments.what == "links":
        _print_links()
    elif arguments.what == "memory":
        if arguments.fit:
            print(fit_memory(arguments.fit))
        _print_memory(memory_table(models))
    else:
        _interference(models, arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
