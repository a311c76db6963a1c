"""Lower bounds: what no valid placement can beat, for each objective.

Two kinds of them are taken together. Critical paths know the variants of neighbours exactly, and
nothing of what else runs; linear relaxations know what devices and buses are loaded with, and mix
variants. Where the relaxation with all borders is too large, one without gives each device's
microsecond its price, and at these prices the borders along a tree of links are counted exactly.
"""

from __future__ import annotations

import math

import numpy as np

from tdse.search.objectives import Objective
from tdse.search.paths import Costs, Paths, costs_of, paths_of
from tdse.search.problem import Floats, Problem
from tdse.search.relaxation import Relaxation
from tdse.search.spread import LOOSE

# Beyond so many columns for links and pairs of variants, the relaxation takes seconds.
_MOST_CHANGES = 8_000


def lower_bound(problem: Problem, objective: Objective) -> float:
    """What an objective is at least, in any placement that breaks no rule.

    Args:
        problem: the placement problem.
        objective: microseconds of a run of all models (``latency``), microseconds between two
            runs in a pipeline (``throughput``), microjoules of a run (``energy``), or the
            product of the first and the third (``edp``).

    Returns:
        The bound; inf if there is certainly no valid placement.
    """
    if not all(problem.choices):
        return math.inf
    if not problem.n_ops:
        return 0.0
    costs = costs_of(problem)
    paths = paths_of(problem, costs)
    latency_us = np.array(paths.latency_us)
    if np.isinf(latency_us).any() or (latency_us > problem.deadline_us * LOOSE).any():
        return math.inf
    n_changes = len(problem.links) * problem.n_variants * (problem.n_variants - 1)
    bounds = _Bounds(problem, costs, paths, changes=n_changes <= _MOST_CHANGES)
    if objective == "latency":
        return bounds.makespan_us()
    if objective == "throughput":
        return bounds.period_us()
    if objective == "energy":
        return bounds.energy_uj()
    return bounds.energy_delay()


class _Bounds:
    """The bounds on one problem that has a placement as far as its paths tell."""

    def __init__(self, problem: Problem, costs: Costs, paths: Paths, *, changes: bool) -> None:
        self._problem, self._costs, self._paths, self._changes = problem, costs, paths, changes
        self._relaxation = Relaxation(problem, costs, paths, changes=changes)
        self._path_us = max(paths.latency_us)

    def makespan_us(self) -> float:
        """The least makespan."""
        relaxed = self._relaxation.least_of(makespan=1.0)
        bound_us = max(relaxed.bound, self._path_us)
        if not self._changes:
            bound_us = max(bound_us, self._at_prices(relaxed.prices, 1.0))
        return bound_us

    def period_us(self) -> float:
        """The least period."""
        problem = self._problem
        relaxed = self._relaxation.least_period_us()
        if self._changes:
            return max(relaxed.bound, 0.0)
        prices = np.zeros(problem.n_devices)
        for device, row in self._relaxation.period_rows.items():
            prices[device] = relaxed.prices[row]
        price = self._relaxation.period_weights * prices[problem.variant_device]
        price /= max(float(prices.sum()), 1.0)
        nothing = np.zeros((problem.n_ops, problem.n_variants))
        return max(relaxed.bound, least_sum(problem, self._costs, self._paths, price, nothing))

    def energy_uj(self) -> float:
        """The least energy."""
        relaxed = self._relaxation.least_of(energy=1.0)
        if self._changes:
            return max(relaxed.bound, 0.0)
        return max(relaxed.bound, self._at_prices(relaxed.prices, 0.0, energy=1.0))

    def energy_delay(self) -> float:
        """The least product of energy and makespan.

        With the makespan and the energy in units of their own bounds, both are at least 1. If
        their sum is at least s, then their product is at least s - 1: that of either corner.
        """
        makespan_us, energy_uj = self.makespan_us(), self.energy_uj()
        if min(makespan_us, energy_uj) <= 0.0:
            return 0.0
        product = makespan_us * energy_uj
        if not self._changes or math.isinf(product):
            return product
        both = self._relaxation.least_of(makespan=1 / makespan_us, energy=1 / energy_uj)
        return product * max(both.bound - 1.0, 1.0)

    def _at_prices(self, prices: Floats, makespan: float, energy: float = 0.0) -> float:
        """The least of a weighted sum of makespan and energy, with the prices of loads."""
        problem = self._problem
        cores, device = problem.variant_cores, problem.variant_device
        makespan += energy * float(problem.idle_w.sum())
        paid = np.zeros(problem.n_variants)
        total = 0.0
        for (which, unit), row in self._relaxation.load_rows.items():
            paid += np.where(device == which, prices[row] * (cores // unit), 0.0)
            total += prices[row] * float(problem.device_cores[which] // unit)
        scale = min(1.0, makespan / total) if total else 0.0
        # What of the makespan's weight no load accounts for goes to the longest path.
        rest = max(makespan - total * scale, 0.0) * self._path_us
        price = paid * scale + energy * problem.active_w
        own = energy * problem.energy_uj
        return rest + least_sum(problem, self._costs, self._paths, price, own)


def least_sum(problem: Problem, costs: Costs, paths: Paths, price: Floats, own: Floats) -> float:
    """The least sum of all work at the prices of its variants and what operators cost besides.

    Counted are the operators, the borders of links that form a tree, and the launches along one
    path of each model.

    Args:
        problem: the placement problem.
        costs: its costs.
        paths: its links and stretches.
        price: float64 [n_variants], of a microsecond of work.
        own: float64 [n_ops, n_variants], what operators cost besides.
    """
    parent, spine = _tree(problem, paths)
    total = np.where(np.isinf(costs.ops), np.inf, 0.0)
    total += price * np.where(np.isinf(costs.ops), 0.0, costs.ops + costs.outputs) + own
    for flow in problem.input_flows:
        # Once is all that is certain, however many regions read it.
        first = flow.consumers[0]
        total[first] += price * (
            problem.host_border_us + problem.host_copy_us_per_byte * flow.size_bytes
        )
    between = np.zeros((problem.n_ops, problem.n_variants, problem.n_variants))
    for flow, table in zip(problem.flows, problem.transfer_us, strict=True):
        readers = [op for op in flow.consumers if parent[op] == flow.producer]
        if readers:
            reader = next((op for op in readers if op in spine), readers[0])
            between[reader] += price * np.array(table)
    least = 0.0
    for op in reversed(range(problem.n_ops)):
        if op in spine:
            between[op] += price * problem.launch_us
        if parent[op] < 0:
            least += float((total[op] + price * problem.launch_us * (op in spine)).min())
            continue
        np.fill_diagonal(between[op], 0.0)
        total[parent[op]] += (between[op] + total[op]).min(axis=1)
    return least


def _tree(problem: Problem, paths: Paths) -> tuple[list[int], set[int]]:
    """For each operator one that it reads from, -1 for none; and the longest path of each model."""
    length, parent = [0] * problem.n_ops, [-1] * problem.n_ops
    for op in range(problem.n_ops):
        ends = [(length[u] + 1, u) for u in paths.near.before[op]]
        length[op], parent[op] = max(ends, default=(0, -1))
    spine: set[int] = set()
    for model in range(problem.n_models):
        ops = np.flatnonzero(problem.model_of == model).tolist()
        at = max(ops, key=length.__getitem__, default=-1)
        while at >= 0:
            spine.add(at)
            at = parent[at]
    return parent, spine
