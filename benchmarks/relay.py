"""Place models through Relay, and time what was exported against each target alone.

    python benchmarks/relay.py MODEL_OR_DIRECTORY... [--budget 30] [--launches 6] [--seconds 4]
        [--threads N] [--board rpi4-coral-usb3] [--json FILE]

With ``--threads``, LiteRT and TVM have so many, in whatever is timed; without, each number is
tried, and what is best then depends on what else the machine does: each launch is told with how
many *cores* there were just before it.

Needs a TVM with Relay (docs/relay.md). A model that Relay cannot import is listed with the reason.
Of any other, the model is built for ``litert`` alone with each thread count, and for ``llvm``
alone, which is TVM's module as it was. Then ``tdse.relay.Partition`` searches for a placement. New
processes load what ``relay.build`` made of all of these, exported, beside LiteRT's own interpreter,
compare what they compute with LiteRT's results, and time them in turns (``relay_launch.py``). A
process of TVM's has one number of threads, so the launches have one after the other; there are as
many of ``llvm`` with each. A model passes if its results are within what tdse allows and its time
is not above that of the best single target, as ``benchmarks/acceptance.py`` demands it. A placement
may be the best single target itself; its two times then show how much of a difference is noise. How
it stands beside LiteRT's own interpreter, without any TVM, is told as well.

On the emulated board the times of the placement that is found, and of the model on the CPU alone
and on the Edge TPU alone where it can run there, are **modelled**; its results are computed, and
compared as well.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from acceptance import LEAST_SPEEDUP, MOST_SLOWER_US, SMALL_US
from cores import cores
from model_files import model_files
from rich.console import Console
from rich.table import Table
from tvm import relay
from tvm.contrib import graph_executor

import tdse.relay
from tdse.errors import PlacementError, TargetError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.link import find_linker
from tdse.measure.accuracy import Difference, worst
from tdse.measure.activations import Array, random_inputs
from tdse.measure.stats import ratio
from tdse.outputs import LitertOutputs
from tdse.platform import load_platform
from tdse.search.placement import Placement, make_placement
from tdse.targets import cpu_thread_counts
from tdse.targets.llvm_relay import import_model

OURS, LLVM, ITSELF = "tdse", "llvm", "LiteRT itself"


@dataclass
class Outcome:
    """One model's figures; times in microseconds.

    Attributes:
        model: its name.
        why: it does not pass, or is not placed; empty if it passes.
        search_s: seconds that ``tdse.relay.partition`` took.
        ops: how many operators are placed on each target.
        regions: how many regions there are.
        threads: of those of LiteRT.
        median_us: of each build and of LiteRT's interpreter.
        launches: the same of each launch.
        cores: how many there were before each.
        difference: of our outputs from LiteRT's, on several inputs.
        best: the fastest of the single targets.
        same: the single target whose build ours is, which is then timed twice; empty if none.
        speedup: its time divided by ours, with the 95 % interval over launches.
        beside_litert: the same of LiteRT's own interpreter, with the better number of threads.
        modelled_us: on the emulated board: of the placement, and of single devices.
        board_ops: how many operators are placed on each target there.
        board_difference: from LiteRT's results.
    """

    model: str
    why: str = ""
    search_s: float = 0.0
    ops: dict[str, int] = field(default_factory=dict)
    regions: int = 0
    threads: int = 0
    median_us: dict[str, float] = field(default_factory=dict)
    launches: list[dict[str, float]] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    difference: str = ""
    best: str = ""
    same: str = ""
    speedup: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beside_litert: tuple[float, float, float] = (0.0, 0.0, 0.0)
    modelled_us: dict[str, float] = field(default_factory=dict)
    board_ops: dict[str, int] = field(default_factory=dict)
    board_difference: str = ""


def main() -> int:
    """Entry point; status 1 if a model that Relay imports does not pass."""
    arguments = _arguments()
    outcomes, failed = [], False
    console = Console(stderr=True)
    for path in _models(arguments.models):
        graph = read_tflite(path)
        try:
            import_model(graph.data)
        except TargetError as error:
            outcomes.append(Outcome(path.stem, why=f"not imported: {error.why}"))
        else:
            with tempfile.TemporaryDirectory(prefix="tdse-relay-") as scratch:
                outcomes.append(_judged(path, graph, arguments, Path(scratch)))
            failed = failed or bool(outcomes[-1].why)
        console.print(f"{path.stem}: {outcomes[-1].why or 'ok'}", highlight=False)
        if arguments.json:
            text = json.dumps([asdict(outcome) for outcome in outcomes], indent=1)
            arguments.json.write_text(text + "\n", encoding="utf-8")
    _print(outcomes)
    return int(failed)


def _judged(path: Path, graph: Graph, arguments: argparse.Namespace, scratch: Path) -> Outcome:
    outcome = Outcome(path.stem)
    tried = [arguments.threads] if arguments.threads else cpu_thread_counts(os.cpu_count() or 1)
    # All that takes long comes before the search, so that the launches find the machine as it did.
    libraries = _single_targets(path, graph, tried, scratch)
    begun = time.monotonic()
    module, placement = _partitioned(path, budget_s=arguments.budget, threads=arguments.threads)
    outcome.search_s = round(time.monotonic() - begun, 1)
    outcome.ops, outcome.regions = _targets(placement), len(placement.regions)
    outcome.threads = placement.threads
    if {region.target for region in placement.regions} == {"litert"} and outcome.regions == 1:
        outcome.same = f"litert x{placement.threads}"
    libraries = {OURS: _exported(module, scratch / "tdse.so"), **libraries}
    laps = []
    for launch in range(arguments.launches):
        outcome.cores.append(round(cores(), 2))
        laps.append(_launch(path, graph, libraries, tried, launch, arguments.seconds, scratch))
        outcome.launches.append(
            {name: round(float(np.median(us)), 1) for name, us in laps[-1]["times_us"].items()}
        )
    gap = LitertOutputs(graph, seed=0).gap(_runner(graph, libraries[OURS]))
    outcome.difference = str(gap)
    names = dict.fromkeys(name for lap in outcome.launches for name in lap)
    outcome.median_us = {name: round(float(np.median(_of(outcome, name))), 1) for name in names}
    itself = [name for name in names if name.startswith(ITSELF)]
    singles = [name for name in names if name not in (OURS, *itself)]
    outcome.best, outcome.speedup = _speedup(outcome, singles)
    _, outcome.beside_litert = _speedup(outcome, itself)
    reloaded = worst([Difference(*lap["differences"][OURS]) for lap in laps])
    best_us = outcome.median_us[outcome.best]
    slower_us = outcome.median_us[OURS] - best_us
    if not gap.is_allowed or not (reloaded.is_allowed or gap.litert_itself):
        outcome.why = f"results differ by {gap}, in a new process by {reloaded}"
    elif outcome.best != outcome.same and (
        slower_us > MOST_SLOWER_US if best_us < SMALL_US else outcome.speedup[0] < LEAST_SPEEDUP
    ):
        outcome.why = f"slower than {outcome.best}"
    _on_board(path, graph, arguments.board, outcome, scratch)
    return outcome


def _single_targets(
    path: Path, graph: Graph, threads: Sequence[int], scratch: Path
) -> dict[str, Path]:
    """The whole model on one target each, exported."""
    libraries = {}
    for count in threads:
        region = Region(0, "litert", graph.placed_ops)
        module, _ = _partitioned(path, placement=make_placement(graph, [region], count, None, 0))
        libraries[f"litert x{count}"] = _exported(module, scratch / f"litert{count}.so")
    return {**libraries, LLVM: _exported(_bound(graph), scratch / "llvm.so")}


def _of(outcome: Outcome, name: str, beside: str = "") -> list[float]:
    """The medians of the launches that had ``name``, of that or of another build."""
    return [lap[beside or name] for lap in outcome.launches if name in lap]


def _speedup(outcome: Outcome, names: Sequence[str]) -> tuple[str, tuple[float, float, float]]:
    """The fastest of these, and its time divided by ours in the same launches."""
    best = min(names, key=outcome.median_us.__getitem__)
    found = ratio(_of(outcome, best), _of(outcome, best, OURS))
    return best, (found.value, found.low, found.high)


def _on_board(path: Path, graph: Graph, board: str, outcome: Outcome, scratch: Path) -> None:
    """Fill in what is modelled for an emulated board."""
    kinds = sorted({graph.ops[op].kind for op in graph.placed_ops})
    devices = [device.name for device in load_platform(board).devices]
    for name, pins in {OURS: [], **{d: [f"{k}={d}" for k in kinds] for d in devices}}.items():
        try:
            module, placement = _partitioned(path, platform=board, pins=pins, budget_s=4)
        except PlacementError:
            # Not all operators can run there.
            continue
        outcome.modelled_us[name] = round(placement.predicted_us or 0.0, 1)
        if name == OURS:
            outcome.board_ops = _targets(placement)
            library = _exported(module, scratch / "board.so")
            gap = LitertOutputs(graph, seed=0).gap(_runner(graph, library))
            outcome.board_difference = str(gap)
            if not gap.is_allowed:
                outcome.why = outcome.why or f"results for {board} differ by {gap}"
    if outcome.modelled_us[OURS] > min(outcome.modelled_us.values()):
        outcome.why = outcome.why or f"slower than another on {board}, modelled"


def _partitioned(path: Path, **options: Any) -> tuple[Any, Placement]:
    module, params = import_model(path.read_bytes())
    module = tdse.relay.Partition(path, params, **options)(module)
    return module, Placement.model_validate_json(str(module.attrs["tdse.placement"]))


def _bound(graph: Graph) -> Any:
    """TVM's module as it was, with its weights in it."""
    module, params = import_model(graph.data)
    module["main"] = relay.build_module.bind_params_by_name(module["main"], params)
    return module


