"""How the CPU code that tdse has TVM make compares with LiteRT's, operator kind by operator kind.

    python benchmarks/llvm_ops.py MODEL_OR_DIRECTORY... [--kinds conv2d,...] [--most 8]
        [--seconds 0.03] [--threads 1,2] [--tune TRIALS] [--json FILE] [--every]

Of each kind and element type, some of the distinct operators of the models are taken, evenly by
their work. Each is timed alone, its variants in turns in this process, on random inputs. A ratio
is the time on ``llvm`` over that of LiteRT with the thread count that suits LiteRT best: below 1,
``llvm`` is faster. Ratios of a kind are averaged geometrically. With ``--tune``, kernels are tuned
before, as ``tdsec --tune`` does it. What was tuned earlier is used in any case, so let
``XDG_CACHE_HOME`` name an empty directory.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from model_files import model_files
from rich.console import Console
from rich.table import Table

from tdse.assemble import Compiled, compile_regions
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.measure.accuracy import difference
from tdse.measure.deadline import Deadline
from tdse.runtime.model import Model
from tdse.targets import get_target, target_variants

_TARGETS = ("litert", "llvm")


@dataclass(frozen=True)
class Sample:
    """One operator of one model: its kind as the table names it, and its work to sort by."""

    graph: Graph
    op: int
    kind: str
    dtype: str
    work: int


@dataclass(frozen=True)
class Row:
    """Times of one operator in microseconds; ``difference`` is that of the results."""

    kind: str
    dtype: str
    shape: str
    model: str
    times_us: dict[str, float]
    difference: str

    def ratio(self, variant: str) -> float:
        """Time of a variant over that of LiteRT at its best."""
        best = min(us for name, us in self.times_us.items() if name.startswith("litert"))
        return self.times_us[variant] / best


def main() -> None:
    """Entry point."""
    arguments = _arguments()
    console = Console(stderr=True)
    threads = [int(count) for count in arguments.threads.split(",")]
    rows: list[Row] = []
    compile_s = 0.0
    for graph, samples in _by_graph(_samples(arguments)):
        if arguments.tune:
            begin = time.monotonic()
            count, gain = _tune(graph, samples, arguments.tune)
            took_s = time.monotonic() - begin
            console.print(f"{graph.name}: {count} kernels tuned in {took_s:.0f} s, gain {gain:.3f}")
        begin = time.monotonic()
        compiled = _compile(graph, samples, threads)
        compile_s += time.monotonic() - begin
        for position, sample in enumerate(samples):
            row = _time(sample, compiled, position, arguments.seconds)
            if row is None:
                console.print(f"not on llvm: {graph.ops[sample.op].label} of {graph.name}")
                continue
            rows.append(row)
    _print(rows, every=arguments.every)
    Console().print(f"compiled in {compile_s:.1f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _samples(arguments: argparse.Namespace) -> list[Sample]:
    """Some distinct operators of each kind and element type, evenly by their work."""
    wanted = set(arguments.kinds.split(",")) if arguments.kinds else None
    found: dict[str, Sample] = {}
    for path in model_files(arguments.models):
        graph = read_tflite(path)
        for op in graph.placed_ops:
            sample = _sample(graph, op)
            if wanted is None or sample.kind in wanted:
                found.setdefault(signature(graph, op), sample)
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in sorted(found.values(), key=lambda s: s.work):
        groups.setdefault((sample.kind, sample.dtype), []).append(sample)
    chosen = []
    for group in groups.values():
        count = min(arguments.most, len(group))
        places = np.linspace(0, len(group) - 1, count).round().astype(int)
        chosen += [group[place] for place in dict.fromkeys(places.tolist())]
    return chosen


def _sample(graph: Graph, index: int) -> Sample:
    op = graph.ops[index]
    result = graph.tensors[op.outputs[0]]
    kind, work = op.kind, math.prod(result.shape)
    if kind == "conv2d" and graph.tensors[op.inputs[1]].shape[1:3] == (1, 1):
        kind = "conv2d 1x1"
    if kind in ("conv2d", "conv2d 1x1", "depthwise_conv2d", "fully_connected"):
        weights = graph.tensors[op.inputs[1]].shape
        work *= math.prod(weights[1:3] if kind == "depthwise_conv2d" else weights[1:])
    return Sample(graph, index, kind, result.dtype, work)


def _by_graph(samples: Sequence[Sample]) -> list[tuple[Graph, list[Sample]]]:
    groups: dict[int, tuple[Graph, list[Sample]]] = {}
    for sample in samples:
        groups.setdefault(id(sample.graph), (sample.graph, []))[1].append(sample)
    return list(groups.values())


def _tune(graph: Graph, samples: Sequence[Sample], trials: int) -> tuple[int, float]:
    """Tune what can be tuned; the number of kernels, and the geometric mean of what they gained."""
    from tdse.tuning import Promise, llvm_target, tune

    gains = []
    for sample in samples:
        conv = llvm_target().tunable(graph, sample.op)
        if conv is None:
            continue
        alone = compile_regions(graph, [Region(0, "llvm", (sample.op,))], threads=1).alone(0)
        inputs = alone.model().random_inputs(seed=1)
        values = dict(zip((graph.ops[sample.op].inputs[0],), inputs, strict=True))
        never = Deadline(math.inf)
        tuned = tune(graph, Promise(conv, (sample.op,), 0.0), values, trials, never, lambda _: None)
        assert tuned is not None
        gains.append(tuned.gain)
    return len(gains), _geomean(gains) if gains else 1.0


def _compile(
    graph: Graph, samples: Sequence[Sample], threads: Sequence[int]
) -> dict[tuple[str, int], dict[int, tuple[Compiled, int]]]:
    """Variant to position of a sample to where it is compiled; those of a variant together."""
    compiled = {}
    for target, count in target_variants(_TARGETS, threads):
        able = [
            i
            for i, sample in enumerate(samples)
            if get_target(target).supports(graph, sample.op).ok
        ]
        regions = [Region(k, target, (samples[i].op,)) for k, i in enumerate(able)]
        if regions:
            together = compile_regions(graph, regions, threads=count)
            compiled[target, count] = {i: (together, k) for k, i in enumerate(able)}
    return compiled


def _time(
    sample: Sample,
    compiled: dict[tuple[str, int], dict[int, tuple[Compiled, int]]],
    position: int,
    seconds: float,
) -> Row | None:
    models: dict[str, Model] = {}
    for (target, threads), places in compiled.items():
        if position in places:
            together, place = places[position]
            try:
                models[f"{target} x{threads}"] = together.alone(place).model()
            except TargetError:
                return None
    if not any(name.startswith("llvm") for name in models):
        return None
    inputs = next(iter(models.values())).random_inputs(seed=1)
    results = {name: model.run(inputs) for name, model in models.items()}
    first_us = {name: model.time_runs(inputs, 3)[-1] for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    end = time.monotonic() + seconds * len(models)
    while not times["litert x1"] or time.monotonic() < end:
        for name, model in models.items():
            count = int(np.clip(1000 / first_us[name], 3, 100))
            # The first run finds the caches as the variant before it left them.
            times[name] += model.time_runs(inputs, count + 1)[1:].tolist()
    ours = next(name for name in models if name.startswith("llvm"))
    op, tensors = sample.graph.ops[sample.op], sample.graph.tensors
    given = [tensors[t].shape for t in op.inputs[:2] if t >= 0]
    shape = " ".join("x".join(map(str, s)) for s in (*given, tensors[op.outputs[0]].shape))
    return Row(
        kind=sample.kind,
        dtype=sample.dtype,
        shape=shape,
        model=sample.graph.name,
        times_us={name: float(np.median(values)) for name, values in times.items()},
        difference=str(difference(results[ours], results["litert x1"])),
    )


def _print(rows: Sequence[Row], *, every: bool) -> None:
    variants = list(dict.fromkeys(v for row in rows for v in row.times_us if v.startswith("llvm")))
    table = Table(title="Time on llvm over that of LiteRT at its best, geometric means")
    for name in ("kind", "dtype"):
        table.add_column(name)
    for name in ("ops", *variants, "best llvm"):
        table.add_column(name, justify="right")
    table.add_column("worst of the best")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.dtype), []).append(row)
    for (kind, dtype), group in sorted(groups.items()):
        means = [_geomean([row.ratio(v) for row in group]) for v in variants]
        best = [min(row.ratio(v) for v in variants) for row in group]
        worst = group[int(np.argmax(best))]
        cells = [f"{x:.2f}" for x in (*means, _geomean(best))]
        table.add_row(kind, dtype, str(len(group)), *cells, f"{max(best):.2f}: {worst.shape}")
    Console(width=150).print(table)
    if every:
        for row in rows:
            times = ", ".join(f"{name} {us:.1f}" for name, us in row.times_us.items())
            line = f"{row.kind} {row.dtype} {row.shape}: {times} us, {row.difference}"
            Console(width=150).print(line, highlight=False)


def _geomean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help=".tflite files, or directories of them")
    parser.add_argument("--kinds", help="only these, such as 'conv2d 1x1,add'")
    parser.add_argument("--most", type=int, default=8, help="operators of a kind and type")
    parser.add_argument("--seconds", type=float, default=0.03, help="for each variant of each")
    parser.add_argument("--threads", default="1,2", help="thread counts")
    parser.add_argument("--tune", type=int, default=0, help="ways to build each kernel to try")
    parser.add_argument("--every", action="store_true", help="print each operator's times too")
    parser.add_argument("--json", type=Path, help="write all times there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
