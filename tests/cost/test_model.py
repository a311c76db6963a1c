"""The cost models learn from records, and say nothing where they know too little."""

from __future__ import annotations

import numpy as np

from tdse.cost.features import Quantities, quantities
from tdse.cost.model import MINIMUM_RECORDS, train
from tdse.graph.workload import TensorForm, Workload
from tdse.measure.records import Record


def _records(count: int) -> list[Record]:
    """Additions whose time follows from their size."""
    generator = np.random.default_rng(0)
    records = []
    for i, size in enumerate(generator.integers(10, 100_000, count).tolist()):
        form = TensorForm((1, size), "float32")
        work = Workload("add", (form, form), (form,), {}, 0, 0, 8 * size, 4 * size)
        records.append(Record(str(i), "llvm", 1, (work,), 0.5 + size / 1000, 0.1, 10))
    return records


def _sizes(records: list[Record]) -> Quantities:
    return quantities([record.workloads[0] for record in records])


def test_too_few_records_make_no_model() -> None:
    assert train(_records(MINIMUM_RECORDS - 1)) is None


def test_predictions_follow_the_records() -> None:
    records = _records(300)
    model = train(records[:250])
    assert model is not None
    predicted = model.predict(_sizes(records[250:]))
    truth = np.array([record.median_us for record in records[250:]])
    assert np.median(np.abs(predicted.mean_us / truth - 1)) < 0.05
    assert np.mean((predicted.low_us <= truth) & (truth <= predicted.high_us)) > 0.8


def test_training_is_repeatable() -> None:
    records = _records(60)
    sizes = _sizes(records)
    first, second = train(records, seed=3), train(records, seed=3)
    assert first is not None and second is not None
    assert np.array_equal(first.predict(sizes).mean_us, second.predict(sizes).mean_us)


def test_trees_are_trusted_where_they_were_right_about_what_they_had_not_seen() -> None:
    generator = np.random.default_rng(1)
    records = []
    for i in range(400):
        # One kind takes longer by a rule that no sum can say; the other is all noise.
        kind = ("add", "softmax")[i % 2]
        rows, channels = (int(n) for n in generator.integers(1, 200, 2))
        form = TensorForm((1, 1, rows, channels), "float32")
        size = rows * channels
        work = Workload(kind, (form,), (form,), {}, 0, 0, 4 * size, 4 * size)
        by_rule = 4.0 if 50 < channels < 120 else 1.0
        factor = by_rule if kind == "add" else float(np.exp(generator.uniform(-0.15, 0.15)))
        records.append(Record(str(i), "llvm", 1, (work,), (20 + size / 100) * factor, 0.1, 10))
    model = train(records)
    assert model is not None
    trust = {(kind, dtype): share for kind, dtype, share in model.to_json()["trust"]}
    assert trust["add", "float32"] >= 0.8
    assert trust["softmax", "float32"] <= 0.4
