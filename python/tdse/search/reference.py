"""The specification of the evaluation: slow and plain. ``cpp/evaluate`` does the same, fast.

Both add and compare in the same order, so that their results are equal to the last bit. Where an
order matters to that, it is said.

**Regions.** A link between two operators of one variant joins them unless it is cut. Operators
that are joined, directly or through others, are a region. If regions wait for each other in a
circle, those in a circle and those between two circles are cut into levels: an operator's level
is the most links that do not join on any way to it within those regions, and only operators of
one level stay together. The level rises along every link that leaves a region, so no circle is
left. Any convex regions without circles can be had: cut the links between them. Regions are
numbered by their lowest operators.

**Work.** The microseconds of a region that runs alone: a launch, its operators, and handing over
each tensor that it reads and did not make, and the outputs of the model that it makes. An operator
that is not legal counts nothing here, and as a violation there.

**Schedule.** All models start at 0 with their inputs in the host's memory. A region may start once
all that it reads is in its device's memory and as many cores as its variant needs are free. At any
time, each device starts the region of the highest priority that may, as long as its cores suffice;
one that needs more cores than are free is waited for. Equal priorities go to the lower region. If
the genes are strict, the devices follow one list instead: regions in the order of their priority,
but after all that they read from; each device starts its regions in this order and no other.

A tensor is carried once to each other memory in which it is read, when the region that makes it is
done. Transfers on one bus take turns in the order in which they are asked for: by time, region,
tensor, reader; the host's copy of an output comes after the readers. A transfer occupies no device.

**Side by side.** A region on device d takes ``1 + sum over e of (slowdown[d][e] - 1) * n_e`` times
as long while n_e other regions run on each device e. It is rated anew whenever that changes.

**Period.** In a pipeline every device works on other inferences than its neighbours. Over many
runs, a device with c cores has c // k slots for the regions that need k cores, which take the runs
in turns; so a region with work w and batch b loads it with w / (c // k) / b for each run. The
regions of a device follow one another. The period is the load of the most loaded device or bus.
Devices that are used at all are taken to be always busy when it comes to slowing down others, and
all slots of a device to be full. Identical devices whose regions take turns this way are one
device with that many cores.

**Memory.** The constants of the operators are there at any time. A region takes, from its start to
its end, what its inner tensors need if it computes its operators in ascending order and keeps
each until its last reader has run; and the tensors that leave it from its start on. Those are
released when the last region that reads them is done, a copy in another memory when the last that
reads it there is; outputs are kept, also on the host. A copy is there from when it is asked for.
Inputs are in the host's memory from 0 on. Counted is one run with one inference.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence

from tdse.search.problem import Flow, Problem
from tdse.search.schedule import Genes, Outcome, Rule, Schedule, ScheduledRegion, Transfer

# Models are given their inputs by, and give their outputs to, the first device.
_HOST = 0


def assess(problem: Problem, genes: Genes) -> Outcome:
    """One run of all models with the given genes, and its figures.

    Args:
        problem: the placement problem.
        genes: what is decided.
    """
    placed = _Placed(problem, genes)
    run = _Run(placed, _keys(placed, genes), strict=genes.strict)
    run.finish()
    latency_us = tuple(run.latency_us)
    makespan_us = max(latency_us)
    load, utilisation = _loads(placed, run)
    active_uj = _active_uj(placed, run)
    energy_uj = active_uj + _sum(problem.idle_w.tolist()) * makespan_us
    violations = [0.0] * len(Rule)
    _count_broken_rules(placed, violations)
    violations[Rule.NO_LINK] = float(run.n_without_link)
    violations[Rule.MEMORY] = _excess(run.peak_bytes, problem.memory_bytes.tolist())
    violations[Rule.DEADLINE] = _excess(latency_us, problem.deadline_us.tolist())
    violations[Rule.PERIOD] = _excess(utilisation, [1.0] * len(utilisation))
    violations[Rule.ENERGY] = _excess([energy_uj], [problem.energy_budget_uj])
    regions = tuple(
        ScheduledRegion(
            tuple(ops), placed.variant[region], run.start_us[region], run.end_us[region]
        )
        for region, ops in enumerate(placed.regions)
    )
    return Outcome(
        Schedule(regions, tuple(run.transfers)),
        latency_us,
        makespan_us,
        max(load, default=0.0),
        active_uj,
        energy_uj,
        tuple(run.peak_bytes),
        tuple(violations),
    )


def regions_of(problem: Problem, genes: Genes) -> list[list[int]]:
    """The regions that genes lead to, ascending, by their lowest operators."""
    cuts = [False] * len(problem.links) if genes.cuts is None else genes.cuts
    joins = [
        genes.variants[u] == genes.variants[v] and not cut
        for (u, v), cut in zip(problem.links, cuts, strict=True)
    ]
    joined = [link for link, join in zip(problem.links, joins, strict=True) if join]
    whole = _components(problem.n_ops, joined)
    knotted = {op for region in _knotted(whole, problem.links) for op in region}
    if not knotted:
        return whole
    level = [0] * problem.n_ops
    # Links are in the order of their producers, so a level is known before it is passed on.
    for (u, v), join in zip(problem.links, joins, strict=True):
        if u in knotted and v in knotted:
            level[v] = max(level[v], level[u] + (not join))
    return _components(problem.n_ops, [(u, v) for u, v in joined if level[u] == level[v]])


def cuts_between(problem: Problem, regions: Iterable[Sequence[int]]) -> list[bool]:
    """The cuts with which ``regions_of`` gives just these regions.

    Args:
        problem: the placement problem.
        regions: convex, each connected and of one variant, none waiting for each other in a
            circle.
    """
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    return [region_of[u] != region_of[v] for u, v in problem.links]


def _components(n_ops: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components, each ascending, by their lowest members."""
    home = list(range(n_ops))
    members = [[op] for op in range(n_ops)]
    for u, v in links:
        first, second = sorted((home[u], home[v]))
        if first != second:
            members[first] += members[second]
            for op in members[second]:
                home[op] = first
            members[second] = []
    return [sorted(region) for region in members if region]


