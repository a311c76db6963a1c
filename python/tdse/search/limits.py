"""What sizes, times and energies demand of a placement, as sums.

Constants are counted exactly. Of the rest only what is necessary is stated: whatever the schedule,
no operator takes less than its own time and energy, beside no less than its own tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from tdse.search.demands import Demand, Kind
from tdse.search.formula import Formula
from tdse.search.problem import Floats, Longs
from tdse.search.through import least_through_us

# The evaluation adds floating-point numbers; what is above a limit by less may be rounding.
TOLERANCE = 1e-9
# So many models are looked at in all groups, more only one by one and together.
_FEW_MODELS = 3


def state_limits(formula: Formula) -> None:
    """States what a formula's problem demands of sizes, times and energies, but not of buses."""
    _state_sizes(formula)
    _state_times(formula)


def sets_of(models: Sequence[int]) -> list[tuple[int, ...]]:
    """Groups of models that share devices and buses, of which each must manage."""
    counts = range(1, len(models) + 1) if len(models) <= _FEW_MODELS else (1, len(models))
    return [group for count in counts for group in combinations(models, count)]


def _state_sizes(formula: Formula) -> None:
    """Constants fit on devices and in memories, there beside what an operator handles."""
    problem = formula.problem
    sizes = np.repeat(problem.parameter_bytes[:, None], problem.n_variants, axis=1)
    for device, variants in enumerate(formula.devices):
        limit = float(problem.parameter_capacity_bytes[device])
        formula.sum(sizes, variants, limit, Demand(Kind.PARAMETERS, device))
    handled = problem.parameter_bytes.astype(np.float64)
    for value in problem.values:
        for op in {value.producer, *value.consumers} - {-1}:
            handled[op] += value.size_bytes
    # The inputs are in the host's memory as well.
    given = [0] * problem.n_memories
    given[int(problem.device_memory[0])] = sum(one.size_bytes for one in problem.input_flows)
    for memory, variants in enumerate(formula.memories):
        limit = float(problem.memory_bytes[memory])
        demand = Demand(Kind.MEMORY, memory)
        formula.sum(sizes, variants, limit - given[memory], demand)
        for op in np.flatnonzero(handled > limit).tolist():
            formula.clause((-formula.among(op, variants),), demand)
    _state_total(formula, sizes, given)


def _state_total(formula: Formula, sizes: Longs, given: Sequence[int]) -> None:
    """All constants, and those outside each memory, fit where they may be.

    This follows from the limits of the devices and memories, but a solver that looks at one of
    them at a time takes very long to see it.
    """
    problem = formula.problem
    rooms, asked = [], []
    for memory, limit in enumerate(problem.memory_bytes.tolist()):
        devices = np.flatnonzero(problem.device_memory == memory).tolist()
        capacity = float(problem.parameter_capacity_bytes[devices].sum())
        rooms.append(min(limit - given[memory], capacity))
        if limit - given[memory] <= capacity:
            asked.append([Demand(Kind.MEMORY, memory)])
        else:
            asked.append([Demand(Kind.PARAMETERS, device) for device in devices])
    for left_out in range(-1, problem.n_memories):
        others = [memory for memory in range(problem.n_memories) if memory != left_out]
        variants = [variant for memory in others for variant in formula.memories[memory]]
        demands = [demand for memory in others for demand in asked[memory]]
        formula.sum(sizes, variants, sum(rooms[memory] for memory in others), *demands)


def _state_times(formula: Formula) -> None:
    problem = formula.problem
    through_us = least_through_us(problem)
    least_us = np.where(formula.possible, through_us, np.inf).min(axis=1)
    makespan_us = max(least_us.tolist(), default=0.0)
    budget_uj = problem.energy_budget_uj - float(problem.idle_w.sum()) * makespan_us
    energy_uj = problem.energy_uj + problem.active_w * formula.costs
    slack_uj = TOLERANCE * abs(problem.energy_budget_uj)
    every = range(problem.n_variants)
    formula.sum(energy_uj, every, budget_uj, Demand(Kind.ENERGY, 0), slack=slack_uj)
    _state_deadlines(formula, through_us)
    rates = _rates(formula)
    for models in sets_of(np.flatnonzero(np.isfinite(problem.period_us)).tolist()):
        share = np.where(np.isin(problem.model_of, models)[:, None], rates, 0.0)
        _sum_devices(formula, share, 1.0, [Demand(Kind.PERIOD, model) for model in models])


def _state_deadlines(formula: Formula, through_us: Floats) -> None:
    """No way through a model is too long, and no device has too much to do until then."""
    problem = formula.problem
    cores = problem.device_cores[problem.variant_device]
    busy_us = formula.costs * problem.variant_cores / cores
    limits = problem.deadline_us
    for model in np.flatnonzero(np.isfinite(limits)).tolist():
        limit_us, ours = float(limits[model]), problem.model_of == model
        late = through_us > limit_us * (1 + TOLERANCE)
        for op, variant in np.argwhere(late & ours[:, None]).tolist():
            formula.clause((-formula.on(op, variant),), Demand(Kind.DEADLINE, model))
        if ours.any():
            _state_path(formula, model)
        earlier = np.flatnonzero(limits <= limit_us).tolist()
        for models in sets_of(earlier):
            work_us = np.where(np.isin(problem.model_of, models)[:, None], busy_us, 0.0)
            demands = [Demand(Kind.DEADLINE, one) for one in models]
            _sum_devices(formula, work_us, limit_us, demands)


def _sum_devices(formula: Formula, loads: Floats, limit: float, demands: Sequence[Demand]) -> None:
    """No device has a load above the limit; and all together, which the solver would miss."""
    slack = TOLERANCE * limit
    for variants in formula.devices:
        formula.sum(loads, variants, limit, *demands, slack=slack)
    n_devices, every = formula.problem.n_devices, range(formula.problem.n_variants)
    formula.sum(loads, every, n_devices * limit, *demands, slack=n_devices * slack)


def _state_path(formula: Formula, model: int) -> None:
    """The operators on the longest way through a model, by their least times, take no longer.

    They follow one another, whatever they run as.
    """
    problem = formula.problem
    least_us = np.where(formula.possible, formula.costs, np.inf).min(axis=1)
    until_us, before = least_us.copy(), np.full(problem.n_ops, -1)
    for u, v in problem.links:
        if until_us[u] + least_us[v] > until_us[v]:
            until_us[v], before[v] = until_us[u] + least_us[v], u
    op = int(np.where(problem.model_of == model, until_us, -1.0).argmax())
    on_path = np.zeros((problem.n_ops, 1), bool)
    while op >= 0:
        on_path[op], op = True, int(before[op])
    limit_us = float(problem.deadline_us[model])
    path_us = np.where(on_path, formula.costs, 0.0)
    every = range(problem.n_variants)
    slack_us = TOLERANCE * limit_us
    formula.sum(path_us, every, limit_us, Demand(Kind.DEADLINE, model), slack=slack_us)


def _rates(formula: Formula) -> Floats:
    """What of its device an operator needs to keep up with its model, [n_ops, n_variants]."""
    problem = formula.problem
    device = problem.variant_device
    slots = problem.device_cores[device] // problem.variant_cores
    # The slots of a device slow each other down; those of other variants may be more.
    factor = 1.0 + (problem.slowdown[device, device] - 1.0) * (slots - 1)
    shares: Floats = formula.costs * (factor / (slots * problem.variant_batch))
    return shares / problem.period_us[problem.model_of][:, None]
