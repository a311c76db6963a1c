"""The process that ``survey`` starts: read a specification, find out, write JSON lines.

A line says what it is at before anything that may crash, so that the parent knows what did.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tdse.contest import Progress
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.legality import Legality, demand_all_supported, find_legality
from tdse.measure.activations import Array, activations, random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.ops import Begin, Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.targets import target_threads

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Entry point of ``python -m tdse.survey_worker``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # What libraries print must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=lines)

    spec = json.load(sys.stdin)
    if spec["memory_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (spec["memory_bytes"],) * 2)
    store = RecordStore(current_conditions(), Path(spec["store"]))
    try:
        graph = read_tflite(Path(spec["model"]).read_bytes(), spec["name"])
        tell(measured=_survey(graph, spec, store, tell))
    except TdseError as error:
        tell(error=error.as_dict())
    except OSError as error:
        failure = TdseError("a temporary file cannot be written", why=error.strerror or str(error))
        tell(error=failure.as_dict())
    finally:
        store.close()


def _survey(graph: Graph, spec: Mapping[str, Any], store: RecordStore, tell: Any) -> int:
    def at(stage: str, target: str, keys: Sequence[str]) -> None:
        tell(at=[stage, target, keys])

    def say(stage: str, done: int, total: int, detail: str) -> None:
        tell(progress=[stage, done, total, detail])

    say("legality", 0, 1, "")
    legality = find_legality(graph, spec["targets"], store, begin=at)
    demand_all_supported(graph, legality)
    if graph.whole_reason:
        return 0
    values = activations(
        graph,
        random_inputs(graph, spec["seed"]),
        begin=lambda op: at("running", "litert", [legality.signatures[op]]),
    )
    np.savez(spec["values"], np.array(list(values)), *values.values())
    return _measure(
        graph,
        legality,
        values,
        spec,
        store,
        begin=lambda ops, target: at("measuring", target, [legality.signatures[op] for op in ops]),
        say=say,
    )


def _measure(
    graph: Graph,
    legality: Legality,
    values: Mapping[int, Array],
    spec: Mapping[str, Any],
    store: RecordStore,
    *,
    begin: Begin,
    say: Progress,
) -> int:
    """Measure what has no record yet: pins, then LiteRT, then where most may be gained."""
    counts = spec["counts"]

    def measure(work: Sequence[Work]) -> int:
        known = store.find(legality.signatures.values())
        unique = {(legality.signatures[w.op], w.target, w.threads): w for w in work}
        return measure_ops(
            graph,
            [
                item
                for key, item in unique.items()
                if key not in known and legality.support[item.target][item.op].ok
            ],
            values,
            store,
            deadline=spec["deadline"],
            one_by_one=spec["one_by_one"],
            begin=begin,
            progress=lambda done, total, text: say("measure", done, total, text),
        )

    total = measure(
        [
            Work(op, target, threads)
            for op, target in spec["pins"]
            for threads in target_threads(target, counts)
        ]
    )
    for target in sorted(legality.targets, key=lambda name: name != "litert"):
        for threads in target_threads(target, counts):
            work = [Work(op, target, threads) for op in graph.placed_ops]
            if target == "litert":
                work.sort(key=lambda item: -graph.ops[item.op].macs)
            else:
                records = store.find(legality.signatures.values())
                hope = partial(_hope, graph, legality, records, counts)
                work.sort(key=hope)
            total += measure(work)
    return total


# Rough rates of unscheduled loops, only to order what is measured: MAC/us and byte/us.
_LOOP_MACS_PER_US = 1500.0
_LOOP_BYTES_PER_US = 1000.0


def _hope(
    graph: Graph,
    legality: Legality,
    records: Mapping[tuple[str, str, int], Any],
    counts: Sequence[int],
    item: Work,
) -> float:
    """The smaller, the more time a measurement on this target may save."""
    op = graph.ops[item.op]
    key = legality.signatures[item.op]
    times = [records[key, "litert", n].median_us for n in counts if (key, "litert", n) in records]
    loops = op.macs / _LOOP_MACS_PER_US + (op.input_bytes + op.output_bytes) / _LOOP_BYTES_PER_US
    return loops - min(times, default=0.0)


if __name__ == "__main__":
    main()
