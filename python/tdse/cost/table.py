"""The cost of every operator on every target, with the source of each figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tdse.cost.features import features
from tdse.cost.model import CostModel
from tdse.graph.model import Graph, Op
from tdse.graph.workload import workload
from tdse.measure.records import Record

MEASURED: Final = "measured"
PREDICTED = "predicted"
MODELLED: Final = "modelled"
UNKNOWN = "not measured"
NOT_LEGAL = "not legal"

# Rates of a small core's vector code, MAC/us and byte/us: a guess that only serves where the budget
# ended before anything was measured and there are too few records to learn from.
_ROOF_MACS_PER_US = 10_000.0
_ROOF_BYTES_PER_US = 5_000.0

# An operator's slice is never free, even where its time is all launch.
_LEAST_US = 0.02


@dataclass(frozen=True)
class CostTable:
    """Costs of the placed operators on the targets, with one thread count.

    Attributes:
        ops: operator indices, the rows.
        targets: target names, the columns.
        threads: threads of each column.
        cost_us: microseconds ``[ops, targets]`` without the launch; infinite where not usable.
        source: of each cost: ``measured``, ``predicted``, ``modelled``, ``not measured`` or
            ``not legal``.
    """

    ops: tuple[int, ...]
    targets: tuple[str, ...]
    threads: tuple[int, ...]
    cost_us: npt.NDArray[np.float64]
    source: tuple[tuple[str, ...], ...]


def cost_table(
    graph: Graph,
    *,
    signatures: Mapping[int, str],
    legal: Mapping[str, Mapping[int, bool]],
    threads: Mapping[str, int],
    launch_us: Mapping[str, float],
    records: Mapping[tuple[str, str, int], Record],
    models: Mapping[str, CostModel | None],
    pins: Mapping[int, str],
) -> CostTable:
    """Fill the table: a record beats a prediction, and what neither knows is not used.

    An operator that no target has a figure for gets a modelled one on its first legal target, and
    so does one that is pinned where there is none.

    Args:
        graph: the model.
        signatures: operator index to signature.
        legal: target to operator index to whether it may run there.
        threads: target to the threads it is given.
        launch_us: target to the time of one launch, which each record includes.
        records: of ``RecordStore.find``.
        models: target to its cost model, if there is one.
        pins: position of an operator in ``graph.placed_ops`` to the target that it must run on.
    """
    ops, targets = graph.placed_ops, tuple(legal)
    cost = np.full((len(ops), len(targets)), np.inf)
    source = [[NOT_LEGAL] * len(targets) for _ in ops]
    for column, target in enumerate(targets):
        unknown = []
        for row, op in enumerate(ops):
            if not legal[target][op]:
                continue
            record = records.get((signatures[op], target, threads[target]))
            if record is None:
                unknown.append(row)
                source[row][column] = UNKNOWN
            else:
                cost[row, column] = record.median_us
                source[row][column] = MEASURED
        model = models.get(target)
        if unknown and model is not None:
            rows = [
                features(workload(graph, graph.ops[ops[row]]), threads[target]) for row in unknown
            ]
            for row, predicted in zip(unknown, model.predict_us(rows), strict=True):
                cost[row, column] = predicted
                source[row][column] = PREDICTED
        cost[:, column] = np.maximum(cost[:, column] - launch_us[target], _LEAST_US)
    needed = {row: targets.index(target) for row, target in pins.items()}
    for row in np.flatnonzero(~np.isfinite(cost).any(axis=1)).tolist():
        needed.setdefault(row, source[row].index(UNKNOWN))
    for row, column in needed.items():
        if source[row][column] == UNKNOWN:
            cost[row, column] = _roofline_us(graph.ops[ops[row]])
            source[row][column] = MODELLED
    return CostTable(
        ops, targets, tuple(threads[t] for t in targets), cost, tuple(tuple(row) for row in source)
    )


def _roofline_us(op: Op) -> float:
    traffic = op.input_bytes + op.parameter_bytes + op.output_bytes
    return op.macs / _ROOF_MACS_PER_US + traffic / _ROOF_BYTES_PER_US
