"""A linear program in which every valid placement is a point: what it cannot reach, none can.

Devices and buses need the time of what is put on them, and what lies between two gates is done
between them. Cuts, the order on a device, memory over time and slowing down are left out; all of
them only make a placement worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tdse.search.gates import Stretch
from tdse.search.linear import Minimum, Term
from tdse.search.paths import Costs, Paths, carry_us
from tdse.search.problem import Floats, Flow, Problem
from tdse.search.spread import LOOSE, Spread, Work

# Models are given their inputs by, and give their outputs to, the first device.
_HOST = 0

# One variant, or two.
_Key = TypeVar("_Key", int, tuple[int, int])


@dataclass(frozen=True)
class _Transfer:
    """What a column at 1 puts on a bus.

    Attributes:
        column: the column.
        bus: the bus.
        us: microseconds.
        model: the model whose tensor it is.
    """

    column: int
    bus: int
    us: float
    model: int


class Relaxation:
    """The linear program of a problem, every operator of which has a choice.

    Args:
        problem: the placement problem.
        costs: its costs.
        paths: what paths take at least.
        changes: count borders, launches and transfers, with columns for each link and pair of
            variants, and what lies between gates. Without, the program is small.

    Attributes:
        period_weights: float64 [n_variants], microseconds by which one of a variant's work loads
            its device in a pipeline.
        period_rows: the row that demands the period for each device's load.
        load_rows: the rows that demand the makespan for each device's load, by the device and the
            number of cores that are counted as one.
    """

    def __init__(self, problem: Problem, costs: Costs, paths: Paths, *, changes: bool) -> None:
        self._problem, self._costs, self._paths, self._changes = problem, costs, paths, changes
        self._spread = Spread(problem, paths.near, paths.stretches, changes=changes)
        self._program = self._spread.program
        self._device: list[int] = problem.variant_device.tolist()
        self._memory: list[int] = problem.device_memory[problem.variant_device].tolist()
        self._models: list[int] = problem.model_of.tolist()
        self._transfers = self._carried() if changes else []
        most_us = self._most_us()
        self._period = self._program.column(most_us)
        self._makespan = self._program.column(most_us)
        slots = problem.device_cores[problem.variant_device] // problem.variant_cores
        own = problem.slowdown[problem.variant_device, problem.variant_device]
        # A device has at least as many slots as there are of the variant.
        self.period_weights = (1 + (own - 1) * (slots - 1)) / (slots * problem.variant_batch)
        self.period_rows: dict[int, int] = {}
        self.load_rows: dict[tuple[int, int], int] = {}
        self._demand_period()
        self._demand_loads()
        self._demand_latency(most_us)
        self._energy = self._energy_terms()
        if math.isfinite(problem.energy_budget_uj):
            scale = 1 / max(problem.energy_budget_uj, 1.0)
            limit = -problem.energy_budget_uj * scale * LOOSE
            self._program.at_least([(c, -one * scale) for c, one in self._energy], limit)

    def least_period_us(self) -> Minimum:
        """The least period."""
        return self._program.minimum([(self._period, 1.0)])

    def least_of(self, *, makespan: float = 0.0, energy: float = 0.0) -> Minimum:
        """The least weighted sum of the makespan's microseconds and the energy's microjoules."""
        terms = [(column, energy * one) for column, one in self._energy] if energy else []
        return self._program.minimum([(self._makespan, makespan), *terms])

    def _most_us(self) -> float:
        """More than any row asks of a time, whatever the placement."""
        costs, upper = self._costs, self._program.upper
        total_us = sum(work.us * upper[work.column] for work in self._spread.work)
        total_us += sum(transfer.us for transfer in self._transfers)
        # Paths may ask for launches and borders once more at each link.
        total_us += sum(
            _most(one) for one in (costs.ops, costs.inputs_there, costs.outputs, costs.outputs_away)
        )
        total_us += sum(_most(self._launched(op)[None]) for op in range(self._problem.n_ops))
        total_us += sum(_most(self._passing(u, v).reshape(1, -1)) for u, v in costs.carry)
        return 1.0 + total_us * float(self._problem.slowdown.max())

    def _carried(self) -> list[_Transfer]:
        """What comes over buses: each tensor once to each other memory."""
        problem, carried = self._problem, []
        host = int(problem.device_memory[_HOST])
        for value in problem.values if problem.n_buses else ():
            model = self._models[(value.producer, *value.consumers)[value.producer < 0]]
            table = carry_us(problem, value.size_bytes)
            sources = {host} if value.producer < 0 else self._memories(value.producer)
            targets = {memory for op in value.consumers for memory in self._memories(op)}
            for target in sorted(targets | ({host} if value.is_output else set())):
                # The least time on each bus that it may come over; -1 is for no bus.
                least_us: dict[int, float] = {}
                for source in sources - {target}:
                    bus = int(problem.link_bus[source, target])
                    us = float(table[source, target])
                    if math.isfinite(us):
                        least_us[bus] = min(us, least_us.get(bus, math.inf))
                if -1 in least_us or not any(least_us.values()):
                    # It may come over no bus, or takes no time on one.
                    continue
                columns = {bus: self._program.column() for bus in sorted(least_us)}
                self._demand_carried(value, target, list(columns.values()))
                carried += [
                    _Transfer(column, bus, least_us[bus], model) for bus, column in columns.items()
                ]
        return carried

    def _demand_carried(self, value: Flow, target: int, columns: Sequence[int]) -> None:
        """A tensor that is made elsewhere and read in a memory is carried there."""
        carried = [(column, 1.0) for column in columns]
        if value.producer >= 0:
            carried += self._there(value.producer, target, 1.0)
        elif target == int(self._problem.device_memory[_HOST]):
            return
        if value.is_output and target == int(self._problem.device_memory[_HOST]):
            self._program.at_least(carried, 1.0)
            return
        for op in value.consumers:
            self._program.at_least([*carried, *self._there(op, target, -1.0)], 0.0)

    def _memories(self, op: int) -> set[int]:
        return {self._memory[variant] for variant in self._spread.share[op]}

    def _there(self, op: int, memory: int, coefficient: float) -> list[Term]:
        """How much of an operator is in a memory."""
        return [
            (column, coefficient)
            for variant, column in self._spread.share[op].items()
            if self._memory[variant] == memory
        ]

    def _demand_period(self) -> None:
        """Time for what is put on each device and bus, in a pipeline."""
        problem = self._problem
        weight: list[float] = self.period_weights.tolist()
        loads: dict[tuple[str, int], list[tuple[int, float, int]]] = {}
        for work in self._spread.work:
            one_us = weight[work.variant] * work.us
            device = loads.setdefault(("device", self._device[work.variant]), [])
            device.append((work.column, one_us, work.model))
        for one in self._transfers:
            bus = loads.setdefault(("bus", one.bus), [])
            bus.append((one.column, one.us, one.model))
        rates = (1 / problem.period_us).tolist()
        for (kind, index), load in loads.items():
            terms = [(column, -us) for column, us, _ in load]
            row = self._program.at_least([(self._period, 1.0), *terms], 0.0)
            if kind == "device":
                self.period_rows[index] = row
            if any(rates):
                used = [(column, -us * rates[model]) for column, us, model in load]
                self._program.at_least(used, -LOOSE)
        costs = self._costs
        alone = costs.ops + costs.inputs + costs.outputs + problem.launch_us
        longest_us = float((alone * self.period_weights).min(axis=1).max(initial=0.0))
        self._program.at_least([(self._period, 1.0)], longest_us)

    def _demand_loads(self) -> None:
        """Time for what is put on each device and bus, in one run."""
        by_device: dict[int, list[Work]] = {}
        for work in self._spread.work:
            by_device.setdefault(self._device[work.variant], []).append(work)
        cores: list[int] = self._problem.variant_cores.tolist()
        for device, works in by_device.items():
            has = int(self._problem.device_cores[device])
            # Of regions with at least so many cores each, fewer may fit than the cores suggest.
            for unit in sorted({1, *(cores[work.variant] for work in works)}):
                if unit == 1 or has % unit:
                    terms = [(one.column, -one.us * (cores[one.variant] // unit)) for one in works]
                    row = self._program.at_least(
                        [(self._makespan, float(has // unit)), *terms], 0.0
                    )
                    self.load_rows[device, unit] = row
        for bus in range(self._problem.n_buses):
            terms = [(one.column, -one.us) for one in self._transfers if one.bus == bus]
            self._program.at_least([(self._makespan, 1.0), *terms], 0.0)

    def _demand_latency(self, most_us: float) -> None:
        """Time for the paths of each model; no more than its deadline."""
        problem, program = self._problem, self._program
        latency = [program.column(most_us) for _ in problem.models]
        for model, column in enumerate(latency):
            program.at_least([(self._makespan, 1.0), (column, -1.0)], 0.0)
            program.at_least([(column, 1.0)], self._paths.latency_us[model])
            deadline_us = float(problem.deadline_us[model]) * LOOSE
            program.upper[column] = min(program.upper[column], deadline_us)
        # Without borders, loads have prices only where all of them are demanded from one time.
        if self._changes:
            self._demand_stretches(latency, most_us)

    def _demand_stretches(self, latency: Sequence[int], most_us: float) -> None:
        """Time for the gates of each model and for what lies between them."""
        problem, program = self._problem, self._program
        terms: list[list[Term]] = [[] for _ in problem.models]
        in_stretch: dict[int, dict[int, list[Work]]] = {}
        for work in self._spread.work:
            device = self._device[work.variant]
            in_stretch.setdefault(work.stretch, {}).setdefault(device, []).append(work)
        for index, stretch in enumerate(self._paths.stretches):
            time = program.column(most_us)
            terms[stretch.model].append((time, -1.0))
            self._demand_steps(stretch, time, most_us)
            if stretch.inner and stretch.before >= 0 and stretch.after >= 0:
                self._demand_span(stretch, self._paths.spans[index], time)
            for device, works in in_stretch.get(index, {}).items() if stretch.inner else ():
                share = problem.variant_cores / problem.device_cores[device]
                load = [(one.column, -one.us * float(share[one.variant])) for one in works]
                program.at_least([(time, 1.0), *load], 0.0)
            if stretch.after >= 0:
                own = self._spent(self._spread.share[stretch.after], self._costs.ops[stretch.after])
                terms[stretch.model] += own
        for model, column in enumerate(latency):
            program.at_least([(column, 1.0), *terms[model]], 0.0)

    def _demand_steps(self, stretch: Stretch, time: int, most_us: float) -> None:
        """Time for the paths through a stretch, from one operator to the next."""
        program, share = self._program, self._spread.share
        # When each operator has run, as terms to take from a later time.
        ended: dict[int, list[Term]] = {stretch.before: []}
        for op in (*stretch.inner, stretch.after):
            if op < 0:
                continue
            start = time if op == stretch.after else program.column(most_us)
            if stretch.before < 0:
                first = self._costs.inputs_there[op] + self._launched(op)
                program.at_least([(start, 1.0), *self._spent(share[op], first)], 0.0)
            for u in self._paths.near.before[op]:
                if u in ended:
                    spent = self._spent(self._spread.changed(u, op), self._passing(u, op))
                    program.at_least([(start, 1.0), *ended[u], *spent], 0.0)
            ended[op] = [(start, -1.0), *self._spent(share[op], self._costs.ops[op])]
        if stretch.after < 0:
            for op, terms in ended.items():
                if op >= 0:
                    leaving = self._costs.outputs[op] + self._costs.outputs_away[op]
                    spent = self._spent(share[op], leaving)
                    program.at_least([(time, 1.0), *terms, *spent], 0.0)

    def _demand_span(self, stretch: Stretch, span: Floats, time: int) -> None:
        """Time for the longest path between two gates, by the variants of both."""
        program, share = self._program, self._spread.share
        changed = self._spread.changed(stretch.before, stretch.after)
        terms = self._spent(changed, span)
        for variant in sorted(share[stretch.before].keys() & share[stretch.after].keys()):
            # Both gates on the variant: the first is, and does not change to another.
            same = [(share[stretch.before][variant], 1.0)]
            same += [(column, -1.0) for (a, _), column in changed.items() if a == variant]
            us = float(span[variant, variant])
            if math.isinf(us):
                program.at_least([(column, -one) for column, one in same], 0.0)
            else:
                terms += [(column, -us * one) for column, one in same]
        program.at_least([(time, 1.0), *terms], 0.0)

    def _launched(self, op: int) -> Floats:
        """What a region spends before an operator that is its first, by variant."""
        launched: Floats = self._problem.launch_us + self._costs.inputs[op]
        return launched

    def _passing(self, u: int, v: int) -> Floats:
        """Between the end of one operator and the start of another, by variants."""
        costs = self._costs
        passing: Floats = costs.outputs[u][:, None] + costs.carry[u, v] + costs.border[u, v]
        passing = passing + self._launched(v)
        return passing

    def _spent(self, columns: Mapping[_Key, int], table: Floats) -> list[Term]:
        """The terms of columns that take time; what takes for ever is made impossible."""
        terms = []
        for key, column in columns.items():
            us = float(table[key])
            if math.isinf(us):
                self._program.upper[column] = 0.0
            elif us:
                terms.append((column, -us))
        return terms

    def _energy_terms(self) -> list[Term]:
        problem = self._problem
        active_w: list[float] = problem.active_w.tolist()
        terms = [(work.column, work.us * active_w[work.variant]) for work in self._spread.work]
        for op, share in enumerate(self._spread.share):
            terms += [(column, float(problem.energy_uj[op, a])) for a, column in share.items()]
        return [*terms, (self._makespan, float(problem.idle_w.sum()))]


def _most(table: Floats) -> float:
    """The sum of each row's largest finite value."""
    return float(np.where(np.isinf(table), 0.0, table).max(axis=1).sum())
