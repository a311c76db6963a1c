"""Cost models of one variant, a target with a thread count, learnt from its records.

A flydel says what physics says; gradient-boosted trees (XGBoost) learn by what factor the truth
differs from it, and smaller ones how sure that is. Intervals are conformal: their width is set so
that they would have held for 90 % of the records, each predicted by models that had not seen it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tdse.cost.conformal import conformal_margin
from tdse.cost.features import FEATURE_NAMES, features
from tdse.cost.flydel import Flydel, fit_flydel
from tdse.cost.regressors import regressor_row
from tdse.graph.workload import Workload
from tdse.measure.records import Record

if TYPE_CHECKING:
    import xgboost

Floats = npt.NDArray[np.float64]

# With fewer records a tree ensemble says little more than their mean.
MINIMUM_RECORDS = 20
# With fewer of its own, a kind and element type shares the flydel of its kind, or of all.
_OWN_FLYDEL = 12
_FOLDS = 4
_ROUNDS = 250
_PARAMETERS = {
    "max_depth": 5,
    "eta": 0.06,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "min_child_weight": 3,
    "objective": "reg:pseudohubererror",
    "huber_slope": 0.15,
    "base_score": 0.0,
}
_SPREAD_ROUNDS = 60
_SPREAD_PARAMETERS = {"max_depth": 3, "eta": 0.1, "subsample": 0.8, "min_child_weight": 10}
# No error is taken for smaller than what repeated measurements differ by.
_FLOOR = 0.01


@dataclass(frozen=True)
class Prediction:
    """Times of some operators, microseconds, with the bounds of their 90 % intervals."""

    mean_us: Floats
    low_us: Floats
    high_us: Floats


@dataclass(frozen=True)
class Flydels:
    """The flydels of a variant: for each kind and element type, for each kind, and for the rest.

    Attributes:
        own: (kind, dtype of the result) to flydel; the dtype is empty for all of the kind.
    """

    own: Mapping[tuple[str, str], Flydel]

    def predict_us(self, works: Sequence[Workload]) -> Floats:
        """Microseconds of workloads."""
        times = np.empty(len(works))
        groups: dict[tuple[str, str], list[int]] = {}
        for i, work in enumerate(works):
            groups.setdefault(self._key(work), []).append(i)
        for key, members in groups.items():
            flydel = self.own[key]
            rows = [regressor_row(works[i], flydel.kind) for i in members]
            times[members] = np.maximum(flydel.predict_us(rows), 1e-3)
        return times

    def to_json(self) -> list[Any]:
        """As JSON values, from which ``from_json`` makes equal flydels."""
        return [[kind, dtype, asdict(flydel)] for (kind, dtype), flydel in self.own.items()]

    @staticmethod
    def from_json(rows: Sequence[Any]) -> Flydels:
        """The flydels that ``to_json`` gave."""
        return Flydels({(kind, dtype): Flydel(**fields) for kind, dtype, fields in rows})

    def _key(self, work: Workload) -> tuple[str, str]:
        own = (work.kind, work.outputs[0].dtype)
        return next(key for key in (own, (work.kind, ""), ("", "")) if key in self.own)


def fit_flydels(works: Sequence[Workload], times_us: Floats) -> Flydels:
    """Flydels for what there are enough records of, and one for everything."""
    groups: dict[tuple[str, str], list[int]] = {("", ""): list(range(len(works)))}
    for i, work in enumerate(works):
        groups.setdefault((work.kind, ""), []).append(i)
        groups.setdefault((work.kind, work.outputs[0].dtype), []).append(i)
    return Flydels(
        {
            key: fit_flydel(key[0], [works[i] for i in members], times_us[members].tolist())
            for key, members in groups.items()
            if len(members) >= _OWN_FLYDEL or not key[0]
        }
    )


class CostModel:
    """Predicts times of operators on one variant.

    Args:
        flydels: of the variant.
        factor: log of the truth over the flydel's word.
        spread: log of how far off that is.
        margin: times the spread, the half width of an interval, in logarithms.
        records: number of records that the model was trained on.
    """

    def __init__(
        self,
        flydels: Flydels,
        factor: xgboost.Booster,
        spread: xgboost.Booster,
        margin: float,
        records: int,
    ) -> None:
        self.flydels = flydels
        self.records = records
        self._factor = factor
        self._spread = spread
        self._margin = margin

    def predict(self, works: Sequence[Workload]) -> Prediction:
        """The times of operators, with intervals."""
        data = _matrix(works)
        mean = np.log(self.flydels.predict_us(works)) + _raw(self._factor, data)
        width = self._margin * np.exp(_raw(self._spread, data))
        return Prediction(np.exp(mean), np.exp(mean - width), np.exp(mean + width))

    def to_json(self) -> dict[str, Any]:
        """As JSON values, from which ``from_json`` makes an equal model."""
        return {
            "flydels": self.flydels.to_json(),
            "factor": _booster_text(self._factor),
            "spread": _booster_text(self._spread),
            "margin": self._margin,
            "records": self.records,
        }

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> CostModel:
        """The model that ``to_json`` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else, or knows other features.
        """
        return CostModel(
            Flydels.from_json(fields["flydels"]),
            _booster(fields["factor"]),
            _booster(fields["spread"]),
            fields["margin"],
            fields["records"],
        )


def train(records: Sequence[Record], *, seed: int = 0) -> CostModel | None:
    """A model of the operators among the records of one variant; None if they are too few."""
    usable = [record for record in records if len(record.workloads) == 1]
    if len(usable) < MINIMUM_RECORDS:
        return None
    works = [record.workloads[0] for record in usable]
    times = np.array([record.median_us for record in usable])
    rows = _rows(works)
    error = _held_out_errors(works, rows, times, seed)
    distance = np.maximum(np.abs(error), _FLOOR)
    spread_labels = np.log(distance)
    spread = _boost(_SPREAD_PARAMETERS, _SPREAD_ROUNDS, rows, spread_labels, seed)
    # The spread has seen the errors that it is held against, so folds of its own set the margin.
    margin = conformal_margin(distance / np.exp(_held_out_spread(rows, spread_labels, seed)))
    flydels = fit_flydels(works, times)
    labels = np.log(times / flydels.predict_us(works))
    factor = _boost(_PARAMETERS, _ROUNDS, rows, labels, seed)
    return CostModel(flydels, factor, spread, margin, len(usable))


def _held_out_errors(
    works: Sequence[Workload], rows: npt.NDArray[np.float32], times: Floats, seed: int
) -> Floats:
    """Log of truth over prediction, by models that have not seen the operator."""
    errors = np.empty(len(works))
    for seen, held in _splits(len(works), seed):
        flydels = fit_flydels([works[i] for i in seen], times[seen])
        labels = np.log(times / flydels.predict_us(works))
        booster = _boost(_PARAMETERS, _ROUNDS, rows[seen], labels[seen], seed)
        errors[held] = labels[held] - _raw(booster, _data(rows[held]))
    return errors


def _held_out_spread(rows: npt.NDArray[np.float32], labels: Floats, seed: int) -> Floats:
    spread = np.empty(len(rows))
    for seen, held in _splits(len(rows), seed):
        booster = _boost(_SPREAD_PARAMETERS, _SPREAD_ROUNDS, rows[seen], labels[seen], seed)
        spread[held] = _raw(booster, _data(rows[held]))
    return spread


def _splits(count: int, seed: int) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    folds = np.random.default_rng(seed).permutation(count) % _FOLDS
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(_FOLDS)]


def _rows(works: Sequence[Workload]) -> npt.NDArray[np.float32]:
    return np.asarray([features(work) for work in works], np.float32)


def _matrix(works: Sequence[Workload]) -> xgboost.DMatrix:
    return _data(_rows(works))


def _data(rows: npt.NDArray[np.float32], labels: Floats | None = None) -> xgboost.DMatrix:
    import xgboost

    return xgboost.DMatrix(rows, label=labels, nthread=1)


def _boost(
    parameters: Mapping[str, object],
    rounds: int,
    rows: npt.NDArray[np.float32],
    labels: Floats,
    seed: int,
) -> xgboost.Booster:
    import xgboost

    # One thread, so that the same records give the same trees.
    given = {**parameters, "seed": seed, "nthread": 1, "tree_method": "hist"}
    return xgboost.train(given, _data(rows, labels), num_boost_round=rounds)


def _raw(booster: xgboost.Booster, data: xgboost.DMatrix) -> Floats:
    return np.asarray(booster.predict(data), np.float64)


def _booster_text(booster: xgboost.Booster) -> str:
    return base64.b64encode(bytes(booster.save_raw("ubj"))).decode()


def _booster(text: str) -> xgboost.Booster:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(base64.b64decode(text)))
    if booster.num_features() != len(FEATURE_NAMES):
        raise ValueError(f"a model of {booster.num_features()} features")
    return booster
