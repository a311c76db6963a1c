"""What of real networks runs on an OpenCL device, how exactly, and what compiles for NVIDIA's GPUs.

    python benchmarks/gpu_zoo.py MODEL_OR_DIRECTORY... [--device opencl] [--arch sm_87,sm_90]
        [--runs 0] [--nvcc] [--json FILE]

Each model is run twice: ``alone``, with all on the device that may run there and the rest on
LiteRT, and ``mixed``, with the device, LiteRT and LLVM in turns along the network. Both go the way
of a candidate of ``tdsec``: each region is built and held against LiteRT's on real activations, and
is cut into its operators if differences of one step add up in it to more than a region may differ
by. Then the whole model runs, in another process than built it, and its outputs on six inputs are
held against LiteRT's.

For each architecture, what may run on ``cuda`` is compiled into as few regions as there can be; no
GPU is needed for that. ``--nvcc`` has the generated source assembled as well.

A model passes if all of this works and its outputs are as near to LiteRT's as those of a candidate
of ``tdsec`` must be: within the bound of a region, or not much further than LiteRT's reference
kernels are from its default ones. A model that LiteRT itself cannot run is compiled, but not run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from model_files import model_files
from rich.console import Console
from rich.table import Table

from tdse.child import BUILD_SILENT_S, Child, CrashError
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region, form_regions
from tdse.legality import Legality, chosen_targets, find_legality
from tdse.measure.accuracy import Difference
from tdse.measure.activations import Array, random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.outputs import LitertOutputs, OutputGap
from tdse.platform import load_platform
from tdse.runtime import native
from tdse.runtime.litert import run_litert
from tdse.runtime.model import Model, model_by_position
from tdse.survey import ask_targets
from tdse.targets import Support, get_target

# A mixed placement changes its target about so often along the network.
_TURNS = 9
_SEED = 0


@dataclass(frozen=True)
class Run:
    """A placement that was built and run.

    Attributes:
        regions: number of regions of each target.
        region: largest difference of a region from LiteRT's.
        outputs: those of the model beside LiteRT's.
        build_s: seconds to compile and check it, the driver's part of a first run included.
        first_s: seconds of the first run in another process than built it.
        run_s: seconds of a second run.
        grown_bytes: by how much the memory of the process grew over the runs that were asked for.
    """

    regions: Mapping[str, int]
    region: Difference
    outputs: OutputGap
    build_s: float
    first_s: float
    run_s: float
    grown_bytes: int = 0


@dataclass(frozen=True)
class Compiled:
    """What was compiled for an architecture.

    Attributes:
        legal: number of operators.
        regions: number of regions.
        kernels: number of different kernels.
        seconds: to ask about each operator, and to compile all.
        nvcc_s: seconds for nvcc to assemble the source; None if it was not asked to.
    """

    legal: int
    regions: int
    kernels: int
    seconds: float
    nvcc_s: float | None = None


@dataclass(frozen=True)
class Line:
    """One model.

    Attributes:
        ops: number of operators to be placed.
        legal: number of those that may run on the OpenCL device.
        refused: kind of operator to why the others may not.
        litert: why LiteRT cannot run the model, or empty.
        runs: ``alone`` and ``mixed`` to what was run.
        compiled: architecture to what was compiled.
        faults: why it does not pass.
    """

    model: str
    ops: int
    legal: int
    refused: Mapping[str, str]
    litert: str
    runs: Mapping[str, Run]
    compiled: Mapping[str, Compiled]
    faults: Sequence[str]


def main() -> int:
    """Entry point; status 1 if a model does not pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help=".tflite files, or directories of them")
    parser.add_argument("--device", default="opencl", help="target to run on: opencl:1, cuda")
    parser.add_argument("--arch", default="sm_87,sm_90", help="to compile for, or empty for none")
    parser.add_argument("--runs", type=int, default=0, help="so many more runs, to find leaks")
    parser.add_argument("--nvcc", action="store_true", help="assemble the source for --arch")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    chosen_targets(load_platform("host"), [arguments.device])
    architectures = [name for name in arguments.arch.split(",") if name]
    lines = []
    for path in model_files(arguments.models):
        line = examine(
            read_tflite(path), arguments.device, architectures, arguments.runs, arguments.nvcc
        )
        lines.append(line)
        print(f"{line.model}: {'; '.join(line.faults) or 'ok'}", file=sys.stderr, flush=True)
        if arguments.json:
            rows = [asdict(line) for line in lines]
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    _print(lines)
    return 0 if not any(line.faults for line in lines) else 1


