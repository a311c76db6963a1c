"""The time of a region of several operators, from those of its operators.

Operators are measured one by one, warm. In a region their weights have left the nearest cache since
the last run, the runtime fuses some of them with their neighbours, and threads that were woken for
one operator are still awake for the next. A sum of few terms says what that makes. It is fitted to
measured chains of operators, or to the regions of a placement of the model itself, timed in place;
there a launch, too, takes longer than by itself, since other regions have had the caches meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from tdse.cost.conformal import conformal_margin
from tdse.cost.features import Floats, kind_of_cost
from tdse.cost.robust import huber_fit
from tdse.graph.workload import FAR_SCALES, Workload

# With fewer chains, a region is taken to be the sum of its operators.
MINIMUM_CHAINS = 12
_MATRIX = frozenset({"conv2d", "transpose_conv2d", "fully_connected", "batch_matmul"})
# LiteRT has plain code for these in 8 bits, with branches that depend on the values. By themselves,
# a processor learns those of small tensors by heart: a RELU took 4 ns an element up to some 30 kB,
# 10 beyond, and 10 in chains.
_BRANCHING = frozenset({"relu", "relu6", "average_pool2d"})
# Microseconds a byte, from the slowest memory that is likely: the 3.3 GB/s of a small board.
_SLOWEST = 3e-4
# Name of a term, the weight that stands for "no more than the sum", and the weight's bounds.
_TERMS: tuple[tuple[str, float, float, float], ...] = (
    ("matrix_us", 1.0, 0.5, 1.5),
    ("depthwise_us", 1.0, 0.5, 1.5),
    ("binary_us", 1.0, 0.3, 1.5),
    ("folded_pad_us", 1.0, 0.0, 1.5),
    ("branching_us", 1.0, 0.3, 2.5),
    ("others_us", 1.0, 0.3, 1.5),
    ("operators", 0.0, -10.0, 10.0),
    ("cold_parameter_bytes", 0.0, 0.0, _SLOWEST),
    ("streamed_activation_bytes", 0.0, 0.0, _SLOWEST),
    ("far_parameter_bytes", 0.0, 0.0, _SLOWEST),
)
# An operator that takes no more than the first counts as none, since no thread is woken for it, and
# one that takes the second or more as one.
_NONE_US, _WHOLE_US = 0.5, 1.0
# No operator is free, even where its time is all launch.
_LEAST_US = 0.02
_GROUPS = [name for name, *_ in _TERMS if name.endswith("_us")]
# A core's own cache; that of the processors this was tried on, AMD Zen 4, and common on others.
_CACHE_BYTES = 1 << 20
# What a core may expect of the last cache, which it shares with others: half of the 32 MiB that the
# processor has on which this was tried.
_LAST_CACHE_BYTES = 16 << 20
# How many chains the weight that stands for "no more than the sum" is worth: of a factor of times,
# which is 1 but for what is fused, and of what is added.
_FACTOR_PRIOR = 3.0
_ADDED_PRIOR = 0.1
# Errors above this share count less.
_HUBER = 0.05
_ROUNDS = 5
# Weights, their lower and upper bounds, and how many chains each weight is worth.
_PLAIN: tuple[Floats, ...] = (
    *(np.array([term[i] for term in _TERMS]) for i in (1, 2, 3)),
    np.array([_FACTOR_PRIOR if name in _GROUPS else _ADDED_PRIOR for name, *_ in _TERMS]),
)


@dataclass(frozen=True)
class RegionModel:
    """A sum of terms of a region.

    Attributes:
        weights: name of a term to its weight: a factor of a time, or microseconds for one operator
            or byte.
        margin: half width of the 90 % interval, in logarithms; 0 where nothing was learnt.
        chains: records that it was fitted to.
        launch_extra_us: microseconds that a launch takes longer in place than by itself; 0 where
            nothing was timed in place.
    """

    weights: Mapping[str, float]
    margin: float
    chains: int
    launch_extra_us: float = 0.0

    def shares_us(self, works: Sequence[Workload], times_us: Floats, launch_us: float) -> Floats:
        """What each operator adds to the time of the region it is in, microseconds.

        Args:
            works: all operators that run before the first of them runs again: a whole model's, or
                those of a region that is timed by itself.
            times_us: of each by itself, with its launch.
            launch_us: of one launch.
        """
        weights = [self.weights[name] for name, *_ in _TERMS]
        rows = _rows(works, times_us - launch_us)
        shares: Floats = np.maximum(rows @ np.asarray(weights), _LEAST_US)
        return shares

    def predict_us(self, works: Sequence[Workload], times_us: Floats, launch_us: float) -> float:
        """Microseconds of one region; arguments as of ``shares_us``."""
        return launch_us + float(np.sum(self.shares_us(works, times_us, launch_us)))

    def formula(self) -> str:
        """The sum as a person reads it."""
        terms = [f"{weight:.4g}*{name}" for name, weight in self.weights.items() if weight]
        return f"time_us = launch + {' + '.join(terms)}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, from which ``from_json`` makes an equal model."""
        return dataclasses.asdict(self) | {"weights": dict(self.weights)}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> RegionModel:
        """The model that ``to_json`` gave.

        Raises:
            KeyError: it has other terms.
        """
        weights = {name: fields["weights"][name] for name, *_ in _TERMS}
        return RegionModel(weights, fields["margin"], fields["chains"], fields["launch_extra_us"])


