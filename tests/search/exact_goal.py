"""Rules that do not depend on regions, and what to make small, for OR-tools CP-SAT."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from exact_model import Objective, PlacementModel
from exact_sizes import UNITS_PER_US, units

# Energies are counted in 1/1000 of a unit of time times a watt, shares of periods in millionths.
_UNITS_PER_WATT = 1000
_UNITS_PER_SHARE = 10**6


def obey_rules(model: PlacementModel) -> None:
    """Adds the rules for operators, devices, deadlines, rates and the budget of energy.

    Of what memories hold, only the constants are looked at.
    """
    cp, problem, x = model.cp, model.problem, model.regions.x
    on = _on_devices(model)
    for one, other in problem.forbidden_pairs.tolist():
        for device in range(problem.n_devices):
            cp.add(on[one][device] + on[other][device] <= 1)
    for variant in np.flatnonzero(problem.single_region).tolist():
        roots = [key for key in model.regions.candidates if key[1] == variant]
        cp.add_at_most_one(model.regions.member[root, root, variant] for root, _ in roots)
    for u, w in problem.links:
        for variant in problem.choices[w]:
            if problem.prefix[variant]:
                before = [x[u, variant]] if (u, variant) in x else []
                cp.add_bool_or([x[w, variant].negated(), *before])
    held = [
        sum(int(size) * on[op][device] for op, size in enumerate(problem.parameter_bytes))
        for device in range(problem.n_devices)
    ]
    for device, capacity in enumerate(problem.parameter_capacity_bytes.tolist()):
        if math.isfinite(capacity):
            cp.add(held[device] <= math.floor(capacity))
    for memory, size_bytes in enumerate(problem.memory_bytes.tolist()):
        if math.isfinite(size_bytes):
            devices = np.flatnonzero(problem.device_memory == memory).tolist()
            cp.add(sum(held[device] for device in devices) <= math.floor(size_bytes))
    for index, deadline_us in enumerate(problem.deadline_us.tolist()):
        if math.isfinite(deadline_us):
            cp.add(model.latency[index] <= units(deadline_us))
    if np.isfinite(problem.period_us).any():
        shares = [1 / float(period_us) for period_us in problem.period_us]
        for load in _loads(model, shares, _UNITS_PER_SHARE):
            cp.add(load <= _UNITS_PER_SHARE * UNITS_PER_US)
    if math.isfinite(problem.energy_budget_uj):
        cp.add(_energy(model) <= units(problem.energy_budget_uj) * _UNITS_PER_WATT)


def minimize(model: PlacementModel, objective: Objective) -> int:
    """Sets the objective; gives how many of its units are a microsecond, or a microjoule."""
    problem = model.problem
    if objective == "latency":
        model.cp.minimize(model.makespan)
        return UNITS_PER_US
    if objective == "energy":
        model.cp.minimize(_energy(model))
        return UNITS_PER_US * _UNITS_PER_WATT
    scale = math.lcm(*(_runs(model, variant) for variant in range(problem.n_variants)))
    period = model.cp.new_int_var(0, model.sizes.longest() * scale, "period")
    for load in _loads(model, [1.0] * problem.n_models, scale):
        model.cp.add(load <= period)
    model.cp.minimize(period)
    return UNITS_PER_US * scale


def _on_devices(model: PlacementModel) -> list[list[Any]]:
    """1 where an operator is on a device: [op][device]."""
    problem = model.problem
    return [
        [
            sum(model.regions.x[op, v] for v in choices if problem.variant_device[v] == device)
            for device in range(problem.n_devices)
        ]
        for op, choices in enumerate(problem.choices)
    ]


def _runs(model: PlacementModel, variant: int) -> int:
    """How many runs a device serves with as many regions of the variant as it has cores for."""
    problem = model.problem
    cores = int(problem.device_cores[problem.variant_device[variant]])
    return cores // int(problem.variant_cores[variant]) * int(problem.variant_batch[variant])


def _loads(model: PlacementModel, weight: Sequence[float], scale: int) -> list[Any]:
    """Load of each device and bus, times the weight of each model and the scale."""
    problem = model.problem
    loads: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for (root, variant), work in model.work.units.items():
        share = scale / _runs(model, variant) * weight[problem.model_of[root]]
        device = int(problem.variant_device[variant])
        loads["device", device].append(math.floor(share + 1e-9) * work)
    for (index, source, target), literal in model.copied.items():
        value, bus = problem.values[index], int(problem.link_bus[source, target])
        if bus >= 0:
            op = value.producer if value.producer >= 0 else value.consumers[0]
            share = scale * weight[problem.model_of[op]]
            size = model.sizes.carry(value, source, target) or 0
            loads["bus", bus].append(math.floor(share + 1e-9) * size * literal)
    return [sum(parts) for parts in loads.values()]


def _energy(model: PlacementModel) -> Any:
    """Energy of one run."""
    problem = model.problem
    watts = [math.floor(one * _UNITS_PER_WATT + 1e-9) for one in problem.active_w.tolist()]
    energy = sum(watts[variant] * work for (_, variant), work in model.work.units.items())
    for (op, variant), literal in model.regions.x.items():
        energy += units(float(problem.energy_uj[op, variant])) * _UNITS_PER_WATT * literal
    idle = math.floor(float(problem.idle_w.sum()) * _UNITS_PER_WATT + 1e-9)
    return energy + idle * model.makespan if idle else energy
