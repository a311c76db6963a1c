"""What lanes and streams gain on emulated boards, and how well the model of a run is kept to.

    python benchmarks/emulated.py [MODEL.tflite ...] [--boards B,B] [--slow N] [--json FILE]

Every figure is emulated: a step of a model takes what the platform file says that its device or
link would take, in mode ``timing``, and no CPU. Models are those that are given, and networks that
are made here. For each board and model there are two placements: one for latency, run after run,
and one for throughput, as a stream; each is also run one step after another.

``--slow N`` makes every device and link N times slower. Nothing in the figures changes by that
except what this machine adds, such as the 50 us until a thread is awake, which weighs N times less.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from emulated_models import MODELS
from rich.console import Console
from rich.table import Table

from tdse.emulation.bench import lateness_us, run_us, stream_us
from tdse.emulation.emulate import emulate
from tdse.emulation.executor import emulated_executor
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.measure.activations import Array, activations, random_inputs
from tdse.platform import Platform, load_platform
from tdse.runtime.model import model_by_position

_BOARDS = ("rpi4-coral-usb3", "jetson-orin-nano", "zynq")
# Seconds for each of the four timings of a board and model.
_SECONDS = 2.0


@dataclass(frozen=True)
class Line:
    """One board and model; microseconds, all emulated.

    Attributes:
        run_predicted_us, run_us: of one run of the placement for latency.
        run_sequential_us: the same placement, one step after another.
        stream_predicted_us: between two results of a stream of the placement for throughput.
        capacity_us: what its busiest lane takes of a run: no stream is faster.
        stream_us: between two results of a stream of it.
        stream_sequential_us: the same placement, one step after another.
        short_share: share of the steps of both that are modelled to take less than 1 ms.
        jitter_us: by how much later than modelled a step ends, in the median.
    """

    board: str
    model: str
    branchy: bool
    ops: int
    steps: int
    lanes: int
    run_predicted_us: float
    run_us: float
    run_sequential_us: float
    stream_predicted_us: float
    capacity_us: float
    stream_us: float
    stream_sequential_us: float
    short_share: float
    jitter_us: float

    @property
    def run_gain(self) -> float:
        """How many times as fast a run is on lanes."""
        return self.run_sequential_us / self.run_us

    @property
    def stream_gain(self) -> float:
        """How many times as fast the stream is on lanes."""
        return self.stream_sequential_us / self.stream_us

    @property
    def gain_over_best(self) -> float:
        """The same, against the placement for latency, one step after another."""
        return self.run_sequential_us / self.stream_us

    @property
    def capacity(self) -> float:
        """Share of the bound on streams that is reached."""
        return self.capacity_us / self.stream_us

    @property
    def error(self) -> float:
        """By what share a run takes longer than predicted."""
        return self.run_us / self.run_predicted_us - 1.0

    @property
    def stream_error(self) -> float:
        """By what share a stream takes longer than predicted."""
        return self.stream_us / self.stream_predicted_us - 1.0


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--boards", default=",".join(_BOARDS), help="presets or platform files")
    parser.add_argument("--only", default="", help="models that are made here whose names have it")
    parser.add_argument("--slow", type=float, default=1.0, metavar="N")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each timing")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    boards = [_slowed(load_platform(name), arguments.slow) for name in arguments.boards.split(",")]
    lines = []
    for graph, branchy in _graphs(arguments.models, arguments.only):
        values = activations(graph, random_inputs(graph, 0))
        for board in boards:
            lines.append(_line(board, graph, branchy, values, arguments.seconds))
            print(_words(lines[-1]), flush=True)
    _print(lines, arguments.slow)
    if arguments.json:
        rows = [{"source": "emulated", "slow": arguments.slow, **asdict(line)} for line in lines]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _graphs(given: Sequence[Path], part: str) -> list[tuple[Graph, bool]]:
    graphs = [read_tflite(path) for path in given]
    made = [make() for name, make in MODELS.items() if part in name]
    return [(graph, _is_branchy(graph)) for graph in [*graphs, *made]]


def _is_branchy(graph: Graph) -> bool:
    """A fifth of the operators or more is beside the longest path of multiply-accumulates."""
    longest = [0] * len(graph.ops)
    for op in graph.ops:
        before = [graph.producer[t] for t in op.inputs if t in graph.producer]
        longest[op.index] = op.macs + max((longest[i] for i in before), default=0)
    return max(longest) < 0.8 * sum(op.macs for op in graph.ops)


def _slowed(board: Platform, factor: float) -> Platform:
    """The board in slow motion."""
    if factor == 1.0:
        return board
    if any(device.edgetpu is not None for device in board.devices):
        sys.exit(
            f"--slow {factor:g}: {board.name} has an Edge TPU, whose model has no rates to slow"
        )
    value = board.model_dump()
    for device in value["devices"]:
        rates = device["emulated"]
        for name, amount in rates.items():
            if name.endswith("_per_us"):
                rates[name] = amount / factor
            elif name.endswith("_us"):
                rates[name] = amount * factor
    for link in value["links"]:
        link["bandwidth_bytes_per_s"] /= factor
        link["latency_us"] *= factor
    return Platform.model_validate(value)


def _line(
    board: Platform, graph: Graph, branchy: bool, values: Mapping[int, Array], seconds: float
) -> Line:
    inputs = [values[tensor] for tensor in graph.inputs]
    fast, wide = (
        emulate(graph, board, "timing", objective=objective, seed=0)
        for objective in ("latency", "throughput")
    )
    timed = {}
    late_us: list[float] = []
    for name, made in (("run", fast), ("stream", wide)):
        for one_lane in (False, True):
            executor = emulated_executor(graph, made.emulated, values, one_lane=one_lane)
            model = model_by_position(executor.module())
            time = stream_us if name == "stream" else run_us
            timed[name, one_lane] = time(model, inputs, seconds)
            if one_lane:
                late_us += lateness_us(model, made.emulated, inputs)
    steps = [*fast.emulated.steps, *wide.emulated.steps]
    return Line(
        board=board.name,
        model=graph.name,
        branchy=branchy,
        ops=len(graph.placed_ops),
        steps=len(fast.emulated.steps),
        lanes=len(fast.emulated.lanes),
        run_predicted_us=fast.emulated.predicted_us,
        run_us=timed["run", False],
        run_sequential_us=timed["run", True],
        stream_predicted_us=wide.emulated.predicted_period_us,
        capacity_us=wide.emulated.capacity_us,
        stream_us=timed["stream", False],
        stream_sequential_us=timed["stream", True],
        short_share=sum(step.modelled_us < 1000 for step in steps) / len(steps),
        jitter_us=float(np.median(late_us)),
    )


def _words(line: Line) -> str:
    return (
        f"{line.board} {line.model} (emulated): run x{line.run_gain:.2f} ({line.error:+.1%}), "
        f"stream x{line.stream_gain:.2f}, {line.capacity:.1%} of capacity"
    )


def _print(lines: Sequence[Line], slow: float) -> None:
    motion = "" if slow == 1.0 else f", {slow:g} times slower than real"
    table = Table(title=f"Emulated boards{motion}: ms; gains over one step after another")
    columns: dict[str, Callable[[Line], str]] = {
        "board": lambda line: line.board,
        "model": lambda line: line.model + (" (branchy)" if line.branchy else ""),
        "steps / lanes": lambda line: f"{line.steps} / {line.lanes}",
        "run": lambda line: f"{line.run_us / 1e3:.2f}",
        "of predicted": lambda line: f"{1 + line.error:.3f}",
        "gain": lambda line: f"{line.run_gain:.2f}",
        "stream": lambda line: f"{line.stream_us / 1e3:.2f}",
        "of predicted ": lambda line: f"{1 + line.stream_error:.3f}",
        "gain ": lambda line: f"{line.stream_gain:.2f}",
        "over run's": lambda line: f"{line.gain_over_best:.2f}",
        "of capacity": lambda line: f"{line.capacity:.3f}",
        "< 1 ms": lambda line: f"{line.short_share:.0%}",
        "jitter us": lambda line: f"{line.jitter_us:.0f}",
    }
    for name in columns:
        table.add_column(name, justify="left" if name in ("board", "model") else "right")
    for line in lines:
        table.add_row(*(text(line) for text in columns.values()))
    console = Console(width=180)
    console.print(table)
    branchy = [line.run_gain for line in lines if line.branchy] or [math.nan]
    worst = max(abs(line.error) for line in lines)
    worst_stream = max(abs(line.stream_error) for line in lines)
    console.print(
        f"emulated: stream {_geomean([line.stream_gain for line in lines]):.2f} times, over the "
        f"placement for latency {_geomean([line.gain_over_best for line in lines]):.2f} times "
        f"(geometric means); least share of capacity {min(line.capacity for line in lines):.3f}; "
        f"run on branchy models {_geomean(branchy):.2f} times, least {min(branchy):.2f}; "
        f"largest error of a predicted run {worst:.1%}, stream {worst_stream:.1%}"
    )


def _geomean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


if __name__ == "__main__":
    main()