SUM = RegionModel({name: plain for name, plain, _, _ in _TERMS}, 0.0, 0)


def fit_region(
    chains: Sequence[tuple[Sequence[Workload], Floats, float]], launch_us: float
) -> RegionModel:
    """The sum with the least relative error, drawn towards the plain sum of the operators.

    Args:
        chains: of each measured chain its operators, the times of each by itself, and its own
            time, microseconds.
        launch_us: of one launch.
    """
    if len(chains) < MINIMUM_CHAINS:
        return SUM
    rows = np.array([np.sum(_rows(works, times - launch_us), axis=0) for works, times, _ in chains])
    measured = np.array([time for *_, time in chains])
    weights = _fit(rows, measured - launch_us, measured, *_PLAIN)
    errors = np.empty(len(chains))
    for i in range(len(chains)):
        rest = np.arange(len(chains)) != i
        others = _fit(rows[rest], (measured - launch_us)[rest], measured[rest], *_PLAIN)
        errors[i] = np.log(measured[i] / max(1e-3, launch_us + rows[i] @ others))
    return RegionModel(_named(weights), conformal_margin(np.abs(errors)), len(chains))


def fit_in_place(
    before: RegionModel,
    works: Sequence[Workload],
    times_us: Floats,
    launch_us: float,
    regions: Sequence[tuple[Sequence[int], float]],
) -> RegionModel:
    """What regions of a model, timed while the whole of it ran, say of all others of it.

    The less they tell, the nearer it stays to the model before.

    Args:
        before: the model of the same variant.
        works: all operators of the model that is run.
        times_us: of each by itself, with its launch; NaN where it is not known.
        launch_us: of one launch by itself.
        regions: positions of the operators of each region, and its microseconds in place.
    """
    shares = _rows(works, times_us - launch_us)
    known = [(list(ops), time) for ops, time in regions if not np.isnan(times_us[list(ops)]).any()]
    if not known:
        return before
    rows = np.array([[*np.sum(shares[ops], axis=0), 1.0] for ops, _ in known])
    measured = np.array([time for _, time in known])
    _, low, high, priors = _PLAIN
    weights = _fit(
        rows,
        measured - launch_us,
        measured,
        np.array([*(before.weights[name] for name, *_ in _TERMS), before.launch_extra_us]),
        np.array([*low, 0.0]),
        np.array([*high, np.inf]),
        np.array([*priors, _ADDED_PRIOR]),
    )
    return RegionModel(_named(weights[:-1]), before.margin, len(known), float(weights[-1]))


