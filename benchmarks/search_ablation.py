"""What other ways to search come to, and what the search comes to without one of its parts.

Values are compared by their logarithms: with the best known one, or with that of the whole search
on the same problem and seed.
"""

from __future__ import annotations

import fnmatch
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optima import stored_optima
from search_parts import PARTS, Libraries, Part
from search_runs import geometric_mean
from search_strategies import STRATEGIES, Strategy, Tally

from tdse.search.problem import Problem

sys.path.append(str(Path(__file__).parent.parent / "tests" / "search"))

from instances import SHAPES, make_instance

Rows = list[dict[str, Any]]

LARGER: Mapping[str, Callable[[], Problem]] = {
    f"larger-{shape}-{n_ops}": lambda shape=shape, n_ops=n_ops: make_instance(
        1, n_ops, 6, shape=shape
    )
    for shape in SHAPES
    for n_ops in (200, 400)
}
"""Too large for optima: what is best is what was found."""

# No run of the strategies at equal evaluations may take longer: Z3's repairs would take hours.
_MOST_SECONDS = 10.0
# Differences by less are rounding.
_EQUAL = 1e-6


def ablation(
    problems: Mapping[str, Callable[[], Problem]],
    n_seeds: int,
    evaluations: Sequence[int],
    seconds: float,
) -> dict[str, Rows]:
    """All strategies on all problems, at each number of evaluations and in equal time."""
    budgets = {
        **{f"{count:,} evaluations": (float(count), _MOST_SECONDS) for count in evaluations},
        f"{seconds:g} s of one core": (math.inf, seconds),
    }
    tallies = {
        (budget, strategy, name, seed): _run(run, make(), seed, *limits)
        for name, make in problems.items()
        for budget, limits in budgets.items()
        for strategy, run in STRATEGIES.items()
        for seed in range(n_seeds)
    }
    known = {name: one["latency_us"] for name, one in stored_optima().items()}
    for (_, _, name, _), tally in tallies.items():
        known[name] = min(known.get(name, math.inf), tally.value)
    return {
        f"Strategies with {budget}, {len(problems)} problems, {n_seeds} seeds": [
            _strategy_row(
                strategy,
                {key[2:]: one for key, one in tallies.items() if key[:2] == (budget, strategy)},
                known,
            )
            for strategy in STRATEGIES
        ]
        for budget in budgets
    }


def _strategy_row(
    strategy: str, tallies: Mapping[tuple[str, int], Tally], known: Mapping[str, float]
) -> dict[str, Any]:
    valid = {key: one for key, one in tallies.items() if math.isfinite(one.value)}
    shares = [one.value / known[name] for (name, _), one in valid.items()]
    seconds = sum(one.seconds for one in tallies.values())
    evaluations = sum(one.evaluations for one in tallies.values())
    evaluating_s = sum(one.evaluating_s for one in tallies.values())
    return {
        "strategy": strategy,
        "value / best known": geometric_mean(shares),
        "worst": max(shares, default=math.nan),
        "equal": sum(share <= 1 + _EQUAL for share in shares) / len(tallies),
        "valid": len(valid) / len(tallies),
        "evaluations/s": evaluations / seconds,
        "us each": seconds / evaluations * 1e6,
        "of it evaluating": evaluating_s / evaluations * 1e6 if evaluating_s else None,
    }


def parts(
    problems: Mapping[str, Callable[[], Problem]],
    n_seeds: int,
    seconds: float,
    patterns: Sequence[str],
) -> dict[str, Rows]:
    """The search without each part, in equal time of one core."""
    names = [one for one in PARTS if any(fnmatch.fnmatch(one, pattern) for pattern in patterns)]
    cases = [(name, seed) for name in problems for seed in range(n_seeds)]

    def values(part: Part, shift: int = 0) -> list[float]:
        with libraries.using(part):
            return [
                _run(part.strategy, problems[name](), seed + shift, math.inf, seconds).value
                for name, seed in cases
            ]

    with tempfile.TemporaryDirectory() as folder:
        libraries = Libraries(Path(folder))
        whole = values(Part())
        rows: Rows = []
        for name in names:
            # Of nothing, the difference between seeds: how far chance goes.
            shift = 0 if PARTS[name] != Part() else n_seeds
            pairs = list(zip(whole, values(PARTS[name], shift), strict=True))
            rows.append({"without": name, **_difference(pairs)})
            print(rows[-1], file=sys.stderr, flush=True)
    title = f"Parts of the search, {seconds:g} s of one core, {len(problems)} problems"
    return {f"{title}, {n_seeds} seeds": rows}


def _difference(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """How much worse the second of each pair is; of those with a value each."""
    logs = np.array([math.log(b / a) for a, b in pairs if math.isfinite(a) and math.isfinite(b)])
    error = float(logs.std(ddof=1) / math.sqrt(len(logs))) if len(logs) > 1 else math.nan
    return {
        "worse by %": float(logs.mean()) * 100,
        "standard error": error * 100,
        "most %": float(logs.max()) * 100,
        "least %": float(logs.min()) * 100,
        "worse": int((logs > _EQUAL).sum()),
        "better": int((logs < -_EQUAL).sum()),
        "equal": int((abs(logs) <= _EQUAL).sum()),
        "invalid": sum(not math.isfinite(b) for _, b in pairs),
    }


def _run(run: Strategy, problem: Problem, seed: int, evaluations: float, seconds: float) -> Tally:
    tally = Tally(evaluations, seconds)
    run(problem, seed, tally)
    # Not what is done with it afterwards.
    tally.finish()
    return tally
