"""XGBoost cost models: one for each target, trained on the records of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tdse.cost.features import features
from tdse.measure.records import Record

if TYPE_CHECKING:
    import xgboost

# With fewer records a tree ensemble says little more than their mean.
MINIMUM_RECORDS = 20
_ROUNDS = 200
_PARAMETERS = {"max_depth": 5, "eta": 0.1, "subsample": 0.9, "nthread": 1}


class CostModel:
    """Predicts the time of an operator on one target, from records of other operators.

    The model learns the logarithm of the time, as its error is relative.
    """

    def __init__(self, booster: xgboost.Booster, records: int) -> None:
        self._booster = booster
        self.records = records

    def predict_us(self, features: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        """Predicted microseconds, one for each row of ``features``."""
        import xgboost

        logarithms = self._booster.predict(xgboost.DMatrix(np.asarray(features, np.float32)))
        times: npt.NDArray[np.float64] = np.exp(np.asarray(logarithms, np.float64))
        return times


def train(records: Sequence[Record], *, seed: int = 0) -> CostModel | None:
    """A model trained on ``records`` of one target, or None if they are too few."""
    usable = [(record, record.workload) for record in records if record.workload is not None]
    if len(usable) < MINIMUM_RECORDS:
        return None
    import xgboost

    data = xgboost.DMatrix(
        np.asarray([features(work, record.threads) for record, work in usable], np.float32),
        label=np.log([record.median_us for record, _ in usable]),
    )
    booster = xgboost.train({**_PARAMETERS, "seed": seed}, data, num_boost_round=_ROUNDS)
    return CostModel(booster, len(usable))