def _knotted(
    regions: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]
) -> list[Sequence[int]]:
    """The regions that lie in a circle, or between two circles."""
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    pairs = {(region_of[u], region_of[v]) for u, v in links if region_of[u] != region_of[v]}
    left = set(range(len(regions)))
    for sources_first in (True, False):
        while True:
            blocked = {
                pair[1 if sources_first else 0]
                for pair in pairs
                if pair[0] in left and pair[1] in left
            }
            if blocked == left:
                break
            left = blocked
    return [regions[index] for index in sorted(left)]


class _Placed:
    """Regions with their devices, and what each costs by itself."""

    def __init__(self, problem: Problem, genes: Genes) -> None:
        self.problem = problem
        self.variants = list(genes.variants)
        self.regions = regions_of(problem, genes)
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
            for op in self.readers(value):
                self.read[self.region_of[op]].append(index)
        self.work_us = self._work_us()

    def home(self, value: Flow) -> int:
        """The region that makes a tensor, -1 for an input."""
        return self.region_of[value.producer] if value.producer >= 0 else -1

    def home_memory(self, value: Flow) -> int:
        """The memory in which a tensor is made, the host's for an input."""
        return self.memory[self.home(value)] if value.producer >= 0 else self.host_memory

    def readers(self, value: Flow) -> list[int]:
        """The operators that read a tensor in regions that did not make it."""
        return [op for op in value.consumers if self.region_of[op] != self.home(value)]

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
            reading = dict.fromkeys(self.region_of[op] for op in self.readers(value))
            for region in reading:
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

    def _host_us(self, value: Flow, variant: int) -> float:
        copy_us = float(self.problem.host_copy_us_per_byte[variant]) * value.size_bytes
        return float(self.problem.host_border_us[variant]) + copy_us


def _keys(placed: _Placed, genes: Genes) -> list[float]:
    """What each device starts its regions by: the least key first, then the lowest region."""
    if genes.priority is None:
        priority = _tails_us(placed)
    else:
        given = genes.priority
        priority = [max(given[op] for op in ops) for ops in placed.regions]
    if not genes.strict:
        return [-one for one in priority]
    waiting = [len(read) for read in placed.read]
    # Inputs of the model hold nobody up.
    for value in placed.problem.values:
        if value.producer < 0:
            for op in value.consumers:
                waiting[placed.region_of[op]] -= 1
    ready = [(-priority[region], region) for region, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    keys = [0.0] * len(placed.regions)
    for position in range(len(placed.regions)):
        _, region = heapq.heappop(ready)
        keys[region] = float(position)
        for index in placed.made[region]:
            for op in placed.readers(placed.problem.values[index]):
                reader = placed.region_of[op]
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready, (-priority[reader], reader))
    return keys


