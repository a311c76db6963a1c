"""Survey a model here, on one board and on two, and compare wall times and placements.

    python benchmarks/boards.py MODEL.tflite [--json FILE]

The boards are two RPC servers on this machine, so operators are timed with one thread. A board that
is not this machine gives other times, of course.

Servers that share two cores with the compiler cannot get twice as much done. What two boards would
do that have cores of their own is emulated: each operator of the model, computed by LiteRT, keeps
its server for 20 ms, in which it sleeps.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tdse.assemble import Assembly
from tdse.candidates import SEARCH_S
from tdse.child import Child
from tdse.cost.library import NOTHING
from tdse.emulation.executor import emulated_region
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.slice import slice_model
from tdse.measure.activations import activations, random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.records import RecordStore
from tdse.measure.remote import Boards
from tdse.measure.timer import Job, Timed
from tdse.place import cost_problem
from tdse.platform import discover_host
from tdse.search import search
from tdse.search.native import Evaluator
from tdse.survey import survey

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from rpc_network import Network

_TARGETS = ("litert", "llvm")
# What an operator takes that keeps its server and no core.
_SLEPT_US = 20_000.0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Compare measuring here and on boards.")
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    graph = read_tflite(Path(arguments.model))
    rows = []
    found_by = []
    with tempfile.TemporaryDirectory() as scratch:
        for boards in (0, 1, 2):
            store = RecordStore(current_conditions(), Path(scratch) / f"{boards}.sqlite")
            with contextlib.closing(store), _servers(Path(scratch), boards) as address:
                with Child(graph, lambda *_: None) as child:
                    begun = time.monotonic()
                    found = survey(
                        graph,
                        child,
                        _TARGETS,
                        (1,),
                        store,
                        pins={},
                        seed=0,
                        deadline=math.inf,
                        boards=address,
                    )
                    seconds = time.monotonic() - begun
                _, problem = cost_problem(
                    graph,
                    found.legality,
                    threads=dict.fromkeys(_TARGETS, 1),
                    launch_us=dict.fromkeys(_TARGETS, 0.75),
                    records=store.find(found.legality.signatures.values()),
                    models=dict.fromkeys(_TARGETS, NOTHING),
                    pins={},
                    device=discover_host().devices[0],
                    switches_us={},
                )
            best = search(problem, seed=0, seconds=SEARCH_S).candidates[0].genes
            found_by.append((problem, best))
            # Whether another placement matters: what it costs by the times that were measured here.
            here, at_home = found_by[0]
            evaluator = Evaluator(here)
            cost = evaluator.outcome(best).makespan_us / evaluator.outcome(at_home).makespan_us
            same = sum(a == b for a, b in zip(at_home.variants, best.variants, strict=True))
            rows.append(
                {
                    "boards": boards,
                    "measured": found.measured,
                    "seconds": seconds,
                    "same_ops": same / here.n_ops,
                    "cost_by_local_times": cost,
                }
            )
    table = Table(title=f"{graph.name}: surveyed here (0 boards) and on boards")
    for column in ("boards", "measured", "seconds", "ops placed as here", "cost by times here"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["boards"]),
            str(row["measured"]),
            f"{row['seconds']:.1f}",
            f"{row['same_ops']:.1%}",
            f"{row['cost_by_local_times']:.4f}",
        )
    Console().print(table)
    with tempfile.TemporaryDirectory() as scratch:
        emulated = {count: _emulated_s(graph, Path(scratch), count) for count in (1, 2)}
    Console().print(
        f"emulated, operators of {_SLEPT_US / 1e3:.0f} ms without a core: one board "
        f"{emulated[1]:.1f} s, two {emulated[2]:.1f} s"
    )
    if arguments.json:
        report = {"surveyed": rows, "emulated_seconds": emulated}
        Path(arguments.json).write_text(json.dumps(report, indent=1))
    return 0


def _emulated_s(graph: Graph, scratch: Path, count: int) -> float:
    """Seconds until every operator was timed on so many servers, where its time is slept."""
    values = activations(graph, random_inputs(graph, 0))
    jobs = []
    for op in graph.placed_ops:
        plan = emulated_region(graph, (op,), _SLEPT_US).plan
        read = slice_model(graph, (op,)).inputs
        jobs.append((op, Job(Assembly(plan, ()), tuple(values[t] for t in read), 1, 0.0)))
    with _servers(scratch, count) as address:
        assert address is not None, "there are servers"
        with Boards(*address) as boards:
            begun = time.monotonic()
            timed = dict(boards.time_all(jobs, deadline=Deadline(math.inf)))
            seconds = time.monotonic() - begun
    failed = [op for op, outcome in timed.items() if not isinstance(outcome, Timed)]
    assert not failed, f"not timed: {failed}"
    return seconds


@contextlib.contextmanager
def _servers(scratch: Path, count: int) -> Iterator[tuple[str, str] | None]:
    """A tracker and so many servers; None for none.

    They may use all cores, as a board with fewer would be another machine; each operator has one.
    """
    if not count:
        yield None
        return
    network = Network(scratch)
    try:
        for _ in range(count):
            network.server("board")
        network.wait_for("board", count)
        yield network.address, "board"
    finally:
        network.close()


if __name__ == "__main__":
    sys.exit(main())
