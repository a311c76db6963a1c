"""A placement before anything runs: its regions, what each costs by itself, and their order."""

from __future__ import annotations

import heapq
import math

from tdse.search.problem import Flow, Problem
from tdse.search.regions import regions_from
from tdse.search.schedule import Genes

# Models are given their inputs by, and give their outputs to, the first device.
_HOST = 0


class Placed:
    """Regions with their devices, and what each costs by itself."""

    def __init__(self, problem: Problem, genes: Genes) -> None:
        self.problem = problem
        self.variants = list(genes.variants)
        self.regions = regions_from(problem, genes)
        self.region_of = [0] * problem.n_ops
        for index, ops in enumerate(self.regions):
            for op in ops:
                self.region_of[op] = index
        device_of: list[int] = problem.variant_device.tolist()
        memory_of: list[int] = problem.device_memory.tolist()
        models: list[int] = problem.model_of.tolist()
        self.variant = [self.variants[ops[0]] for ops in self.regions]
        self.device = [device_of[variant] for variant in self.variant]
        self.memory = [memory_of[device] for device in self.device]
        self.model = [models[ops[0]] for ops in self.regions]
        self.host_memory = memory_of[_HOST]
        self.made: list[list[int]] = [[] for _ in self.regions]
        self.read: list[list[int]] = [[] for _ in self.regions]
        for index, value in enumerate(problem.values):
            if value.producer >= 0:
                self.made[self.region_of[value.producer]].append(index)
            for region in self.readers(value):
                self.read[region].append(index)
        self.work_us = self._work_us()
        self.inner_bytes = [self._inner_bytes(region) for region in range(len(self.regions))]

    def home(self, value: Flow) -> int:
        """The region that makes a tensor, -1 for an input."""
        return self.region_of[value.producer] if value.producer >= 0 else -1

    def home_memory(self, value: Flow) -> int:
        """The memory in which a tensor is made, the host's for an input."""
        return self.memory[self.home(value)] if value.producer >= 0 else self.host_memory

    def readers(self, value: Flow) -> list[int]:
        """The regions that read a tensor and did not make it, by their first operators that do."""
        regions = dict.fromkeys(self.region_of[op] for op in value.consumers)
        return [region for region in regions if region != self.home(value)]

    def leaves(self, value: Flow) -> bool:
        """The tensor is read outside the region that makes it."""
        return value.is_output or len(self.readers(value)) > 0

    def carry_us(self, value: Flow, source: int, target: int) -> float:
        """Microseconds of a transfer, 0 if it stays where it is, inf if there is no way."""
        if source == target:
            return 0.0
        us_per_byte = float(self.problem.link_us_per_byte[source, target])
        if math.isinf(us_per_byte):
            return math.inf
        return float(self.problem.link_latency_us[source, target]) + us_per_byte * value.size_bytes

    def _work_us(self) -> list[float]:
        """The work of each region: launch, operators, then tensors in their order."""
        problem, variants = self.problem, self.variants
        work_us = [float(problem.launch_us[variant]) for variant in self.variant]
        for op, variant in enumerate(variants):
            cost_us = problem.costs[op][variant]
            work_us[self.region_of[op]] += 0.0 if math.isinf(cost_us) else cost_us
        for value in problem.values:
            for region in self.readers(value):
                into = self.variant[region]
                if value.producer < 0:
                    work_us[region] += self._host_us(value, into)
                else:
                    pair = (variants[value.producer], into)
                    copy_us = float(problem.copy_us_per_byte[pair]) * value.size_bytes
                    work_us[region] += float(problem.border_us[pair]) + copy_us
            if value.is_output:
                work_us[self.home(value)] += self._host_us(value, variants[value.producer])
        return work_us

    def _inner_bytes(self, region: int) -> int:
        """The most that tensors which do not leave the region take at once."""
        values = [self.problem.values[index] for index in self.made[region]]
        inner = [value for value in values if not self.leaves(value)]
        ending: dict[int, int] = {}
        for value in inner:
            last = value.consumers[-1]
            ending[last] = ending.get(last, 0) + value.size_bytes
        made = {op: 0 for op in self.regions[region]}
        for value in inner:
            made[value.producer] += value.size_bytes
        live_bytes = most_bytes = 0
        for op in self.regions[region]:
            live_bytes += made[op]
            most_bytes = max(most_bytes, live_bytes)
            live_bytes -= ending.get(op, 0)
        return most_bytes

    def _host_us(self, value: Flow, variant: int) -> float:
        copy_us = float(self.problem.host_copy_us_per_byte[variant]) * value.size_bytes
        return float(self.problem.host_border_us[variant]) + copy_us


def start_keys(placed: Placed, genes: Genes) -> list[float]:
    """What each device starts its regions by: the least key first, then the lowest region."""
    priority = _tails_us(placed)
    if genes.priority is not None:
        for region, ops in enumerate(placed.regions):
            for op in ops:
                priority[region] += genes.priority[op]
    if not genes.strict:
        return [-one for one in priority]
    waiting = [len(read) for read in placed.read]
    # Inputs of the model hold nobody up.
    for value in placed.problem.values:
        if value.producer < 0:
            for region in placed.readers(value):
                waiting[region] -= 1
    ready = [(-priority[region], region) for region, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    keys = [0.0] * len(placed.regions)
    for position in range(len(placed.regions)):
        _, region = heapq.heappop(ready)
        keys[region] = float(position)
        for index in placed.made[region]:
            for reader in placed.readers(placed.problem.values[index]):
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready, (-priority[reader], reader))
    return keys


def _tails_us(placed: Placed) -> list[float]:
    """The longest way from each region's start to the end of the run, if nothing were shared."""
    values = placed.problem.values
    tails_us = [-1.0] * len(placed.regions)
    stack = list(range(len(placed.regions)))
    while stack:
        region = stack[-1]
        after = {
            reader for index in placed.made[region] for reader in placed.readers(values[index])
        }
        missing = [reader for reader in sorted(after) if tails_us[reader] < 0]
        if missing:
            stack += missing
            continue
        stack.pop()
        longest_us = 0.0
        for index in placed.made[region]:
            value = values[index]
            for reader in placed.readers(value):
                carry_us = placed.carry_us(value, placed.memory[region], placed.memory[reader])
                longest_us = max(longest_us, _finite(carry_us) + tails_us[reader])
            if value.is_output:
                carry_us = placed.carry_us(value, placed.memory[region], placed.host_memory)
                longest_us = max(longest_us, _finite(carry_us))
        tails_us[region] = placed.work_us[region] + longest_us
    return tails_us


def _finite(time_us: float) -> float:
    """A transfer without a way takes no time: it is told as a violation."""
    return 0.0 if math.isinf(time_us) else time_us