def _tails_us(placed: _Placed) -> list[float]:
    """The longest way from each region's start to the end of the run, if nothing were shared."""
    values = placed.problem.values
    tails_us = [-1.0] * len(placed.regions)
    stack = list(range(len(placed.regions)))
    while stack:
        region = stack[-1]
        after = {
            placed.region_of[op]
            for index in placed.made[region]
            for op in placed.readers(values[index])
        }
        missing = [reader for reader in sorted(after) if tails_us[reader] < 0]
        if missing:
            stack += missing
            continue
        stack.pop()
        longest_us = 0.0
        for index in placed.made[region]:
            value = values[index]
            for op in placed.readers(value):
                reader = placed.region_of[op]
                carry_us = placed.carry_us(value, placed.memory[region], placed.memory[reader])
                longest_us = max(longest_us, _finite(carry_us) + tails_us[reader])
            if value.is_output:
                carry_us = placed.carry_us(value, placed.memory[region], placed.host_memory)
                longest_us = max(longest_us, _finite(carry_us))
        tails_us[region] = placed.work_us[region] + longest_us
    return tails_us


class _Run:
    """Devices and buses over time."""

    def __init__(self, placed: _Placed, keys: Sequence[float], *, strict: bool) -> None:
        problem, n_regions = placed.problem, len(placed.regions)
        self._placed, self._keys, self._strict = placed, keys, strict
        self.start_us = [0.0] * n_regions
        self.end_us = [0.0] * n_regions
        self.latency_us = [0.0] * problem.n_models
        self.transfers: list[Transfer] = []
        self.n_without_link = 0
        self.bus_load_us = [0.0] * problem.n_buses
        self.bus_utilisation = [0.0] * problem.n_buses
        self._bus_free_us = [0.0] * problem.n_buses
        self._copies: dict[tuple[int, int], float] = {}
        self._waiting = [len(read) for read in placed.read]
        self._arrival_us = [0.0] * n_regions
        self._released: list[tuple[float, int]] = []
        self._ready: list[list[tuple[float, int]]] = [[] for _ in problem.devices]
        self._free_cores: list[int] = problem.device_cores.tolist()
        self._n_started = [0] * problem.n_devices
        self._order = [0] * n_regions
        n_on = [0] * problem.n_devices
        for region in sorted(range(n_regions), key=keys.__getitem__):
            self._order[region] = n_on[placed.device[region]]
            n_on[placed.device[region]] += 1
        # Running regions with the factor by which each is slowed down at present.
        self._running: dict[int, float] = {}
        self._readers_left = [len(placed.readers(value)) for value in problem.values]
        self._readers_left_in: dict[tuple[int, int], int] = {}
        self._live_bytes = [0] * problem.n_memories
        for op in range(problem.n_ops):
            memory = placed.memory[placed.region_of[op]]
            self._live_bytes[memory] += int(problem.parameter_bytes[op])
        for index, value in enumerate(problem.values):
            for op in placed.readers(value):
                copy = (index, placed.memory[placed.region_of[op]])
                self._readers_left_in[copy] = self._readers_left_in.get(copy, 0) + 1
        self.peak_bytes = list(self._live_bytes)

    def finish(self) -> None:
        """Runs all regions."""
        values = self._placed.problem.values
        inputs = [index for index, value in enumerate(values) if value.producer < 0]
        for index in inputs:
            self._take(self._placed.host_memory, values[index].size_bytes)
        for region, count in enumerate(self._waiting):
            if not count:
                heapq.heappush(self._released, (0.0, region))
        for index in inputs:
            self._hand_over(index, 0.0)
        now_us = 0.0
        while True:
            while self._released and self._released[0][0] <= now_us:
                _, region = heapq.heappop(self._released)
                entry = (self._keys[region], region)
                heapq.heappush(self._ready[self._placed.device[region]], entry)
            for device in range(self._placed.problem.n_devices):
                self._start_on(device, now_us)
            self._rate(now_us)
            times_us = [self.end_us[region] for region in self._running]
            times_us += [self._released[0][0]] if self._released else []
            if not times_us:
                return
            now_us = min(times_us)
            for region in sorted(self._running):
                if self.end_us[region] == now_us:
                    self._complete(region)

    def _start_on(self, device: int, now_us: float) -> None:
        placed, ready = self._placed, self._ready[device]
        while ready:
            region = ready[0][1]
            cores = int(placed.problem.variant_cores[placed.variant[region]])
            early = self._strict and self._order[region] != self._n_started[device]
            if early or cores > self._free_cores[device]:
                return
            heapq.heappop(ready)
            self._n_started[device] += 1
            self._free_cores[device] -= cores
            self.start_us[region] = now_us
            self.end_us[region] = now_us + placed.work_us[region]
            self._running[region] = 1.0
            leaving = [placed.problem.values[index] for index in placed.made[region]]
            size = sum(value.size_bytes for value in leaving if placed.leaves(value))
            self._take(placed.memory[region], size + _inner_bytes(placed, region))

    def _rate(self, now_us: float) -> None:
        """Moves the ends of running regions that are slowed down otherwise than before."""
        device, slowdown = self._placed.device, self._placed.problem.slowdown
        beside = [0] * self._placed.problem.n_devices
        for region in self._running:
            beside[device[region]] += 1
        for region, before in self._running.items():
            factor = 1.0
            for other, count in enumerate(beside):
                others = count - (other == device[region])
                factor += (float(slowdown[device[region], other]) - 1.0) * others
            if factor != before:
                left_us = (self.end_us[region] - now_us) / before
                self.end_us[region] = now_us + left_us * factor
                self._running[region] = factor

    def _complete(self, region: int) -> None:
        placed, memory, now_us = self._placed, self._placed.memory[region], self.end_us[region]
        del self._running[region]
        cores = int(placed.problem.variant_cores[placed.variant[region]])
        self._free_cores[placed.device[region]] += cores
        model = placed.model[region]
        self.latency_us[model] = max(self.latency_us[model], now_us)
        for index in placed.made[region]:
            self._hand_over(index, now_us)
        self._live_bytes[memory] -= _inner_bytes(placed, region)
        for index in placed.read[region]:
            self._release(index, memory)

    def _hand_over(self, index: int, now_us: float) -> None:
        """Gives a tensor that was just made to all that read it."""
        placed, value = self._placed, self._placed.problem.values[index]
        for op in placed.readers(value):
            region = placed.region_of[op]
            there_us = self._carry(index, placed.memory[region], placed.model[region], now_us)
            self._arrival_us[region] = max(self._arrival_us[region], there_us)
            self._waiting[region] -= 1
            if not self._waiting[region]:
                heapq.heappush(self._released, (self._arrival_us[region], region))
        if value.is_output:
            model = placed.model[placed.home(value)]
            there_us = self._carry(index, placed.host_memory, model, now_us)
            self.latency_us[model] = max(self.latency_us[model], there_us)

    def _carry(self, index: int, target: int, model: int, now_us: float) -> float:
        """When a tensor is in a memory, to which it is carried if it was not before."""
        problem, value = self._placed.problem, self._placed.problem.values[index]
        source = self._placed.home_memory(value)
        if source == target:
            return now_us
        if (index, target) in self._copies:
            return self._copies[index, target]
        carry_us, start_us = self._placed.carry_us(value, source, target), now_us
        if math.isinf(carry_us):
            self.n_without_link += 1
            carry_us = 0.0
        elif (bus := int(problem.link_bus[source, target])) >= 0:
            start_us = max(now_us, self._bus_free_us[bus])
            self._bus_free_us[bus] = start_us + carry_us
            self.bus_load_us[bus] += carry_us
            self.bus_utilisation[bus] += carry_us / float(problem.period_us[model])
        self._copies[index, target] = start_us + carry_us
        self.transfers.append(Transfer(index, source, target, start_us, start_us + carry_us))
        self._take(target, value.size_bytes)
        return start_us + carry_us

    def _take(self, memory: int, size_bytes: int) -> None:
        self._live_bytes[memory] += size_bytes
        self.peak_bytes[memory] = max(self.peak_bytes[memory], self._live_bytes[memory])

    def _release(self, index: int, memory: int) -> None:
        """One of a tensor's readers in a memory is done."""
        value = self._placed.problem.values[index]
        home = self._placed.home_memory(value)
        self._readers_left[index] -= 1
        self._readers_left_in[index, memory] -= 1
        kept = value.is_output and memory == self._placed.host_memory
        if memory != home and not self._readers_left_in[index, memory] and not kept:
            self._live_bytes[memory] -= value.size_bytes
        if not self._readers_left[index] and not value.is_output:
            self._live_bytes[home] -= value.size_bytes


