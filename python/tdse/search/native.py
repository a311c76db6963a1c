"""The evaluation in C++: many placements at once, with the results of ``reference``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdse.errors import TdseError
from tdse.search.problem import Floats, Ints, Problem
from tdse.search.schedule import Genes, Outcome, Rule, Schedule, ScheduledRegion, Transfer

LIBRARY = Path(__file__).resolve().parent.parent / "lib" / "libtdse_evaluate.so"

# Genes are bytes.
_MOST_VARIANTS = 256

# The fields of ProblemArrays in cpp/evaluate/problem.h, in their order.
_SIZES = ("n_ops", "n_variants", "n_devices", "n_memories", "n_buses", "n_models")
_COUNTS = ("n_links", "n_values", "n_forbidden_pairs")
_ARRAYS = {
    "links": np.int32,
    "value_producer": np.int32,
    "value_bytes": np.int64,
    "value_is_output": np.uint8,
    "consumer_begin": np.int32,
    "consumers": np.int32,
    "cost_us": np.float64,
    "allowed": np.uint8,
    "energy_uj": np.float64,
    "parameter_bytes": np.int64,
    "launch_us": np.float64,
    "border_us": np.float64,
    "copy_us_per_byte": np.float64,
    "host_border_us": np.float64,
    "host_copy_us_per_byte": np.float64,
    "active_w": np.float64,
    "variant_device": np.int32,
    "variant_cores": np.int32,
    "variant_batch": np.int32,
    "single_region": np.uint8,
    "prefix": np.uint8,
    "device_cores": np.int32,
    "device_memory": np.int32,
    "idle_w": np.float64,
    "parameter_capacity_bytes": np.float64,
    "slowdown": np.float64,
    "memory_bytes": np.float64,
    "link_latency_us": np.float64,
    "link_us_per_byte": np.float64,
    "link_bus": np.int32,
    "forbidden_pairs": np.int32,
    "model_of": np.int32,
    "deadline_us": np.float64,
    "period_us": np.float64,
}
# The figures that come before the violations, in the order of cpp/evaluate/evaluator.h.
_N_FIGURES = 5


class _ProblemArrays(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in (*_SIZES, *_COUNTS)),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("energy_budget_uj", ctypes.c_double),
    ]


@dataclass(frozen=True)
class Evaluations:
    """The figures of many placements, as in ``Outcome``; row i is of placement i.

    Attributes:
        makespan_us: float64 [count].
        period_us: float64 [count].
        active_uj: float64 [count].
        energy_uj: float64 [count].
        n_regions: float64 [count].
        violations: float64 [count, len(Rule)].
        latency_us: float64 [count, n_models].
        region_of: int32 [count, n_ops], the region of each operator, if it was asked for.
        peak_bytes: float64 [count, n_memories], if it was asked for.
    """

    makespan_us: Floats
    period_us: Floats
    active_uj: Floats
    energy_uj: Floats
    n_regions: Floats
    violations: Floats
    latency_us: Floats
    region_of: Ints | None
    peak_bytes: Floats | None


class Evaluator:
    """Evaluates placements of one problem, in memory of its own: one thread at a time.

    Python's lock is not held meanwhile, so threads with an evaluator each run side by side.

    Raises:
        TdseError: the native library is not built, or the problem is too large for it.
    """

    def __init__(self, problem: Problem) -> None:
        if problem.n_variants > _MOST_VARIANTS:
            raise TdseError(
                "the placement problem cannot be evaluated",
                why=f"it has {problem.n_variants} variants, more than {_MOST_VARIANTS}",
            )
        self.problem = problem
        self._library = _library()
        arrays = _arrays(problem)
        given = _ProblemArrays(
            **{name: getattr(problem, name) for name in _SIZES},
            **{name: len(getattr(problem, name.removeprefix("n_"))) for name in _COUNTS},
            **{name: array.ctypes.data for name, array in arrays.items()},
            energy_budget_uj=problem.energy_budget_uj,
        )
        self._evaluator = ctypes.c_void_p(self._library.TdseEvaluatorCreate(ctypes.byref(given)))
        if not self._evaluator:
            raise TdseError(
                "the placement problem cannot be evaluated", why="there is not enough memory"
            )
        self._n_figures: int = self._library.TdseEvaluatorFigures(self._evaluator)

    def __del__(self) -> None:
        if getattr(self, "_evaluator", None):
            self._library.TdseEvaluatorDestroy(self._evaluator)

    def evaluate(
        self,
        variants: ArrayLike,
        cuts: ArrayLike | None = None,
        priority: ArrayLike | None = None,
        strict: ArrayLike = False,
        *,
        details: bool = False,
    ) -> Evaluations:
        """The figures of many placements. What the genes mean is said in ``Genes``.

        Args:
            variants: integers [count, n_ops].
            cuts: booleans [count, n_links]; None for no cuts.
            priority: microseconds [count, n_ops]; None for zeros.
            strict: booleans, [count] or one for all.
            details: ask for ``region_of`` and ``peak_bytes``. Peaks take time that is not needed
                where no memory is limited.

        Raises:
            TdseError: an array has a wrong shape, or names a variant that does not exist.
        """
        n_ops = self.problem.n_ops
        genes = _rows("variants", variants, n_ops, None)
        count = len(genes)
        if genes.size and not (genes.min() >= 0 and genes.max() < self.problem.n_variants):
            raise _wrong("variants", f"name one outside 0 to {self.problem.n_variants - 1}")
        genes = np.ascontiguousarray(genes, np.uint8)
        cut = _optional("cuts", cuts, len(self.problem.links), count, np.uint8)
        wanted = _optional("priority", priority, n_ops, count, np.float64)
        listed = np.ascontiguousarray(np.broadcast_to(strict, count), np.uint8)
        if wanted is not None and np.isnan(wanted).any():
            raise _wrong("priority", "are not all numbers")
        figures = np.empty((count, self._n_figures))
        region_of = np.empty((count, n_ops), np.int32) if details else None
        peak_bytes = np.empty((count, self.problem.n_memories)) if details else None
        self._library.TdseEvaluate(
            self._evaluator,
            count,
            genes.ctypes.data,
            None if cut is None else cut.ctypes.data,
            None if wanted is None else wanted.ctypes.data,
            listed.ctypes.data,
            figures.ctypes.data,
            None if region_of is None else region_of.ctypes.data,
            None if peak_bytes is None else peak_bytes.ctypes.data,
        )
        return self._evaluations(figures, region_of, peak_bytes)

    def improve(
        self,
        genes: Genes,
        weights: Floats,
        penalties: Floats,
        *,
        evaluations: int,
        temperatures: tuple[float, float],
        seed: int,
    ) -> tuple[Genes, Evaluations]:
        """Anneals a placement with moves that know the graph.

        Minimised is the sum of the logarithms of latency, period and energy times their weights,
        and of violations times their penalties.

        Args:
            genes: where to start.
            weights: float64 [3], of latency, period and energy.
            penalties: float64 [len(Rule)].
            evaluations: how many placements are tried.
            temperatures: at the beginning and at the end, in units of that sum: where a placement
                that is 1 % worse is taken every e-th time it is 0.01.
            seed: of everything random; equal ones give equal results.

        Returns:
            The best placement seen, valid ones before all others, and its figures.
        """
        given = genes.complete(len(self.problem.links))
        variants, cuts = np.asarray(given.variants), np.asarray(given.cuts)
        priority, strict = np.asarray(given.priority), np.array([given.strict], np.uint8)
        figures = np.empty((1, self._n_figures))
        weights = np.ascontiguousarray(weights, np.float64)
        penalties = np.ascontiguousarray(penalties, np.float64)
        self._library.TdseImprove(
            self._evaluator,
            weights.ctypes.data,
            penalties.ctypes.data,
            evaluations,
            *temperatures,
            seed,
            variants.ctypes.data,
            cuts.ctypes.data,
            priority.ctypes.data,
            strict.ctypes.data,
            figures.ctypes.data,
        )
        improved = Genes(variants, cuts, priority, bool(strict[0]))
        return improved, self._evaluations(figures)

    def _evaluations(
        self, figures: Floats, region_of: Ints | None = None, peak_bytes: Floats | None = None
    ) -> Evaluations:
        end = _N_FIGURES + len(Rule)
        makespan_us, period_us, active_uj, energy_uj, n_regions = figures.T[:_N_FIGURES]
        return Evaluations(
            makespan_us,
            period_us,
            active_uj,
            energy_uj,
            n_regions,
            violations=figures[:, _N_FIGURES:end],
            latency_us=figures[:, end:],
            region_of=region_of,
            peak_bytes=peak_bytes,
        )

    def assess(self, genes: Genes) -> Evaluations:
        """The figures of one placement, with its details."""
        cuts = None if genes.cuts is None else np.asarray(genes.cuts)[None]
        priority = None if genes.priority is None else np.asarray(genes.priority)[None]
        variants = np.asarray(genes.variants)[None]
        return self.evaluate(variants, cuts, priority, genes.strict, details=True)

    def outcome(self, genes: Genes) -> Outcome:
        """What ``reference.assess`` gives, of one placement with its schedule."""
        one = self.assess(genes)
        assert one.region_of is not None and one.peak_bytes is not None
        return Outcome(
            self._schedule(genes, one.region_of[0], int(one.n_regions[0])),
            tuple(one.latency_us[0].tolist()),
            float(one.makespan_us[0]),
            float(one.period_us[0]),
            float(one.active_uj[0]),
            float(one.energy_uj[0]),
            tuple(map(int, one.peak_bytes[0].tolist())),
            tuple(one.violations[0].tolist()),
        )

    def _schedule(self, genes: Genes, region_of: Ints, n_regions: int) -> Schedule:
        """The schedule of the placement that was evaluated last."""
        problem = self.problem
        most = len(problem.values) * problem.n_memories
        region_us = np.empty((2, problem.n_ops))
        transfer, transfer_us = np.empty((most, 3), np.int32), np.empty((most, 2))
        n_transfers = self._library.TdseEvaluatorSchedule(
            self._evaluator, region_us.ctypes.data, transfer.ctypes.data, transfer_us.ctypes.data
        )
        ops: list[list[int]] = [[] for _ in range(n_regions)]
        for op, region in enumerate(region_of.tolist()):
            ops[region].append(op)
        starts_us, ends_us = region_us.tolist()
        return Schedule(
            tuple(
                ScheduledRegion(tuple(ops[i]), int(genes.variants[ops[i][0]]), start_us, end_us)
                for i, (start_us, end_us) in enumerate(
                    zip(starts_us[:n_regions], ends_us[:n_regions], strict=True)
                )
            ),
            tuple(
                Transfer(*places, *times_us)
                for places, times_us in zip(
                    transfer[:n_transfers].tolist(), transfer_us[:n_transfers].tolist(), strict=True
                )
            ),
        )


def _arrays(problem: Problem) -> dict[str, NDArray[Any]]:
    """The arrays of ``_ARRAYS``; the caller keeps them while their addresses are in use."""
    values = problem.values
    derived: dict[str, Any] = {
        "links": problem.links,
        "value_producer": [value.producer for value in values],
        "value_bytes": [value.size_bytes for value in values],
        "value_is_output": [value.is_output for value in values],
        "consumer_begin": [0, *accumulate(len(value.consumers) for value in values)],
        "consumers": [op for value in values for op in value.consumers],
        "cost_us": np.where(np.isinf(problem.cost_us), 0.0, problem.cost_us),
    }
    return {
        name: np.ascontiguousarray(
            derived[name] if name in derived else getattr(problem, name), dtype
        )
        for name, dtype in _ARRAYS.items()
    }


@cache
def _library() -> ctypes.CDLL:
    if not LIBRARY.is_file():
        raise TdseError(
            "the native library is not built",
            where=str(LIBRARY),
            hint="run pip install . in tdse's source directory",
        )
    library = ctypes.CDLL(str(LIBRARY))
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    for name, result, arguments in (
        ("TdseEvaluatorCreate", pointer, [ctypes.POINTER(_ProblemArrays)]),
        ("TdseEvaluatorDestroy", None, [pointer]),
        ("TdseEvaluatorFigures", number, [pointer]),
        ("TdseEvaluate", None, [pointer, ctypes.c_int64, *[pointer] * 7]),
        (
            "TdseImprove",
            ctypes.c_double,
            [
                *[pointer] * 3,
                ctypes.c_int64,
                *[ctypes.c_double] * 2,
                ctypes.c_uint64,
                *[pointer] * 5,
            ],
        ),
        ("TdseEvaluatorSchedule", number, [pointer] * 4),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _optional(
    name: str, values: ArrayLike | None, width: int, count: int, dtype: type[np.generic]
) -> NDArray[Any] | None:
    if values is None:
        return None
    return np.ascontiguousarray(_rows(name, values, width, count), dtype)


def _rows(name: str, values: ArrayLike, width: int, count: int | None) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != width or count not in (None, len(array)):
        rows = "n" if count is None else str(count)
        raise _wrong(name, f"have shape {array.shape}, not {rows} x {width}")
    return array


def _wrong(name: str, why: str) -> TdseError:
    return TdseError("the placements cannot be evaluated", where=name, why=f"they {why}")
