"""How close the search comes to proven optima, how soon, and how that grows.

Optimal is always meant within the problem's costs.
"""

from __future__ import annotations

import fnmatch
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optima import deadline_problems, stored_deadline_seconds, stored_optima
from search_runs import Run, geometric_mean, watched

from tdse.search.problem import Problem

sys.path.append(str(Path(__file__).parent.parent / "tests" / "search"))

from instances import Shape, make_instance
from tensordse import tensordse_problem

Rows = list[dict[str, Any]]

# Stored optima are rounded to 1/1000 us or better.
_ROUNDING_US = 1e-3
# Where the exact solver takes less, its own start takes up most of it.
_LONG_S = 1.0
_NEAR, _NEAR_RESULT = 1.01, 1.02
# CP-SAT gets so many times as long as the search.
_CP_FACTOR = 10

TENSORDSE_US = {
    ("smallpc", "MNIST_full_quanitization"): 1581.5,
    ("rpi", "MNIST_extended_full_quanitization"): 393.9,
    ("rpi", "kws_ref_model"): 701.6,
}
"""Folder and model: the optimum within TensorDSE's costs, to a tenth of a microsecond."""


def optima(
    problems: Mapping[str, Callable[[], Problem]], n_seeds: int, seconds: float
) -> dict[str, Rows]:
    """Listed problems with a proven optimum."""
    rows: Rows = []
    for name, stored in stored_optima().items():
        if name not in problems:
            continue
        problem, optimum_us = problems[name](), stored["latency_us"]
        equal_us = optimum_us + _ROUNDING_US
        runs = [
            watched(problem, seconds=seconds, seed=seed, target=equal_us) for seed in range(n_seeds)
        ]
        near_s = [run.seconds_to(optimum_us * _NEAR) for run in runs]
        equal_s = [run.seconds_to(equal_us) for run in runs]
        rows.append(
            {
                "problem": name,
                "optimum us": optimum_us,
                "s to 1 %": statistics.median(near_s),
                "1 % spread": _spread(near_s),
                "s to equal": statistics.median(equal_s),
                "equal spread": _spread(equal_s),
                "worst gap %": (max(run.value for run in runs) / optimum_us - 1) * 100,
                "CP-SAT s": stored["seconds"],
                "CP-SAT / 1 %": stored["seconds"] / statistics.median(near_s),
                "ended": " ".join(run.ended for run in runs),
            }
        )
    return {
        f"Time to proven optima within the cost model, {n_seeds} seeds": rows,
        "Proven optima, all together": [_summary(rows)] if rows else [],
    }


def _summary(rows: Rows) -> dict[str, Any]:
    long = [row for row in rows if row["CP-SAT s"] > _LONG_S]
    short = [row for row in rows if row["CP-SAT s"] <= _LONG_S]
    ratios = [row["CP-SAT / 1 %"] for row in long if row["CP-SAT / 1 %"] > 0]
    equal = [
        row["CP-SAT s"] / row["s to equal"] for row in long if math.isfinite(row["s to equal"])
    ]
    return {
        "problems": len(rows),
        "within 1 %": sum(math.isfinite(row["s to 1 %"]) for row in rows),
        "equal": sum(math.isfinite(row["s to equal"]) for row in rows),
        "CP-SAT takes > 1 s": len(long),
        "mean ratio to 1 %": geometric_mean(ratios),
        "least ratio to 1 %": min((row["CP-SAT / 1 %"] for row in long), default=math.nan),
        "mean ratio to equal": geometric_mean(equal),
        "worst s to 1 % of the others": max((row["s to 1 %"] for row in short), default=math.nan),
    }


def large(
    sizes: Sequence[int], shapes: Sequence[Shape], seconds: Sequence[float], *, cp: bool
) -> dict[str, Rows]:
    """Problems of thousands of operators on eight devices."""
    rows: Rows = []
    growth: Rows = []
    for shape in shapes:
        times: list[float] = []
        for n_ops, limit_s in zip(sizes, seconds, strict=True):
            problem = make_instance(1, n_ops, 8, shape=shape)
            run = watched(problem, seconds=limit_s, seed=0)
            near_s = run.seconds_to(run.value * _NEAR_RESULT)
            times.append(near_s)
            rows.append(
                {
                    "graph": shape,
                    "ops": n_ops,
                    "seconds": run.seconds,
                    "latency us": run.value,
                    "first us": run.trail[0][1] if run.trail else math.inf,
                    "s to 2 % of it": near_s,
                    "evaluations": run.evaluations,
                    "ended": run.ended,
                    "trail": _thinned(run),
                    **(_by_cp_sat(problem, limit_s, run) if cp else {}),
                }
            )
        growth.append({"graph": shape, "exponent of the time to 2 %": _exponent(sizes, times)})
    return {"Thousands of operators on 8 devices": rows, "Growth with the operators": growth}


def _by_cp_sat(problem: Problem, seconds: float, run: Run) -> dict[str, Any]:
    from exact import solve

    found = solve(problem, limit_s=_CP_FACTOR * seconds, workers=2)
    reached = [at for at, value in found.trail if value <= run.value]
    return {
        "CP-SAT us": found.value,
        "bound us": found.bound,
        "CP-SAT s": found.seconds,
        "CP-SAT s to ours": reached[0] if reached else math.inf,
    }


def deadlines(patterns: Sequence[str], n_seeds: int, seconds: float) -> dict[str, Rows]:
    """Listed problems of several models, whose deadlines can just be met."""
    cp_sat_s = stored_deadline_seconds()
    rows: Rows = []
    for name, problem in deadline_problems().items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        # Stopped at the first placement that is valid, which is one that keeps all deadlines.
        runs = [
            watched(problem, seconds=seconds, seed=seed, target=math.inf) for seed in range(n_seeds)
        ]
        met_s = [run.seconds_to(math.inf) for run in runs]
        rows.append(
            {
                "problem": name,
                "kept": f"{sum(map(math.isfinite, met_s))} of {n_seeds}",
                "s": statistics.median(met_s),
                "spread": _spread(met_s),
                "CP-SAT s": cp_sat_s[name],
            }
        )
    kept = sum(math.isfinite(row["s"]) for row in rows)
    return {f"Deadlines, kept in {kept} of {len(rows)} problems, {n_seeds} seeds": rows}


def tensordse(data: Path, n_seeds: int) -> dict[str, Rows]:
    """Optima within TensorDSE's own costs."""
    rows: Rows = []
    for (folder, model), optimum_us in TENSORDSE_US.items():
        problem = tensordse_problem(data / folder / f"{model}.json", model)
        runs = [watched(problem, seconds=10.0, seed=seed) for seed in range(n_seeds)]
        rows.append(
            {
                "model": f"{folder}/{model}",
                "layers": problem.n_ops,
                "optimum us": optimum_us,
                "found us": max(run.value for run in runs),
                "s to it": statistics.median(run.seconds_to(run.value) for run in runs),
                "s with proof": statistics.median(run.seconds for run in runs),
                "ended": " ".join(run.ended for run in runs),
            }
        )
    return {"TensorDSE's measurements, within its own cost model": rows}


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g}-{max(values):.3g}"


def _thinned(run: Run) -> str:
    """The trail's values at doubling times."""
    shown, next_s = [], 0.0
    for at, value in run.trail:
        if at >= next_s:
            shown.append(f"{at:.2g}:{value:.4g}")
            next_s = 2 * at
    return " ".join(shown)


def _exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Of the power of the size that fits the times best, in logarithms."""
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