def _inner_bytes(placed: _Placed, region: int) -> int:
    """The most that tensors which do not leave the region take at once."""
    values = [placed.problem.values[index] for index in placed.made[region]]
    inner = [value for value in values if not placed.leaves(value)]
    return max(
        sum(v.size_bytes for v in inner if v.producer <= op <= v.consumers[-1])
        for op in placed.regions[region]
    )


def _loads(placed: _Placed, run: _Run) -> tuple[list[float], list[float]]:
    """Microseconds for which a run occupies each device and bus; its share of their periods."""
    problem = placed.problem
    used = [False] * problem.n_devices
    slots = [1] * problem.n_devices
    for region, device in enumerate(placed.device):
        used[device] = True
        slots[device] = max(slots[device], _slots(placed, region))
    load_us, utilisation = [0.0] * problem.n_devices, [0.0] * problem.n_devices
    for region, device in enumerate(placed.device):
        factor = 1.0
        for other in range(problem.n_devices):
            beside = slots[device] - 1 if other == device else int(used[other])
            factor += (float(problem.slowdown[device, other]) - 1.0) * beside
        batch = int(problem.variant_batch[placed.variant[region]])
        share_us = placed.work_us[region] * factor / (_slots(placed, region) * batch)
        load_us[device] += share_us
        utilisation[device] += share_us / float(problem.period_us[placed.model[region]])
    return load_us + run.bus_load_us, utilisation + run.bus_utilisation


