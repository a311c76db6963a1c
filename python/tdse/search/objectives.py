"""What a search may aim for, and how its goals are weighed against each other and broken rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import numpy as np

from tdse.search.native import Evaluations
from tdse.search.problem import Floats, Problem
from tdse.search.schedule import Rule

Objective = Literal["latency", "throughput", "energy", "edp"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
Amount = TypeVar("Amount", float, Floats)

UNITS: dict[Objective, str] = {
    "latency": "us",
    "throughput": "us",
    "energy": "uJ",
    "edp": "uJ us",
}
"""Of the values below. That of throughput is the time between two runs."""

# Exponents of latency, period and energy, whose product is the value of the objective.
_EXPONENTS: dict[Objective, tuple[float, float, float]] = {
    "latency": (1.0, 0.0, 0.0),
    "throughput": (0.0, 1.0, 0.0),
    "energy": (0.0, 0.0, 1.0),
    "edp": (1.0, 0.0, 1.0),
}
# A broken rule costs as much as this many times the value that is off by a factor of e. It makes
# the search keep to rules, without forbidding it ways through placements that break one.
_PENALTY = 1.0


def exponents(objective: Objective) -> Floats:
    """Exponents of latency, period and energy, float64 [3], whose product is the value."""
    return np.array(_EXPONENTS[objective])


def uses_energy(objective: Objective) -> bool:
    """The value has to do with energy."""
    return _EXPONENTS[objective][2] > 0


def values(evaluations: Evaluations, objectives: Sequence[Objective]) -> Floats:
    """What placements are worth for objectives, float64 [count, n_objectives]; small is good.

    Rules are not looked at.
    """
    figures = (evaluations.makespan_us, evaluations.period_us, evaluations.energy_uj)
    return np.stack([value(objective, *figures) for objective in objectives], axis=1)


def value(objective: Objective, latency_us: Amount, period_us: Amount, energy_uj: Amount) -> Amount:
    """What runs with these figures, one or an array of each, are worth for an objective."""
    of_latency, of_period, of_energy = _EXPONENTS[objective]
    worth: Amount = latency_us**of_latency * period_us**of_period * energy_uj**of_energy
    return worth


def penalties(problem: Problem) -> Floats:
    """What one unit of each violation costs, float64 [len(Rule)], in logarithms of the value.

    Counts and shares are taken as they are, bytes, times and energies relative to their limits.
    """
    units = np.ones(len(Rule))
    units[Rule.PARAMETERS] = _least(problem.parameter_capacity_bytes)
    units[Rule.MEMORY] = _least(problem.memory_bytes)
    units[Rule.DEADLINE] = _least(problem.deadline_us)
    units[Rule.ENERGY] = max(min(problem.energy_budget_uj, 1e300), 1e-9)
    return _PENALTY / units


def _least(limits: Floats) -> float:
    """The least positive limit, 1 where there is none."""
    given = limits[np.isfinite(limits) & (limits > 0)]
    return float(given.min()) if given.size else 1.0
