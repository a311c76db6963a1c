"""The cost of every operator on every target, with the source of each figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tdse.cost.features import quantities
from tdse.cost.library import VariantModels
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


@dataclass(frozen=True)
class CostTable:
    """Costs of the placed operators on the targets, with one thread count.

    Attributes:
        ops: operator indices, the rows.
        targets: target names, the columns.
        threads: threads of each column.
        cost_us: microseconds ``[ops, targets]`` that each operator adds to its region, without the
            launch; infinite where not usable.
        low_us: lower bound of each cost, likewise: of what is measured, by its spread; of what is
            predicted, of the 90 % interval; 0 of what is modelled.
        high_us: upper bound likewise; infinite of what is modelled, whose error nobody knows.
        alone_us: microseconds ``[ops, targets]`` of each operator by itself, with its launch; NaN
            where neither measured nor predicted.
        source: of each cost: ``measured``, ``predicted``, ``modelled``, ``not measured`` or
            ``not legal``.
    """

    ops: tuple[int, ...]
    targets: tuple[str, ...]
    threads: tuple[int, ...]
    cost_us: npt.NDArray[np.float64]
    low_us: npt.NDArray[np.float64]
    high_us: npt.NDArray[np.float64]
    alone_us: npt.NDArray[np.float64]
    source: tuple[tuple[str, ...], ...]


def cost_table(
    graph: Graph,
    *,
    signatures: Mapping[int, str],
    legal: Mapping[str, Mapping[int, bool]],
    threads: Mapping[str, int],
    launch_us: Mapping[str, float],
    records: Mapping[tuple[str, str, int], Record],
    models: Mapping[str, VariantModels],
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
        models: target to its cost models.
        pins: position of an operator in ``graph.placed_ops`` to the target that it must run on.
    """
    ops, targets = graph.placed_ops, tuple(legal)
    # The costs, and their lower and upper bounds.
    costs = np.full((3, len(ops), len(targets)), np.inf)
    alone_us = np.full((len(ops), len(targets)), np.nan)
    source = [[NOT_LEGAL] * len(targets) for _ in ops]
    works = [workload(graph, graph.ops[op]) for op in ops]
    sizes = quantities(works)
    for column, target in enumerate(targets):
        times_us = np.full((3, len(ops)), np.nan)
        unknown = []
        for row, op in enumerate(ops):
            if not legal[target][op]:
                continue
            record = records.get((signatures[op], target, threads[target]))
            if record is None:
                unknown.append(row)
                source[row][column] = UNKNOWN
            else:
                times_us[:, row] = _bounds_us(record)
                source[row][column] = MEASURED
        known = models[target]
        if unknown and known.operators is not None:
            predicted = known.operators.predict(sizes.take(unknown))
            times_us[:, unknown] = predicted.mean_us, predicted.low_us, predicted.high_us
            for row in unknown:
                is_known = known.operators.knows(works[row].kind)
                source[row][column] = PREDICTED if is_known else MODELLED
        alone_us[:, column] = times_us[0]
        for layer, time_us in zip(costs, times_us, strict=True):
            shares = known.regions.shares_us(works, time_us, launch_us[target])
            layer[:, column] = np.where(np.isnan(time_us), np.inf, shares)
    needed = {row: targets.index(target) for row, target in pins.items()}
    for row in np.flatnonzero(~np.isfinite(costs[0]).any(axis=1)).tolist():
        needed.setdefault(row, source[row].index(UNKNOWN))
    for row, column in needed.items():
        if source[row][column] == UNKNOWN:
            costs[:, row, column] = _roofline_us(graph.ops[ops[row]]), 0.0, np.inf
            source[row][column] = MODELLED
    return CostTable(
        ops,
        targets,
        tuple(threads[t] for t in targets),
        cost_us=costs[0],
        low_us=costs[1],
        high_us=costs[2],
        alone_us=alone_us,
        source=tuple(tuple(row) for row in source),
    )


def _bounds_us(record: Record) -> tuple[float, float, float]:
    """The median, and the median less and more by half the spread of the runs."""
    half_us = record.spread_us / 2
    return record.median_us, max(0.0, record.median_us - half_us), record.median_us + half_us


def _roofline_us(op: Op) -> float:
    traffic = op.input_bytes + op.parameter_bytes + op.output_bytes
    return op.macs / _ROOF_MACS_PER_US + traffic / _ROOF_BYTES_PER_US
