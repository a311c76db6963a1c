"""Where each figure of the cost table comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tdse.cost.features import FEATURE_NAMES, KINDS, quantities
from tdse.cost.library import NOTHING, VariantModels
from tdse.cost.model import train
from tdse.cost.region import SUM
from tdse.cost.table import MEASURED, MODELLED, NOT_LEGAL, PREDICTED, UNKNOWN, cost_table
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.graph.workload import Workload, workload
from tdse.measure.records import Record


def _record(key: str, target: str, work: tuple[Workload, ...], time_us: float) -> Record:
    return Record(key, target, 1, work, time_us, 0.0, 10)


def test_a_record_beats_a_prediction_and_a_guess_is_labelled(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    ops = graph.placed_ops
    signatures = {op: signature(graph, op) for op in ops}
    first, second, third = ops[0], ops[1], ops[2]
    legal = {
        "litert": {op: True for op in ops},
        "llvm": {op: op != second for op in ops},
    }
    records = {
        (signatures[first], "litert", 1): _record(signatures[first], "litert", (), 100.0),
    }
    works = [(workload(graph, graph.ops[op]),) for op in ops]
    learnt = train([_record(str(i), "llvm", works[i % len(works)], 50.0) for i in range(40)])
    table = cost_table(
        graph,
        signatures=signatures,
        legal=legal,
        threads={"litert": 1, "llvm": 1},
        launch_us={"litert": 1.0, "llvm": 0.5},
        records=records,
        models={"litert": NOTHING, "llvm": VariantModels(learnt, SUM, 0.5)},
        pins={3: "litert"},
    )
    assert table.source[0] == (MEASURED, PREDICTED)
    assert table.cost_us[0, 0] == 99.0
    np.testing.assert_allclose(table.cost_us[0, 1], 49.5, rtol=0.05)
    # Nothing is known of the second operator, and it may only run on LiteRT.
    assert table.source[1] == (MODELLED, NOT_LEGAL)
    assert 0 < table.cost_us[1, 0] < np.inf
    assert np.isinf(table.cost_us[1, 1])
    # The third has a prediction on one target, which is enough.
    assert third == ops[2]
    assert table.source[2] == (UNKNOWN, PREDICTED)
    assert np.isinf(table.cost_us[2, 0])
    # The fourth must run where there is none.
    assert table.source[3] == (MODELLED, PREDICTED)
    assert 0 < table.cost_us[3, 0] < np.inf


def test_every_feature_has_a_name(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    kinds = {f"is_{kind}" for kind in (*KINDS, "other")}
    sizes = quantities([workload(graph, op) for op in graph.ops])
    rows = [dict(zip(FEATURE_NAMES, row, strict=True)) for row in sizes.features.tolist()]
    assert all(sum(row[name] for name in kinds) == 1.0 for row in rows)
    stem = rows[0]
    assert (stem["kernel_height"], stem["stride"], stem["height"]) == (3.0, 2.0, 8.0)
