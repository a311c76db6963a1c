"""Optima of the listed placement problems: those that are stored, or solved anew.

    python benchmarks/optima.py [--solve] [PATTERN...]

``--solve`` finds and times them with CP-SAT, and writes ``optima.json`` again. For all problems, it
takes up to two hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from listed import LATENCY, SEVERAL

from tdse.search import Problem
from tdse.search.native import Evaluator

sys.path.append(str(Path(__file__).parent.parent / "tests" / "search"))

STORED = Path(__file__).parent / "optima.json"

# How far deadlines are from what is known to be possible; problems take them in turns.
_SLACK = (1.005, 1.02, 1.05, 1.1)
# Seconds for each step towards deadlines that are hard to meet.
_STEP_S = 20.0


def stored_optima() -> Mapping[str, Mapping[str, float]]:
    """Problem of ``LATENCY``: its proven least latency in us, the bound, and CP-SAT's seconds."""
    optima: Mapping[str, Mapping[str, float]] = _read()["latency"]
    return optima


def deadline_problems() -> dict[str, Problem]:
    """The problems of ``SEVERAL`` with the stored deadlines, all of which can be met."""
    return {
        name: dataclasses.replace(SEVERAL[name](), deadline_us=one["deadline_us"])
        for name, one in _read()["deadlines"].items()
    }


def stored_deadline_seconds() -> Mapping[str, float]:
    """Problem of ``SEVERAL``: the seconds in which CP-SAT met the stored deadlines."""
    return {name: one["seconds"] for name, one in _read()["deadlines"].items()}


def main() -> None:
    """Prints what is stored; with ``--solve``, finds it first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solve", action="store_true", help="solve with CP-SAT, two threads")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each")
    parser.add_argument("patterns", nargs="*", default=["*"], help="of names; all by default")
    arguments = parser.parse_args()
    stored = _read()
    for name in [*LATENCY, *SEVERAL]:
        if not any(fnmatch.fnmatch(name, pattern) for pattern in arguments.patterns):
            continue
        kind = "latency" if name in LATENCY else "deadlines"
        if arguments.solve:
            solve = _solve_latency if kind == "latency" else _solve_deadlines
            found = solve(name, arguments.limit)
            stored[kind].pop(name, None)
            if found is not None:
                stored[kind][name] = found
            _write(stored)
        print(name, stored[kind].get(name, "not proven"), flush=True)


def _read() -> dict[str, dict[str, Any]]:
    if not STORED.exists():
        return {"latency": {}, "deadlines": {}}
    stored: dict[str, dict[str, Any]] = json.loads(STORED.read_text())
    return stored


def _write(stored: Mapping[str, Mapping[str, Any]]) -> None:
    """In the order of the lists, without what is not listed any more."""
    ordered = {
        kind: {name: stored[kind][name] for name in listed if name in stored[kind]}
        for kind, listed in (("latency", LATENCY), ("deadlines", SEVERAL))
    }
    STORED.write_text(json.dumps(ordered, indent=1) + "\n")


def _solve_latency(name: str, limit_s: float) -> dict[str, float] | None:
    from exact import solve

    found = solve(LATENCY[name](), limit_s=limit_s, workers=2)
    if found.status != "proven":
        return None
    return {
        "latency_us": round(found.value, 4),
        "bound_us": round(found.bound, 4),
        "seconds": round(found.seconds, 2),
    }


def _solve_deadlines(name: str, limit_s: float) -> dict[str, Any] | None:
    """Deadlines just beyond what is possible, and the seconds in which CP-SAT meets them."""
    from exact import solve

    problem = SEVERAL[name]()
    evaluator = Evaluator(problem)
    found = solve(problem, limit_s=_STEP_S, workers=2)
    if found.genes is None:
        return None
    latency_us = evaluator.outcome(found.genes).latency_us
    # Only the slowest model was made fast. The others get less time, as long as that works.
    for share in (0.7, 0.85, 0.95):
        for model in np.argsort(latency_us)[:-1].tolist():
            wanted_us = np.array(latency_us) * 1.0001
            wanted_us[model] *= share
            tried = dataclasses.replace(problem, deadline_us=wanted_us)
            found = solve(tried, limit_s=_STEP_S, workers=2, first=True)
            if found.genes is not None:
                latency_us = evaluator.outcome(found.genes).latency_us
    slack = _SLACK[list(SEVERAL).index(name) % len(_SLACK)]
    deadline_us = [round(one * slack, 3) for one in latency_us]
    met = dataclasses.replace(problem, deadline_us=deadline_us)
    found = solve(met, limit_s=limit_s, workers=2, first=True)
    if found.genes is None:
        return None
    return {
        "deadline_us": deadline_us,
        "met_us": [round(one, 4) for one in evaluator.outcome(found.genes).latency_us],
        "seconds": round(found.seconds, 2),
    }


if __name__ == "__main__":
    main()