def examine(
    graph: Graph, device: str, architectures: Sequence[str], runs: int = 0, nvcc: bool = False
) -> Line:
    """Run a model with a device, and compile it for architectures.

    Args:
        graph: the model.
        device: a target.
        architectures: such as ``sm_87``.
        runs: to repeat after the first two of ``alone``.
        nvcc: also assemble what is compiled.
    """
    faults: list[str] = []
    made: dict[str, Run] = {}
    compiled: dict[str, Compiled] = {}
    litert = ""
    with tempfile.TemporaryDirectory(prefix="tdse-gpu-zoo-") as scratch:
        store = RecordStore(current_conditions(), Path(scratch) / "records.sqlite")
        targets = ["litert", "llvm", device]
        with Child(graph, lambda stage, done, total, detail: None) as child:
            legality = ask_targets(graph, child, targets, store)
            inputs = random_inputs(graph, _SEED)
            expected = LitertOutputs(graph, _SEED)
            try:
                run_litert(graph.data, inputs)
            except (RuntimeError, ValueError) as error:
                litert = str(error).splitlines()[0]
            placements = {"alone": alone(graph, legality), "mixed": mixed(graph, legality)}
            for name, assignment in placements.items() if not litert else ():
                try:
                    made[name] = run_placement(
                        name,
                        graph,
                        assignment,
                        child,
                        inputs,
                        expected,
                        runs if name == "alone" else 0,
                    )
                except (TdseError, CrashError) as error:
                    faults.append(f"{name}: {error}")
        for architecture in architectures:
            try:
                compiled[architecture] = compile_for(graph, architecture, store, nvcc)
            except TdseError as error:
                faults.append(f"{architecture}: {error}")
        store.close()
    faults += [
        f"{name}: the outputs differ by {run.outputs}"
        for name, run in made.items()
        if not run.outputs.is_allowed
    ]
    answers = legality.support[targets[-1]]
    legal = sum(answer.ok for answer in answers.values())
    return Line(
        graph.name,
        len(answers),
        legal,
        _refused(graph, answers),
        litert,
        made,
        compiled,
        tuple(faults),
    )


def _refused(graph: Graph, answers: Mapping[int, Support]) -> dict[str, str]:
    """Kinds of operators that may not run, with their number, to the reasons."""
    kinds = Counter(graph.ops[op].kind for op, answer in answers.items() if not answer.ok)
    why: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
    for op, answer in answers.items():
        if not answer.ok:
            why[graph.ops[op].kind][answer.reason] = None
    return {f"{count} {kind}": "; ".join(why[kind]) for kind, count in kinds.items()}


def alone(graph: Graph, legality: Legality) -> dict[int, str]:
    """All on the last target that may run there; the rest on LiteRT."""
    support = legality.support[legality.targets[-1]]
    return {op: legality.targets[-1] if support[op].ok else "litert" for op in graph.placed_ops}


