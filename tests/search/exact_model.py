"""The placement problem for OR-tools CP-SAT: regions, transfers, and when they run.

Times are integers in units of 1/1000 us; every cost is rounded down, so that the least value of
the model is a lower bound of the problem's.

The model leaves two freedoms that the evaluation does not have: transfers take any turn on their
bus, and whatever could begin may wait. ``exact_turns`` takes them away where a solution used them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Literal

import numpy as np
from exact_regions import Regions, one_of
from exact_sizes import Sizes
from exact_work import Region, Work
from ortools.sat.python import cp_model

from tdse.search.problem import Flow, Problem

Objective = Literal["latency", "throughput", "energy"]
Copy = tuple[int, int]
"""A tensor, by its index among ``Problem.values``, and the memory that it is carried to."""
Asking = dict[int, dict[int, list[Any]]]
"""Who reads a copy, -1 for the host, and from which memory: literals, of which one is true."""

_HOST = 0


class PlacementModel:
    """Variables and constraints of one problem.

    Args:
        problem: without slowdown, and with a variant for each operator.
        objective: what is to be made as small as possible.
        alone: let each operator be a region.

    Attributes:
        timed: times matter to the objective or a rule; without, there are no times.
        start: when the region of each operator starts.
        end: when it ends.
        copied: literals, by value, source and target memory: the transfer is made.
        copy_start: by copy.
        copy_end: by copy.
        moved: literals, by value, reader (-1 for the host) and memory: it reads a copy there.
        latency: of each model.
        makespan: of all.
    """

    def __init__(self, problem: Problem, objective: Objective, *, alone: bool) -> None:
        self.problem = problem
        self.cp = cp_model.CpModel()
        self.sizes = Sizes(problem)
        self.timed = _is_timed(problem, objective)
        self.memory: list[int] = problem.device_memory[problem.variant_device].tolist()
        self.host_memory = int(problem.device_memory[_HOST])
        self._horizon = self.sizes.longest()
        self.regions = Regions(self.cp, problem, alone=alone)
        self.work = Work(self.cp, problem, self.regions, self.sizes)
        self.start = [self._time(f"start{op}") for op in range(problem.n_ops)]
        self.end = [self._time(f"end{op}") for op in range(problem.n_ops)]
        self.makespan = self._time("makespan")
        self.latency = [self._time(f"latency{model}") for model in range(problem.n_models)]
        self.copied: dict[tuple[int, int, int], Any] = {}
        self.copy_start: dict[Copy, Any] = {}
        self.copy_end: dict[Copy, Any] = {}
        self.moved: dict[tuple[int, int, int], Any] = {}
        self._make_copies()
        # Times forbid circles, unless a region may take no time.
        instant = bool((problem.launch_us + problem.cost_us.min(axis=0, initial=1.0) < 0.01).any())
        if not alone and (instant or not self.timed):
            self._order_regions()
        if self.timed:
            self._time_regions()
            self._lengthen_ways()
            self._share_buses()
            for device in range(problem.n_devices):
                self._share_cores(device)
            self._end_runs()

    def _time(self, name: str) -> Any:
        return self.cp.new_int_var(0, self._horizon, name)

    # Regions.

    def _order_regions(self) -> None:
        """Levels that rise along every link between two regions."""
        n_ops = self.problem.n_ops
        level = [self.cp.new_int_var(0, n_ops - 1, f"level{op}") for op in range(n_ops)]
        for u, w in self.problem.links:
            rises = self.cp.add(level[w] >= level[u] + 1)
            if (joined := self.regions.joined.get((u, w))) is not None:
                rises.only_enforce_if(joined.negated())
                self.cp.add(level[w] == level[u]).only_enforce_if(joined)

    def _time_regions(self) -> None:
        cp = self.cp
        for u, w in self.problem.links:
            follows = cp.add(self.start[w] >= self.end[u])
            if (joined := self.regions.joined.get((u, w))) is not None:
                follows.only_enforce_if(joined.negated())
                cp.add(self.start[w] == self.start[u]).only_enforce_if(joined)
                cp.add(self.end[w] == self.end[u]).only_enforce_if(joined)
        for (root, variant), work in self.work.units.items():
            if root not in self.work.bare:
                present = self.regions.member[root, root, variant]
                cp.add(self.end[root] == self.start[root] + work).only_enforce_if(present)

    def _lengthen_ways(self) -> None:
        """Lets the linear relaxation see the longest ways.

        Operators of a region begin one after the other, once it is launched and all is read.
        """
        cp, problem, x = self.cp, self.problem, self.regions.x
        self._begin = [
            self.start[op] if op in self.work.bare else self._time(f"begin{op}")
            for op in range(problem.n_ops)
        ]
        own = [
            sum(self.work.own(op, v) * x[op, v] for v in problem.choices[op])
            for op in range(problem.n_ops)
        ]
        for op, choices in enumerate(problem.choices):
            if op in self.work.bare:
                cp.add(self.end[op] == self.start[op] + own[op])
                continue
            launch = sum(self.sizes.launch[v] * x[op, v] for v in choices)
            giving = sum(self.work.giving(op, v) * x[op, v] for v in choices)
            cp.add(self._begin[op] >= self.start[op] + launch)
            cp.add(self.end[op] >= self._begin[op] + own[op] + giving)
        for value in problem.values:
            u = value.producer
            for w in value.consumers if u >= 0 else ():
                way = [
                    (
                        (self.sizes.carry(value, self.memory[a], self.memory[b]) or 0)
                        + self.sizes.launch[b]
                        + self.sizes.read(value, a, b)
                    )
                    * literal
                    for (a, b), literal in self.regions.apart[u, w].items()
                ]
                cp.add(self._begin[w] >= self._begin[u] + own[u] + sum(way))

    # Transfers.

    def _make_copies(self) -> None:
        """Copies in other memories: whether they are made, and when they are there."""
        for index, value in enumerate(self.problem.values):
            for target, asking in sorted(self._asking(value).items()):
                self._make_copy(index, value, target, asking)

    def _asking(self, value: Flow) -> dict[int, Asking]:
        """Who asks for a copy, by the memory that it is to be in."""
        problem, memory, host = self.problem, self.memory, self.host_memory
        found: dict[int, Asking] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for op in value.consumers:
            if value.producer < 0:
                pairs = {(host, memory[b], b): self.regions.x[op, b] for b in problem.choices[op]}
            else:
                apart = self.regions.apart[value.producer, op]
                pairs = {(memory[a], memory[b], (a, b)): one for (a, b), one in apart.items()}
            for (source, target, _), literal in pairs.items():
                if source != target:
                    found[target][op][source].append(literal)
        for a in problem.choices[value.producer] if value.is_output else ():
            if memory[a] != host:
                found[host][-1][memory[a]].append(self.regions.x[value.producer, a])
        return found

    def _make_copy(self, index: int, value: Flow, target: int, asking: Asking) -> None:
        cp = self.cp
        start, there = self._time(f"copy{index},{target}"), self._time(f"there{index},{target}")
        self.copy_start[index, target], self.copy_end[index, target] = start, there
        sizes = []
        for source in sorted({source for sources in asking.values() for source in sources}):
            asked = [sum(sources[source]) for sources in asking.values() if source in sources]
            size = self.sizes.carry(value, source, target)
            if size is None:
                cp.add(sum(asked) == 0)
                continue
            copied = cp.new_bool_var(f"copied{index},{source},{target}")
            for one in asked:
                cp.add(copied >= one)
            cp.add(copied <= sum(asked))
            self.copied[index, source, target] = copied
            sizes.append(size * copied)
        for reader, sources in asking.items():
            literals = [literal for one in sources.values() for literal in one]
            moved = one_of(cp, literals, f"moved{index},{reader},{target}")
            self.moved[index, reader, target] = moved
            if reader >= 0 and self.timed:
                cp.add(self.start[reader] >= there).only_enforce_if(moved)
        if self.timed:
            cp.add(there == start + sum(sizes))
            if value.producer >= 0:
                cp.add(start >= self.end[value.producer])

    def _share_buses(self) -> None:
        cp = self.cp
        intervals: dict[int, list[Any]] = defaultdict(list)
        loads: dict[int, list[Any]] = defaultdict(list)
        for (index, source, target), copied in self.copied.items():
            bus = int(self.problem.link_bus[source, target])
            size = self.sizes.carry(self.problem.values[index], source, target)
            if bus >= 0 and size:
                start = self.copy_start[index, target]
                name = f"copy{index},{source},{target}"
                intervals[bus].append(
                    cp.new_optional_fixed_size_interval_var(start, size, copied, name)
                )
                loads[bus].append(size * copied)
        for bus in intervals:
            cp.add_no_overlap(intervals[bus])
            cp.add(sum(loads[bus]) <= self.makespan)

    # Devices.

    def _share_cores(self, device: int) -> None:
        """Regions of a device run side by side as its cores allow; so do their operators."""
        problem, work = self.problem, self.work
        devices, needs = problem.variant_device.tolist(), problem.variant_cores.tolist()
        cores = int(problem.device_cores[device])
        here = [region for region in work.units if devices[region[1]] == device]
        loads = [needs[region[1]] * work.units[region] for region in here]
        self.cp.add(sum(loads) <= cores * self.makespan)
        self._overlap([(self._interval(region), needs[region[1]]) for region in here], cores)
        if all(region in work.fixed for region in here):
            return
        inner = []
        for (op, variant), literal in self.regions.x.items():
            if devices[variant] == device and (size := work.own(op, variant)):
                interval = self.cp.new_optional_fixed_size_interval_var(
                    self._begin[op], size, literal, f"op{op},{variant}"
                )
                inner.append((interval, needs[variant]))
        self._overlap(inner, cores)

    def _interval(self, region: Region) -> Any:
        root, variant = region
        present, name = self.regions.member[root, root, variant], f"region{root},{variant}"
        if region in self.work.fixed:
            return self.cp.new_optional_fixed_size_interval_var(
                self.start[root], self.work.fixed[region], present, name
            )
        return self.cp.new_optional_interval_var(
            self.start[root], self.work.units[region], self.end[root], present, name
        )

    def _overlap(self, intervals: list[tuple[Any, int]], cores: int) -> None:
        if all(2 * need > cores for _, need in intervals):
            self.cp.add_no_overlap(interval for interval, _ in intervals)
        else:
            self.cp.add_cumulative(*zip(*intervals, strict=True), cores)

    # Runs.

    def _end_runs(self) -> None:
        """A model is done when its regions are, and its outputs are in the host's memory."""
        cp, problem = self.cp, self.problem
        for op in range(problem.n_ops):
            cp.add(self.latency[problem.model_of[op]] >= self.end[op])
        for index, value in enumerate(problem.values):
            moved = self.moved.get((index, -1, self.host_memory))
            if moved is None:
                continue
            latency = self.latency[problem.model_of[value.producer]]
            there = self.copy_end[index, self.host_memory]
            cp.add(latency >= there).only_enforce_if(moved)
            carried = sum(
                (self.sizes.carry(value, self.memory[a], self.host_memory) or 0)
                * self.regions.x[value.producer, a]
                for a in problem.choices[value.producer]
            )
            cp.add(latency >= self.end[value.producer] + carried)
        for latency in self.latency:
            cp.add(self.makespan >= latency)


def _is_timed(problem: Problem, objective: Objective) -> bool:
    """The objective or a rule depends on when regions run."""
    counts_energy = objective == "energy" or math.isfinite(problem.energy_budget_uj)
    return (
        objective == "latency"
        or bool(np.isfinite(problem.deadline_us).any())
        or (counts_energy and float(problem.idle_w.sum()) > 0)
    )
