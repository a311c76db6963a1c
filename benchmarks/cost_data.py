"""Measurements that ``cost_models.py`` judges cost models by: of random operators, and of networks.

They are kept in record stores in one directory, and a second run measures only what is missing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tdse.child import Child
from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.signature import region_signature, signature
from tdse.graph.workload import Workload, workload
from tdse.measure.conditions import current_conditions
from tdse.measure.records import Record, RecordStore
from tdse.profile import profile
from tdse.survey import survey, time_again, time_regions

TARGETS, COUNTS = ("litert", "llvm"), (1, 2)
VARIANTS = tuple((target, threads) for target in TARGETS for threads in COUNTS)
_PATIENCE_S = 1.0
# One operator of so many is measured twice, for the noise.
_REPEATED = 8

Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """A network and what was measured of it.

    Attributes:
        graph: the model.
        records: (signature, target, threads) to the record, of its operators and of itself whole.
        repeated: likewise, of itself whole, at another moment.
    """

    graph: Graph
    records: dict[tuple[str, str, int], Record]
    repeated: dict[tuple[str, str, int], Record]

    @property
    def name(self) -> str:
        """Of the file."""
        return self.graph.name

    @cached_property
    def signatures(self) -> list[str]:
        """Of each placed operator."""
        return [signature(self.graph, op) for op in self.graph.placed_ops]

    @cached_property
    def works(self) -> list[Workload]:
        """Of each placed operator."""
        return [workload(self.graph, self.graph.ops[op]) for op in self.graph.placed_ops]

    @cached_property
    def key(self) -> str:
        """Signature of the whole as one region."""
        return region_signature(self.graph, self.graph.placed_ops)

    def operators(self, target: str, threads: int) -> list[Record]:
        """A record of each different operator that was measured."""
        keys = [(key, target, threads) for key in dict.fromkeys(self.signatures)]
        return [self.records[key] for key in keys if key in self.records]

    def whole(self, target: str, threads: int) -> tuple[Record, Record] | None:
        """The two records of the whole, if it was measured."""
        key = (self.key, target, threads)
        return (self.records[key], self.repeated[key]) if key in self.repeated else None


def open_store(data: Path, name: str) -> RecordStore:
    """The store ``name`` in the directory ``data``."""
    data.mkdir(parents=True, exist_ok=True)
    return RecordStore(current_conditions(), data / f"{name}.sqlite")


def excite(data: Path, seconds: float, say: Say) -> list[Record]:
    """All records of random operators, after measuring for ``seconds`` more."""
    path = data / "excitation.sqlite"
    if seconds > 0:
        say(f"random operators, for {seconds:.0f} s")
        profile(budget_s=seconds, targets=TARGETS, store=path)
    with contextlib.closing(open_store(data, "excitation")) as store:
        return [record for target in TARGETS for record in store.of_target(target)]


def measure_networks(data: Path, models: Sequence[Path], say: Say) -> list[Network]:
    """Measure what has no record yet; networks that LiteRT cannot run or cut are left out."""
    graphs = []
    with (
        contextlib.closing(open_store(data, "networks")) as store,
        contextlib.closing(open_store(data, "again")) as again,
    ):
        for model in models:
            say(model.stem)
            try:
                graph = read_tflite(model)
                if not graph.whole_reason:
                    _measure(graph, store)
                    graphs.append(graph)
            except ModelError as error:
                say(f"left out: {error}")
        # In a second round, so that some time has passed.
        for graph in graphs:
            say(f"{graph.name} again")
            with Child(graph, _quiet) as child:
                _measure_whole(graph, child, again)
        found = []
        for graph in graphs:
            keys = [signature(graph, op) for op in graph.placed_ops]
            keys.append(region_signature(graph, graph.placed_ops))
            found.append(Network(graph, store.find(keys), again.find(keys)))
    return found


def _measure(graph: Graph, store: RecordStore) -> None:
    with Child(graph, _quiet) as child:
        found = survey(
            graph,
            child,
            TARGETS,
            COUNTS,
            store,
            pins={},
            seed=0,
            deadline=math.inf,
            patience_s=_PATIENCE_S,
        )
        _measure_whole(graph, child, store)
        if found.measured:
            ops = np.random.default_rng(0).choice(
                graph.placed_ops, -(-len(graph.placed_ops) // _REPEATED), replace=False
            )
            time_again(
                graph,
                child,
                ops.tolist(),
                VARIANTS,
                store,
                seed=0,
                deadline=math.inf,
                patience_s=_PATIENCE_S,
            )


def _measure_whole(graph: Graph, child: Child, store: RecordStore) -> None:
    time_regions(
        graph,
        child,
        [Region(0, target, graph.placed_ops) for target in TARGETS],
        COUNTS,
        store,
        seed=0,
        deadline=math.inf,
        patience_s=4 * _PATIENCE_S,
    )


def _quiet(stage: str, done: int, total: int, detail: str) -> None:
    """Progress is told by network."""