def _named(weights: Floats) -> dict[str, float]:
    return dict(zip((name for name, *_ in _TERMS), weights.tolist(), strict=True))


def _fit(
    rows: Floats,
    extra_us: Floats,
    scale_us: Floats,
    plain: Floats,
    low: Floats,
    high: Floats,
    priors: Floats,
) -> Floats:
    """Weights within bounds, each near its plain one as far as the rows leave that open."""
    relative, wanted = rows / scale_us[:, None], extra_us / scale_us
    size = np.sqrt(np.mean(relative**2, axis=0))
    # Of a term that no chain has, the plain weight remains.
    has = size > 0
    relative, size = relative[:, has], size[has]
    prior = np.diag(np.sqrt(priors[has]) * size)

    def solve(rows: Floats, wanted: Floats) -> Floats:
        found = lsq_linear(
            np.vstack([rows, prior]) / size,
            np.concatenate([wanted, prior @ plain[has]]),
            bounds=(low[has] * size, high[has] * size),
        )
        solution: Floats = found.x / size
        return solution

    weights: Floats = plain.copy()
    weights[has] = huber_fit(solve, relative, wanted, threshold=_HUBER, rounds=_ROUNDS)
    return weights


def _rows(works: Sequence[Workload], extra_us: Floats) -> Floats:
    """The terms of each operator, given its time by itself without the launch.

    Weights are read again only after all others, so they are cold by then if these are more than
    the cache holds. Activations have just been made, and are no colder than where an operator is
    measured by itself; those that do not fit a core's own cache were streamed there already.
    """
    held = sum(work.parameter_bytes for work in works)
    held += max(work.input_bytes + work.output_bytes for work in works)
    cold = float(np.clip(held / _CACHE_BYTES - 1.0, 0.0, 1.0))
    far = float(np.clip(held / _LAST_CACHE_BYTES - 1.0, 0.0, 1.0))
    rows = np.zeros((len(works), len(_TERMS)))
    followers = [*works[1:], None]
    for row, work, next_work, time_us in zip(
        rows, works, followers, extra_us.tolist(), strict=True
    ):
        activations = work.input_bytes + work.output_bytes
        own = np.clip((activations + work.parameter_bytes) / _CACHE_BYTES - 1.0, 0.0, 1.0)
        row[_GROUPS.index(_group(work, next_work))] = max(0.0, time_us)
        row[len(_GROUPS) :] = (
            np.clip((time_us - _NONE_US) / (_WHOLE_US - _NONE_US), 0.0, 1.0),
            cold * work.parameter_bytes,
            cold * own * activations,
            far * work.parameter_bytes,
        )
    return rows


def _group(work: Workload, next_work: Workload | None) -> str:
    kind = kind_of_cost(work.kind)
    if next_work is not None and _is_folded(work, next_work):
        return "folded_pad_us"
    if kind in _MATRIX:
        return "matrix_us"
    if kind == "depthwise_conv2d":
        return "depthwise_us"
    if kind in _BRANCHING and work.outputs[0].dtype in ("int8", "uint8"):
        return "branching_us"
    # With far scales, they are computed by themselves wherever they stand.
    is_binary = kind in ("add", "mul", "sub", "div") and FAR_SCALES not in work.attributes
    return "binary_us" if is_binary else "others_us"


def _is_folded(work: Workload, next_work: Workload) -> bool:
    """Whether a convolution may take over a PAD before it, and read around its input itself.

    XNNPACK does so where a PAD adds to height and width alone, and nothing else reads its result.
    Workloads do not tell what reads what, so that is taken to be so where the convolution comes
    next and reads the same form.
    """
    if work.kind != "pad" or next_work.kind not in ("conv2d", "depthwise_conv2d"):
        return False
    given, made = next(iter(work.inputs), None), work.outputs[0]
    is_spatial = given is not None and given.shape[::3] == made.shape[::3]
    return is_spatial and next_work.inputs[:1] == (made,)