def _slots(placed: _Placed, region: int) -> int:
    """How many regions like this one the device has cores for."""
    variant, device = placed.variant[region], placed.device[region]
    return int(placed.problem.device_cores[device] // placed.problem.variant_cores[variant])


def _active_uj(placed: _Placed, run: _Run) -> float:
    problem, active_uj = placed.problem, 0.0
    for region, variant in enumerate(placed.variant):
        time_us = run.end_us[region] - run.start_us[region]
        active_uj += float(problem.active_w[variant]) * time_us
    for op, variant in enumerate(placed.variants):
        active_uj += float(problem.energy_uj[op, variant])
    return active_uj


def _count_broken_rules(placed: _Placed, violations: list[float]) -> None:
    """Fills in what does not depend on time."""
    problem, variants = placed.problem, placed.variants
    device = [placed.device[region] for region in placed.region_of]
    for op, choices in enumerate(problem.choices):
        violations[Rule.ILLEGAL] += variants[op] not in choices
    for one, other in problem.forbidden_pairs.tolist():
        violations[Rule.FORBIDDEN_PAIR] += device[one] == device[other]
    for variant in range(problem.n_variants):
        count = placed.variant.count(variant)
        if problem.single_region[variant] and count > 1:
            violations[Rule.SINGLE_REGION] += count - 1
    for u, v in problem.links:
        violations[Rule.PREFIX] += bool(problem.prefix[variants[v]] and variants[u] != variants[v])
    parameter_bytes = [0] * problem.n_devices
    for op, size_bytes in enumerate(problem.parameter_bytes.tolist()):
        parameter_bytes[device[op]] += size_bytes
    capacities = problem.parameter_capacity_bytes.tolist()
    violations[Rule.PARAMETERS] = _excess(parameter_bytes, capacities)


def _excess(amounts: Sequence[float], limits: Sequence[float]) -> float:
    """The sum of what is above the limits, in their order."""
    return _sum(max(0.0, one - limit) for one, limit in zip(amounts, limits, strict=True))


def _sum(amounts: Iterable[float]) -> float:
    """From left to right: from Python 3.12 on, ``sum`` adds more exactly than C++."""
    total = 0.0
    for amount in amounts:
        total += amount
    return total


def _finite(time_us: float) -> float:
    """A transfer without a way takes no time: it is told as a violation."""
    return 0.0 if math.isinf(time_us) else time_us
