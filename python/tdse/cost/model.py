"""Cost models of one variant, a target with a thread count, learnt from its records.

A flydel says what physics says; gradient-boosted trees (XGBoost) learn by what factor the truth
differs from it, and smaller ones how sure that is. Trees are trusted as far as they were right
about records that they had not seen, for each kind of operator by itself. Intervals are conformal:
their width is set so that they would have held for 90 % of the records, each predicted by models
that had not seen it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tdse.boosting import load_xgboost
from tdse.cost.conformal import conformal_margin
from tdse.cost.features import (
    FEATURE_NAMES,
    Floats,
    Quantities,
    group,
    kind_of_cost,
    quantities,
)
from tdse.cost.flydel import Flydel, fit_flydel
from tdse.cost.regressors import regressors_of
from tdse.measure.records import Record

if TYPE_CHECKING:
    import xgboost

# With fewer records a tree ensemble says little more than their mean.
MINIMUM_RECORDS = 20
# With fewer of its own, a kind and element type shares the flydel of its kind, or of all.
_OWN_FLYDEL = 12
_FOLDS = 4
_LEAST_US = 1e-3
_ROUNDS = 150
_PARAMETERS = {
    "max_depth": 6,
    "eta": 0.12,
    "lambda": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "min_child_weight": 0.3,
    "objective": "reg:pseudohubererror",
    "huber_slope": 0.05,
    "base_score": 0.0,
}
# Candidates for the threshold of a split; with XGBoost's own 256, trees are no better, and take
# almost twice as long to grow.
_BINS = 96
_SPREAD_ROUNDS = 60
_SPREAD_PARAMETERS = {"max_depth": 3, "eta": 0.1, "subsample": 0.8, "min_child_weight": 10}
# Operators this fast and faster weigh less, down to a least weight.
_PLAIN_US = 20.0
_LEAST_WEIGHT = 0.3
# Of an error, no more than this counts when it is decided how far trees are trusted, and this much
# is gained by trusting them wholly, as if that were one more record with so much less error.
_MOST_ERROR = 0.3
_TRUST_PRIOR = 0.1
# Records are sorted into so many classes by how large an error is expected of them, each with a
# margin of its own, as long as a class has so many records.
_CLASSES = 5
_LEAST_CLASS = 40
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

    def predict_us(self, sizes: Quantities) -> Floats:
        """Microseconds of workloads."""
        times = np.empty(len(sizes))
        for own, members in sizes.groups.items():
            key = next(key for key in (own, (own[0], ""), ("", "")) if key in self.own)
            times[members] = np.maximum(self.own[key].predict_us(sizes.take(members)), _LEAST_US)
        return times

    def to_json(self) -> list[Any]:
        """As JSON values, from which ``from_json`` makes equal flydels."""
        return [[kind, dtype, asdict(flydel)] for (kind, dtype), flydel in self.own.items()]

    @staticmethod
    def from_json(rows: Sequence[Any]) -> Flydels:
        """The flydels that ``to_json`` gave.

        Raises:
            TypeError, ValueError: they are something else, or of other regressors.
        """
        own = {(kind, dtype): Flydel(**fields) for kind, dtype, fields in rows}
        for flydel in own.values():
            if not set(flydel.weights) <= set(regressors_of(flydel.kind)):
                raise ValueError(f"a flydel of {', '.join(flydel.weights)}")
        return Flydels(own)


def fit_flydels(sizes: Quantities, times_us: Floats) -> Flydels:
    """Flydels for what there are enough records of, and one for everything."""
    groups = {("", ""): list(range(len(sizes)))}
    groups.update(group([(kind, "") for kind, _ in sizes.kinds]))
    groups.update(sizes.groups)
    return Flydels(
        {
            key: fit_flydel(key[0], sizes.take(members), times_us[members])
            for key, members in groups.items()
            if len(members) >= _OWN_FLYDEL or not key[0]
        }
    )


@dataclass(frozen=True)
class Margins:
    """How much wider than the error that is expected an interval is.

    Attributes:
        bounds: logarithms of errors between classes, ascending.
        margins: of each class.
    """

    bounds: Sequence[float]
    margins: Sequence[float]

    def half_width(self, expected: Floats) -> Floats:
        """Half of the intervals, in logarithms, from the logarithm of the expected error."""
        widths: Floats = np.asarray(self.margins)[np.digitize(expected, self.bounds)]
        return widths * np.exp(expected)


class CostModel:
    """Predicts times of operators on one variant.

    Args:
        flydels: of the variant.
        factor: log of the truth over the flydel's word.
        trust: (kind, dtype of the result) to the share of ``factor`` that is believed, or else 1.
        spread: log of how far off that is.
        margins: by which it is multiplied.
        records: number of records that the model was trained on.
    """

    def __init__(
        self,
        flydels: Flydels,
        factor: xgboost.Booster,
        trust: Mapping[tuple[str, str], float],
        spread: xgboost.Booster,
        margins: Margins,
        records: int,
    ) -> None:
        self.flydels = flydels
        self.records = records
        self._factor = factor
        self._trust = trust
        self._spread = spread
        self._margins = margins

    def knows(self, kind: str) -> bool:
        """Whether operators of the kind were among the records, and not only a few."""
        return (kind_of_cost(kind), "") in self.flydels.own

    def predict(self, sizes: Quantities) -> Prediction:
        """The times of operators by themselves, launches included, with intervals.

        Nothing is known of how wrong the time of a kind is that was never measured, so its interval
        is everything.
        """
        base = np.log(self.flydels.predict_us(sizes))
        rows = _rows(sizes, base)
        mean = base + _believed(sizes, _raw(self._factor, rows), self._trust)
        width = self._margins.half_width(_raw(self._spread, rows))
        for (kind, _), members in sizes.groups.items():
            if not self.knows(kind):
                width[members] = np.inf
        return Prediction(np.exp(mean), np.exp(mean - width), np.exp(mean + width))

    def to_json(self) -> dict[str, Any]:
        """As JSON values, from which ``from_json`` makes an equal model."""
        return {
            "flydels": self.flydels.to_json(),
            "factor": _booster_text(self._factor),
            "trust": [[kind, dtype, share] for (kind, dtype), share in self._trust.items()],
            "spread": _booster_text(self._spread),
            "margins": asdict(self._margins),
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
            {(kind, dtype): share for kind, dtype, share in fields["trust"]},
            _booster(fields["spread"]),
            Margins(**fields["margins"]),
            fields["records"],
        )


def train(records: Sequence[Record], *, seed: int = 0) -> CostModel | None:
    """A model of one variant, from its records of single operators; None if they are too few."""
    if len(records) < MINIMUM_RECORDS:
        return None
    sizes = quantities([record.workloads[0] for record in records])
    times = np.array([record.median_us for record in records])
    flydels, rows, factor = _fit(sizes, times, seed)
    residual, correction = _held_out(sizes, times, seed)
    trust = _trust(sizes, residual, correction, _weights(times))
    error = residual - _believed(sizes, correction, trust)
    distance = np.maximum(np.abs(error), _FLOOR)
    labels = np.log(distance)
    spread = _boost(_SPREAD_PARAMETERS, _SPREAD_ROUNDS, rows, labels, seed)
    # The spread has seen the errors that it is held against, so folds of its own set the margins.
    margins = _fit_margins(distance, _held_out_spread(rows, labels, seed))
    return CostModel(flydels, factor, trust, spread, margins, len(records))


def _fit(
    sizes: Quantities, times: Floats, seed: int
) -> tuple[Flydels, npt.NDArray[np.float32], xgboost.Booster]:
    """Flydels, the features of what they were fitted to, and the trees that correct them."""
    flydels = fit_flydels(sizes, times)
    base = np.log(flydels.predict_us(sizes))
    rows = _rows(sizes, base)
    factor = _boost(_PARAMETERS, _ROUNDS, rows, np.log(times) - base, seed, _weights(times))
    return flydels, rows, factor


def _weights(times: Floats) -> Floats:
    """Of records: operators that are all launch are many, and of little interest."""
    return np.clip(np.sqrt(times / _PLAIN_US), _LEAST_WEIGHT, 1.0)


def _held_out(sizes: Quantities, times: Floats, seed: int) -> tuple[Floats, Floats]:
    """Log of truth over flydel, and what trees say it is; neither has seen the operator."""
    residual, correction = np.empty(len(sizes)), np.empty(len(sizes))
    for seen, held in _splits(len(sizes), seed):
        flydels, _, factor = _fit(sizes.take(seen.tolist()), times[seen], seed)
        others = sizes.take(held.tolist())
        base = np.log(flydels.predict_us(others))
        residual[held] = np.log(times[held]) - base
        correction[held] = _raw(factor, _rows(others, base))
    return residual, correction


def _trust(
    sizes: Quantities, residual: Floats, correction: Floats, weights: Floats
) -> dict[tuple[str, str], float]:
    """The share of the correction that leaves least of the residual, for each kind and type."""

    def left(members: Sequence[int], share: float) -> float:
        error = np.abs(residual[members] - share * correction[members])
        counted = np.sum(weights[members] * np.minimum(error, _MOST_ERROR))
        return float(counted) + _TRUST_PRIOR * (1.0 - share)

    shares = [k / 10 for k in range(11)]
    return {
        key: min(shares, key=lambda share: left(members, share))
        for key, members in sizes.groups.items()
    }


def _believed(
    sizes: Quantities, correction: Floats, trust: Mapping[tuple[str, str], float]
) -> Floats:
    shares = np.ones(len(sizes))
    for key, members in sizes.groups.items():
        shares[members] = trust.get(key, 1.0)
    return shares * correction


def _fit_margins(distance: Floats, expected: Floats) -> Margins:
    """Margins for errors ``distance`` of which ``expected`` was foreseen, as a logarithm."""
    classes = max(1, min(_CLASSES, len(distance) // _LEAST_CLASS))
    # Bounds that records have, so that no class is empty.
    bounds = np.unique(np.quantile(expected, np.arange(1, classes) / classes, method="lower"))
    bounds = bounds[bounds > expected.min()]
    of_class, ratio = np.digitize(expected, bounds), distance / np.exp(expected)
    margins = [conformal_margin(ratio[of_class == k]) for k in range(len(bounds) + 1)]
    return Margins(tuple(bounds.tolist()), tuple(margins))


def _held_out_spread(rows: npt.NDArray[np.float32], labels: Floats, seed: int) -> Floats:
    spread = np.empty(len(rows))
    for seen, held in _splits(len(rows), seed):
        booster = _boost(_SPREAD_PARAMETERS, _SPREAD_ROUNDS, rows[seen], labels[seen], seed)
        spread[held] = _raw(booster, rows[held])
    return spread


def _splits(count: int, seed: int) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    folds = np.random.default_rng(seed).permutation(count) % _FOLDS
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(_FOLDS)]


def _rows(sizes: Quantities, base: Floats) -> npt.NDArray[np.float32]:
    """Features, and the logarithm of what the flydel says."""
    return np.column_stack([sizes.features, base.astype(np.float32)])


def _boost(
    parameters: Mapping[str, object],
    rounds: int,
    rows: npt.NDArray[np.float32],
    labels: Floats,
    seed: int,
    weights: Floats | None = None,
) -> xgboost.Booster:
    xgboost = load_xgboost()
    # One thread, so that the same records give the same trees.
    given = {
        **parameters,
        "seed": seed,
        "nthread": 1,
        "tree_method": "hist",
        "max_bin": _BINS,
    }
    data = xgboost.DMatrix(rows, label=labels, weight=weights, nthread=1)
    return xgboost.train(given, data, num_boost_round=rounds)


def _raw(booster: xgboost.Booster, rows: npt.NDArray[np.float32]) -> Floats:
    return np.asarray(booster.inplace_predict(rows), np.float64)


def _booster_text(booster: xgboost.Booster) -> str:
    return base64.b64encode(bytes(booster.save_raw("ubj"))).decode()


def _booster(text: str) -> xgboost.Booster:
    booster = load_xgboost().Booster({"nthread": 1})
    booster.load_model(bytearray(base64.b64decode(text)))
    # What the flydel says comes last.
    if booster.num_features() != len(FEATURE_NAMES) + 1:
        raise ValueError(f"a model of {booster.num_features()} features")
    return booster
