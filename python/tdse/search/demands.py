"""What a problem demands of a placement, one by one, so that a conflict can name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from tdse.search.problem import Flags, Floats, Problem


class Kind(Enum):
    """Kinds of demands; what the index of each counts is said behind it."""

    LEGALITY = "legality"  # operators
    PIN = "pin"  # operators
    DEVICE_PIN = "device pin"  # operators
    FORBIDDEN_PAIR = "forbidden pair"  # rows of Problem.forbidden_pairs
    SINGLE_REGION = "single region"  # variants
    PREFIX = "prefix"  # variants
    NO_LINK = "no link"  # source * n_memories + target
    PARAMETERS = "parameters"  # devices
    MEMORY = "memory"  # memories
    DEADLINE = "deadline"  # models
    PERIOD = "period"  # models
    ENERGY = "energy"  # 0, there is one budget


# About one operator each.
OF_OPERATORS = (Kind.LEGALITY, Kind.PIN, Kind.DEVICE_PIN)
# What the user of a platform says, and can take back.
OF_USERS = (
    Kind.PIN,
    Kind.DEVICE_PIN,
    Kind.FORBIDDEN_PAIR,
    Kind.DEADLINE,
    Kind.PERIOD,
    Kind.ENERGY,
)
# The fields of limits that can be raised.
LIMITS = {
    Kind.PARAMETERS: "parameter_capacity_bytes",
    Kind.MEMORY: "memory_bytes",
    Kind.DEADLINE: "deadline_us",
    Kind.PERIOD: "period_us",
    Kind.ENERGY: "energy_budget_uj",
}


@dataclass(frozen=True)
class Demand:
    """One thing that a placement must keep to.

    Attributes:
        kind: what sort of thing.
        index: which one of the kind.
    """

    kind: Kind
    index: int


def demands_of(problem: Problem) -> list[Demand]:
    """Everything that the problem demands, in a fixed order."""
    found = [
        Demand(Kind.LEGALITY, op)
        for op in np.flatnonzero(np.isinf(problem.cost_us).any(axis=1)).tolist()
    ]
    for kind, asked in (
        (Kind.PIN, problem.pins >= 0),
        (Kind.DEVICE_PIN, problem.device_pins >= 0),
        (Kind.FORBIDDEN_PAIR, np.ones(len(problem.forbidden_pairs), bool)),
        (Kind.SINGLE_REGION, problem.single_region),
        (Kind.PREFIX, problem.prefix),
        (Kind.NO_LINK, no_way(problem).ravel()),
        (Kind.PARAMETERS, np.isfinite(problem.parameter_capacity_bytes)),
        (Kind.MEMORY, np.isfinite(problem.memory_bytes)),
        (Kind.DEADLINE, np.isfinite(problem.deadline_us)),
        (Kind.PERIOD, np.isfinite(problem.period_us)),
        (Kind.ENERGY, np.isfinite([problem.energy_budget_uj])),
    ):
        found += [Demand(kind, index) for index in np.flatnonzero(asked).tolist()]
    return found


def no_way(problem: Problem) -> Flags:
    """bool [n_memories, n_memories], nothing can be carried from the first to the second."""
    return np.isinf(problem.link_us_per_byte) & ~np.eye(problem.n_memories, dtype=bool)


def known_costs(problem: Problem) -> Floats:
    """``cost_us`` with the operator's least in place of what is not legal.

    With it, an operator that could run anywhere would still take no less than it does. An operator
    that can run nowhere takes nothing.
    """
    least_us = problem.cost_us.min(axis=1, keepdims=True, initial=np.inf)
    least_us = np.where(np.isinf(least_us), 0.0, least_us)
    return np.where(np.isinf(problem.cost_us), least_us, problem.cost_us)


def without(problem: Problem, dropped: Iterable[Demand]) -> Problem:
    """The problem without some of its demands."""
    fields: dict[str, Any] = {
        name: np.array(getattr(problem, name))
        for name in ("cost_us", "link_latency_us", "link_us_per_byte", *dict(_FIELDS.values()))
    }
    dropped, costs_us = set(dropped), known_costs(problem)
    for demand in dropped:
        if demand.kind is Kind.LEGALITY:
            fields["cost_us"][demand.index] = costs_us[demand.index]
        elif demand.kind is Kind.NO_LINK:
            for name in ("link_latency_us", "link_us_per_byte"):
                fields[name].ravel()[demand.index] = 0.0
        elif demand.kind in _FIELDS:
            name, free = _FIELDS[demand.kind]
            fields[name][demand.index] = free
    pairs = [one.index for one in dropped if one.kind is Kind.FORBIDDEN_PAIR]
    fields["forbidden_pairs"] = np.delete(problem.forbidden_pairs, pairs, axis=0)
    if Demand(Kind.ENERGY, 0) in dropped:
        fields["energy_budget_uj"] = np.inf
    ends = {name: fields["cost_us"] for name in ("cost_low_us", "cost_high_us")}
    return dataclasses.replace(problem, **fields, **ends)


def limit_of(problem: Problem, demand: Demand) -> float:
    """The limit that a demand of ``LIMITS`` sets."""
    return float(np.atleast_1d(getattr(problem, LIMITS[demand.kind]))[demand.index])


def with_limit(problem: Problem, demand: Demand, limit: float) -> Problem:
    """The problem with another limit for a demand of ``LIMITS``."""
    limits: Any = np.array(getattr(problem, LIMITS[demand.kind]), float)
    limits[demand.index if limits.ndim else ()] = limit
    fields: dict[str, Any] = {LIMITS[demand.kind]: limits if limits.ndim else float(limits)}
    return dataclasses.replace(problem, **fields)


# The field that a demand is in, and the value that asks for nothing.
_FIELDS = {
    Kind.PIN: ("pins", -1),
    Kind.DEVICE_PIN: ("device_pins", -1),
    Kind.SINGLE_REGION: ("single_region", False),
    Kind.PREFIX: ("prefix", False),
    **{kind: (name, np.inf) for kind, name in LIMITS.items() if kind is not Kind.ENERGY},
}
