"""The cost models learn from records, and say nothing where they know too little."""

from __future__ import annotations

import numpy as np

from tdse.cost.model import MINIMUM_RECORDS, train
from tdse.measure.records import Record


def _records(count: int) -> list[Record]:
    generator = np.random.default_rng(0)
    rows = generator.uniform(1.0, 10.0, (count, 3))
    return [
        Record(str(i), "llvm", 1, "add", tuple(row), float(np.exp(row[0] / 2) * row[1]), 0.1, 10)
        for i, row in enumerate(rows)
    ]


def test_too_few_records_make_no_model() -> None:
    assert train(_records(MINIMUM_RECORDS - 1)) is None


def test_predictions_follow_the_records() -> None:
    records = _records(300)
    model = train(records[:250])
    assert model is not None
    predicted = model.predict_us([record.features for record in records[250:]])
    truth = np.array([record.median_us for record in records[250:]])
    assert np.median(np.abs(predicted / truth - 1)) < 0.15


def test_training_is_repeatable() -> None:
    records = _records(60)
    rows = [record.features for record in records]
    first, second = train(records, seed=3), train(records, seed=3)
    assert first is not None and second is not None
    assert np.array_equal(first.predict_us(rows), second.predict_us(rows))