def _exported(module: Any, file: Path) -> Path:
    with tvm.transform.PassContext(opt_level=3):
        library = relay.build(module, target=tdse.relay.host_target())
    library.export_library(str(file), cc=str(find_linker()))
    return file


def _targets(placement: Placement) -> dict[str, int]:
    return dict(collections.Counter(op.target for op in placement.ops))


def _input_names(graph: Graph) -> list[str]:
    return [graph.tensors[index].name for index in graph.inputs]


def _runner(graph: Graph, library: Path) -> Callable[[Sequence[Array]], list[Array]]:
    loaded = tvm.runtime.load_module(str(library))
    executor = graph_executor.GraphModule(loaded["default"](tvm.cpu()))

    def run(inputs: Sequence[Array]) -> list[Array]:
        for name, value in zip(_input_names(graph), inputs, strict=True):
            executor.set_input(name, value)
        executor.run()
        return [executor.get_output(i).numpy() for i in range(executor.get_num_outputs())]

    return run


def _launch(
    path: Path,
    graph: Graph,
    libraries: dict[str, Path],
    threads: Sequence[int],
    launch: int,
    seconds: float,
    scratch: Path,
) -> dict[str, Any]:
    np.savez(scratch / "inputs.npz", *random_inputs(graph, seed=launch))
    of_tvm = threads[launch % len(threads)]
    names = {name: f"{LLVM} x{of_tvm}" if name == LLVM else name for name in libraries}
    spec = {
        "model": str(path),
        "inputs": str(scratch / "inputs.npz"),
        "input_names": _input_names(graph),
        "libraries": {names[name]: str(file) for name, file in libraries.items()},
        "litert": {f"{ITSELF} x{count}": count for count in threads},
        "seconds": seconds,
        "seed": launch,
    }
    (scratch / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    worker = Path(__file__).with_name("relay_launch.py")
    command = [sys.executable, str(worker), str(scratch / "spec.json")]
    environment = {**os.environ, "TVM_NUM_THREADS": str(of_tvm)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _print(outcomes: Sequence[Outcome]) -> None:
    table = Table(title="Relay: milliseconds of a run")
    for name in (
        "model",
        "placed on",
        "tdse",
        "best target",
        "speedup",
        "LiteRT",
        "llvm",
        "cores",
        "results",
    ):
        table.add_column(name)
    for one in outcomes:
        if not one.median_us:
            table.add_row(one.model, one.why)
            continue
        placed = ", ".join(f"{target} {count}" for target, count in one.ops.items())
        value, low, high = one.speedup
        table.add_row(
            one.model,
            f"{placed} ({one.regions} regions, x{one.threads})",
            f"{one.median_us[OURS] / 1e3:.2f}",
            f"{one.median_us[one.best] / 1e3:.2f} {one.best}"
            f"{', the same build' if one.best == one.same else ''}",
            f"{value:.2f} [{low:.2f}, {high:.2f}]",
            f"{one.beside_litert[0]:.2f} [{one.beside_litert[1]:.2f}, {one.beside_litert[2]:.2f}]",
            f"{min(us for name, us in one.median_us.items() if LLVM in name) / 1e3:.1f}",
            f"{min(one.cores):.2f} to {max(one.cores):.2f}",
            one.why or one.difference,
        )
    board = Table(title="On the emulated board, modelled: milliseconds of a run")
    for name in ("model", "placed on", "tdse", "single devices", "results, computed"):
        board.add_column(name)
    for one in (each for each in outcomes if each.modelled_us):
        placed = ", ".join(f"{target} {count}" for target, count in one.board_ops.items())
        single = {name: us for name, us in one.modelled_us.items() if name != OURS}
        board.add_row(
            one.model,
            placed,
            f"{one.modelled_us[OURS] / 1e3:.2f}",
            ", ".join(f"{name} {us / 1e3:.2f}" for name, us in single.items()),
            one.board_difference,
        )
    Console().print(table, board)


def _models(given: Sequence[Path]) -> list[Path]:
    found = model_files(given)
    if not found:
        sys.exit("there is no .tflite in what was given")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL_OR_DIRECTORY")
    parser.add_argument("--budget", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--launches", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4.0, help="timed in each launch")
    parser.add_argument("--board", default="rpi4-coral-usb3", help="an emulated platform")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