def mixed(graph: Graph, legality: Legality) -> dict[int, str]:
    """All targets in turns along the network; LiteRT where the one whose turn it is may not."""
    ops, targets = graph.placed_ops, legality.targets
    length = max(1, len(ops) // _TURNS)
    wanted = {op: targets[-1 - i // length % len(targets)] for i, op in enumerate(ops)}
    return {op: t if legality.support[t][op].ok else "litert" for op, t in wanted.items()}


def run_placement(
    name: str,
    graph: Graph,
    assignment: Mapping[int, str],
    child: Child,
    inputs: Sequence[Array],
    expected: LitertOutputs,
    runs: int = 0,
) -> Run:
    """Build a placement, and run it on ``inputs``.

    Raises:
        TdseError: it cannot be built, or an operator is off by more than a region may be.
        CrashError: the child did not survive it.
    """
    begin = time.monotonic()
    made = child.ask(
        "build",
        silent_s=BUILD_SILENT_S,
        regions=[astuple(region) for region in form_regions(graph, assignment)],
        threads=1,
        seed=_SEED,
        # Not removed before the child is: it does not write a library a second time.
        directory=str(child.directory / name),
    )
    build_s = time.monotonic() - begin
    model = _loaded(made["plan"], made["libraries"])
    times = [time.monotonic()]
    for _ in range(2):
        model.run(inputs)
        times.append(time.monotonic())
    counts: dict[str, int] = {}
    for region in map(Region.from_json, made["regions"]):
        counts[region.device] = counts.get(region.device, 0) + 1
    return Run(
        regions=counts,
        region=Difference(**made["difference"]),
        outputs=expected.gap(model.run),
        build_s=build_s,
        first_s=times[1] - times[0],
        run_s=times[2] - times[1],
        grown_bytes=_growth(model, inputs, runs),
    )


def compile_for(graph: Graph, architecture: str, store: RecordStore, nvcc: bool) -> Compiled:
    """Compile what may run on ``cuda`` for an architecture.

    Raises:
        TdseError: it cannot be compiled.
    """
    begin = time.monotonic()
    target = get_target(f"cuda:{architecture}")
    support = find_legality(graph, [target.name], store).support[target.name]
    assignment = {op: target.name if a.ok else "litert" for op, a in support.items()}
    regions = [r for r in form_regions(graph, assignment) if r.device == target.name]
    result = target.compile(graph, regions, 1)
    seconds = time.monotonic() - begin
    return Compiled(
        legal=sum(answer.ok for answer in support.values()),
        regions=len(regions),
        kernels=len({step.symbol for region in result.regions for step in region.steps}),
        seconds=seconds,
        nvcc_s=_assembled(result.libraries, architecture) if nvcc else None,
    )


def _assembled(libraries: Sequence[Any], architecture: str) -> float:
    """Seconds that nvcc takes for the source of libraries.

    Raises:
        TdseError: it does not accept the source.
    """
    program = shutil.which("nvcc")
    if program is None:
        raise TdseError("nvcc is not installed", hint="leave out --nvcc")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tdse-nvcc-") as scratch:
        for library in libraries:
            source = Path(scratch) / "kernels.cu"
            source.write_text(library.imports[0].inspect_source())
            command = [program, "-w", "-cubin", f"-arch={architecture}", str(source)]
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise TdseError("nvcc fails", why=done.stderr.strip().splitlines()[0])
    return time.monotonic() - begin


def _loaded(plan: str, libraries: Sequence[str]) -> Model:
    native.register()
    module = native.create_executor(Path(plan).read_bytes())
    for path in libraries:
        module.import_module(native.load_library(path))
    return model_by_position(module)


def _growth(model: Model, inputs: Sequence[Array], runs: int) -> int:
    """By how many bytes the process grows over ``runs`` runs, after a tenth of them."""
    for _ in range(runs // 10):
        model.run(inputs)
    before = _resident_bytes()
    for _ in range(runs):
        model.run(inputs)
    return _resident_bytes() - before


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _print(lines: Sequence[Line]) -> None:
    table = Table(title="Networks on an OpenCL device, and compiled for NVIDIA's GPUs")
    for name in ("model", "ops", "placement", "regions"):
        table.add_column(name)
    for name in ("region diff", "output diff", "LiteRT itself", "build s", "run s", "grown kB"):
        table.add_column(name, justify="right")
    table.add_column("compiled: ops, regions, kernels, s (nvcc s)")
    table.add_column("")
    for line in lines:
        compiled = "; ".join(
            f"{name}: {c.legal}, {c.regions}, {c.kernels}, {c.seconds:.0f}"
            + (f" ({c.nvcc_s:.0f})" if c.nvcc_s is not None else "")
            for name, c in line.compiled.items()
        )
        verdict = "; ".join(line.faults) or (f"not run: {line.litert}" if line.litert else "ok")
        head = (line.model, f"{line.legal}/{line.ops}")
        for name, run in line.runs.items() or [("", None)]:
            ran = _cells(name, run) if run else ("",) * 8
            table.add_row(*head, *ran, compiled, verdict)
            head, compiled, verdict = ("", ""), "", ""
    console = Console(width=200)
    console.print(table)
    for line in lines:
        for kind, why in line.refused.items():
            console.print(f"{line.model}: {kind}: {why}", highlight=False)


def _cells(name: str, run: Run) -> tuple[str, ...]:
    return (
        name,
        ", ".join(f"{count} {target}" for target, count in run.regions.items()),
        str(run.region),
        str(run.outputs.ours),
        str(run.outputs.litert_itself or "-"),
        f"{run.build_s:.0f}",
        f"{run.first_s:.2f}, {run.run_s:.2f}",
        f"{run.grown_bytes / 1e3:.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
