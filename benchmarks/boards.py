"""Survey a model here, on one board and on two, and compare wall times and placements.

    python benchmarks/boards.py MODEL.tflite [--json FILE]

The boards are two RPC servers on this machine, so operators are timed with one thread. A board that
is not this machine gives other times, of course.
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

from tdse.candidates import SEARCH_S
from tdse.child import Child
from tdse.cost.library import NOTHING
from tdse.graph.reader import read_tflite
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.place import cost_problem
from tdse.platform import discover_host
from tdse.search import search
from tdse.search.native import Evaluator
from tdse.survey import survey

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from rpc_network import Network

_TARGETS = ("litert", "llvm")


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
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1))
    return 0


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
