"""An independent check of a placement, its schedule and its figures.

It shares no code with the evaluations: each rule is stated once more, in its own words, on the
arrays of the problem. What the search returns must pass here.
"""

from __future__ import annotations

import graphlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tdse.errors import PlacementError
from tdse.search.problem import Flow, Problem, listed
from tdse.search.schedule import Outcome, ScheduledRegion, Transfer

# Differences by rounding, as a share of the schedule's length and of energies.
_TOLERANCE = 1e-9
_HOST = 0


def faults(problem: Problem, outcome: Outcome) -> list[str]:
    """Everything that is wrong with a placement, its schedule or its figures, in words.

    Args:
        problem: the placement problem.
        outcome: regions with their variants and times, transfers, and figures; its violations
            are not looked at.

    Returns:
        Nothing if every rule is obeyed and every figure is right.
    """
    structural = [*_partition(problem, outcome.schedule.regions)]
    if structural:
        return structural
    check = _Check(problem, outcome)
    return [
        *check.places(),
        *check.circles(),
        *check.durations(),
        *check.cores(),
        *check.transfers(),
        *check.precedence(),
        *check.memories(),
        *check.figures(),
    ]


def check(problem: Problem, assignment: Sequence[int], regions: Sequence[Sequence[int]]) -> None:
    """Refuses a placement that breaks a rule which does not depend on time.

    Each operator is in one region, legal and as pinned; regions are connected, of one variant, and
    can run one after the other; pairs, single regions, prefixes and capacities are obeyed.

    Args:
        problem: the placement problem.
        assignment: variant of each operator, length n_ops.
        regions: operators of each region, in any order.

    Raises:
        PlacementError: it tells all faults.
    """
    if len(assignment) != problem.n_ops:
        raise _invalid([f"it places {len(assignment)} operators, not {problem.n_ops}"])
    scheduled = [
        ScheduledRegion(tuple(ops), assignment[ops[0]] if _known(problem, ops) else 0, 0.0, 0.0)
        for ops in regions
    ]
    found = [*_partition(problem, scheduled)]
    if not found:
        rules = _Rules(problem, scheduled)
        found = [*rules.mixed(assignment), *rules.places(), *rules.circles()]
    if found:
        raise _invalid(found)


def _known(problem: Problem, ops: Sequence[int]) -> bool:
    return len(ops) > 0 and 0 <= ops[0] < problem.n_ops


def _invalid(found: Sequence[str]) -> PlacementError:
    return PlacementError("the placement is not valid", why=listed(found))


def _partition(problem: Problem, regions: Sequence[ScheduledRegion]) -> Iterator[str]:
    held = Counter(op for region in regions for op in region.ops)
    for op in range(problem.n_ops):
        if held[op] != 1:
            yield f"{problem.label(op)} is in {held[op]} regions"
    for op in sorted(set(held) - set(range(problem.n_ops))):
        yield f"operator {op} does not exist"
    for index, region in enumerate(regions):
        if not region.ops:
            yield f"region {index} is empty"
        if not 0 <= region.variant < problem.n_variants:
            yield f"region {index} runs as variant {region.variant}, which does not exist"


class _Rules:
    def __init__(self, problem: Problem, regions: Sequence[ScheduledRegion]) -> None:
        self.problem = problem
        self.regions = regions
        self.region_of = {op: i for i, region in enumerate(regions) for op in region.ops}

    def device(self, region: int) -> int:
        return int(self.problem.variant_device[self.regions[region].variant])

    def mixed(self, assignment: Sequence[int]) -> Iterator[str]:
        """Regions whose operators are said to run as other variants than their first."""
        for index, region in enumerate(self.regions):
            first = region.ops[0]
            for op in region.ops:
                if assignment[op] != assignment[first]:
                    one, other = (self.problem.variants[assignment[o]] for o in (first, op))
                    texts = (self.problem.label(first), one, self.problem.label(op), other)
                    yield "{} is on {} and {} on {}, both in region {}".format(*texts, index)

    def places(self) -> Iterator[str]:
        """Legality, pins, pairs, and the rules of variants and devices."""
        problem = self.problem
        variant = [self.regions[self.region_of[op]].variant for op in range(problem.n_ops)]
        device = [self.device(self.region_of[op]) for op in range(problem.n_ops)]
        for op in range(problem.n_ops):
            name = problem.variants[variant[op]]
            if math.isinf(problem.cost_us[op, variant[op]]):
                yield f"{problem.label(op)} cannot run as {name}"
            if problem.pins[op] not in (-1, variant[op]):
                yield f"{problem.label(op)} is pinned, but runs as {name}"
            if problem.device_pins[op] not in (-1, device[op]):
                yield f"{problem.label(op)} is pinned, but is on {problem.devices[device[op]]}"
        for one, other in problem.forbidden_pairs.tolist():
            if device[one] == device[other]:
                yield f"{problem.label(one)} and {problem.label(other)} share a device"
        for index, name in enumerate(problem.variants):
            count = sum(region.variant == index for region in self.regions)
            if problem.single_region[index] and count > 1:
                yield f"{count} regions run as {name}, which allows one"
        for producer, consumer, _ in problem.edges.tolist():
            if problem.prefix[variant[consumer]] and variant[producer] != variant[consumer]:
                name = problem.variants[variant[consumer]]
                yield f"{problem.label(producer)} is outside {name}, but is needed by its prefix"
        for index, name in enumerate(problem.devices):
            held = sum(
                int(problem.parameter_bytes[op]) for op, d in enumerate(device) if d == index
            )
            if held > problem.parameter_capacity_bytes[index]:
                yield f"{name} is to hold {held} bytes of parameters"

    def circles(self) -> Iterator[str]:
        """Regions are connected, and can run one after the other; so all of them are convex."""
        near: dict[int, set[int]] = defaultdict(set)
        waits: dict[int, set[int]] = defaultdict(set)
        for producer, consumer, _ in self.problem.edges.tolist():
            source, target = self.region_of[producer], self.region_of[consumer]
            if source == target:
                near[producer].add(consumer)
                near[consumer].add(producer)
            else:
                waits[target].add(source)
        for index, region in enumerate(self.regions):
            reached, stack = {region.ops[0]}, [region.ops[0]]
            while stack:
                new = near[stack.pop()] - reached
                reached |= new
                stack += new
            if len(reached) != len(region.ops):
                yield f"region {index} is not connected"
        try:
            graphlib.TopologicalSorter(waits).prepare()
        except graphlib.CycleError as error:
            yield f"regions wait for each other: {' -> '.join(map(str, error.args[1]))}"


class _Check(_Rules):
    def __init__(self, problem: Problem, outcome: Outcome) -> None:
        super().__init__(problem, outcome.schedule.regions)
        self.outcome = outcome
        self.slack_us = _TOLERANCE * max(1.0, outcome.makespan_us)

    def memory(self, region: int) -> int:
        return int(self.problem.device_memory[self.device(region)])

    def home(self, value: Flow) -> int | None:
        """The region that makes a tensor; None for an input of a model."""
        return None if value.producer < 0 else self.region_of[value.producer]

    def home_memory(self, value: Flow) -> int:
        home = self.home(value)
        return int(self.problem.device_memory[_HOST]) if home is None else self.memory(home)

    def made_us(self, value: Flow) -> float:
        home = self.home(value)
        return 0.0 if home is None else self.regions[home].end_us

    def reading(self, value: Flow) -> set[int]:
        """The regions that read a tensor and did not make it."""
        return {self.region_of[op] for op in value.consumers} - {self.home(value)}

    def work_us(self, index: int) -> float:
        """What a region takes alone, from the definition of the costs."""
        problem, region = self.problem, self.regions[index]
        into, ops = region.variant, set(region.ops)
        total_us = float(problem.launch_us[into])
        total_us += sum(float(problem.cost_us[op, into]) for op in ops)
        read = {
            (producer, tensor)
            for producer, consumer, tensor in problem.edges.tolist()
            if consumer in ops and producer not in ops
        }
        for producer, tensor in read:
            pair = (self.regions[self.region_of[producer]].variant, into)
            size = int(problem.tensor_bytes[tensor])
            total_us += float(problem.border_us[pair] + problem.copy_us_per_byte[pair] * size)
        given = {tensor for op, tensor in problem.inputs.tolist() if op in ops}
        taken = {(op, tensor) for op, tensor in problem.outputs.tolist() if op in ops}
        for tensor in (*given, *(tensor for _, tensor in taken)):
            size = int(problem.tensor_bytes[tensor])
            copy_us = problem.host_copy_us_per_byte[into] * size
            total_us += float(problem.host_border_us[into] + copy_us)
        return total_us

    def spans(self) -> Iterator[tuple[float, list[int]]]:
        """The time between any two events, and the regions that run all through it."""
        times = sorted({time for r in self.regions for time in (r.start_us, r.end_us)})
        for begin, end in pairwise(times):
            running = [
                i for i, r in enumerate(self.regions) if r.start_us <= begin and end <= r.end_us
            ]
            yield end - begin, running

    def durations(self) -> Iterator[str]:
        """Each region takes what it must, slowed down by those that run beside it."""
        done_us = [0.0] * len(self.regions)
        for span_us, running in self.spans():
            for index in running:
                factor = 1.0
                for other in running:
                    if other != index:
                        pair = (self.device(index), self.device(other))
                        factor += float(self.problem.slowdown[pair]) - 1.0
                done_us[index] += span_us / factor
        for index, region in enumerate(self.regions):
            if region.start_us < 0 or region.end_us < region.start_us:
                yield f"region {index} runs from {region.start_us} to {region.end_us} us"
            work_us = self.work_us(index)
            if math.isfinite(work_us) and abs(done_us[index] - work_us) > self.slack_us:
                yield f"region {index} has time for {done_us[index]} us of its {work_us} us"

    def cores(self) -> Iterator[str]:
        """No device runs more than it has cores for."""
        problem = self.problem
        for span_us, running in self.spans():
            if span_us <= self.slack_us:
                continue
            used: dict[int, int] = defaultdict(int)
            for index in running:
                used[self.device(index)] += int(problem.variant_cores[self.regions[index].variant])
            for device, cores in used.items():
                if cores > problem.device_cores[device]:
                    yield f"{cores} cores of {problem.devices[device]} are used at once"

    def transfers(self) -> Iterator[str]:
        """Each tensor is carried to where it is read, once, in its time, alone on its bus."""
        problem, host = self.problem, int(self.problem.device_memory[_HOST])
        needed = set()
        for index, value in enumerate(problem.values):
            targets = {self.memory(region) for region in self.reading(value)}
            targets |= {host} if value.is_output else set()
            needed |= {(index, target) for target in targets - {self.home_memory(value)}}
        made = Counter((one.value, one.target) for one in self.outcome.schedule.transfers)
        for value_index, target in sorted(needed | set(made)):
            wanted = int((value_index, target) in needed)
            if made[value_index, target] != wanted:
                times = made[value_index, target]
                yield f"value {value_index} is carried to memory {target} {times} times"
        on_bus: dict[int, list[Transfer]] = defaultdict(list)
        for one in self.outcome.schedule.transfers:
            value = problem.values[one.value]
            where = (self.home_memory(value), one.target)
            per_byte = float(problem.link_us_per_byte[where])
            if math.isinf(per_byte):
                yield f"there is no way from memory {where[0]} to memory {where[1]}"
                continue
            takes_us = float(problem.link_latency_us[where]) + per_byte * value.size_bytes
            if abs(one.end_us - one.start_us - takes_us) > self.slack_us:
                yield f"carrying value {one.value} takes {takes_us} us"
            if one.source != where[0]:
                yield f"value {one.value} is not in memory {one.source}"
            if one.start_us < self.made_us(value):
                yield f"value {one.value} is carried before it is made"
            if (bus := int(problem.link_bus[where])) >= 0:
                on_bus[bus].append(one)
        for bus, carried in on_bus.items():
            for one, next_one in pairwise(sorted(carried, key=lambda one: one.start_us)):
                if next_one.start_us < one.end_us - self.slack_us:
                    yield f"two transfers are on bus {bus} at {next_one.start_us} us"

    def there_us(self, index: int, memory: int) -> float:
        """When a tensor is in a memory."""
        value = self.problem.values[index]
        if memory == self.home_memory(value):
            return self.made_us(value)
        return min(
            (
                one.end_us
                for one in self.outcome.schedule.transfers
                if (one.value, one.target) == (index, memory)
            ),
            default=math.inf,
        )

    def precedence(self) -> Iterator[str]:
        """No region starts before all that it reads is there."""
        for index, value in enumerate(self.problem.values):
            for region in self.reading(value):
                if self.regions[region].start_us < self.there_us(index, self.memory(region)):
                    yield f"region {region} starts before value {index} is there"

    def memories(self) -> Iterator[str]:
        """What is in each memory at any time fits, and is not more than the figure."""
        for memory, held in enumerate(self.peak_bytes()):
            if held > self.problem.memory_bytes[memory]:
                yield f"memory {memory} is to hold {held} bytes"
            if held > self.outcome.peak_bytes[memory]:
                yield f"memory {memory} holds {held} bytes, more than its peak is said to be"

    def peak_bytes(self) -> list[int]:
        """The peak of each memory; what ends at a time makes room for what begins then."""
        problem, end_us = self.problem, self.outcome.makespan_us
        held = [0] * problem.n_memories
        for op, region in self.region_of.items():
            held[self.memory(region)] += int(problem.parameter_bytes[op])
        stays: list[tuple[int, float, float, int]] = []
        for region, one in enumerate(self.regions):
            inner = self.inner_bytes(region)
            stays.append((self.memory(region), one.start_us, one.end_us, inner))
        host = int(problem.device_memory[_HOST])
        for value in problem.values:
            home, reading = self.home(value), self.reading(value)
            if home is not None and not reading and not value.is_output:
                continue
            begin_us = 0.0 if home is None else self.regions[home].start_us
            done_us = max([self.regions[region].end_us for region in reading], default=0.0)
            until_us = end_us if value.is_output else done_us
            stays.append((self.home_memory(value), begin_us, until_us, value.size_bytes))
            targets = {self.memory(region) for region in reading}
            targets |= {host} if value.is_output else set()
            for target in targets - {self.home_memory(value)}:
                last_us = max(
                    [self.regions[r].end_us for r in reading if self.memory(r) == target],
                    default=0.0,
                )
                until_us = end_us if value.is_output and target == host else last_us
                stays.append((target, self.made_us(value), until_us, value.size_bytes))
        peaks = list(held)
        changes = [(begin, 1, memory, size) for memory, begin, _, size in stays]
        changes += [(end, 0, memory, -size) for memory, _, end, size in stays]
        for _, _, memory, change in sorted(changes):
            held[memory] += change
            peaks[memory] = max(peaks[memory], held[memory])
        return peaks

    def inner_bytes(self, region: int) -> int:
        """The most that a region's inner tensors take while its operators run in order."""
        ops = self.regions[region].ops
        inner = [
            value
            for value in self.problem.values
            if self.home(value) == region and not self.reading(value) and not value.is_output
        ]
        return max(
            sum(v.size_bytes for v in inner if v.producer <= op <= max(v.consumers)) for op in ops
        )

    def figures(self) -> Iterator[str]:
        """Latencies, period and energy are right, and within deadlines and budgets."""
        problem, outcome = self.problem, self.outcome
        latency_us = [0.0] * problem.n_models
        for region in self.regions:
            model = int(problem.model_of[region.ops[0]])
            latency_us[model] = max(latency_us[model], region.end_us)
        for index, value in enumerate(problem.values):
            if value.is_output:
                model = int(problem.model_of[value.producer])
                there_us = self.there_us(index, int(problem.device_memory[_HOST]))
                latency_us[model] = max(latency_us[model], there_us)
        energy_uj = sum(
            float(problem.active_w[region.variant]) * (region.end_us - region.start_us)
            for region in self.regions
        )
        for op, index in self.region_of.items():
            energy_uj += float(problem.energy_uj[op, self.regions[index].variant])
        loads_us, shares = self.loads()
        yield from self._wrong("active energy", outcome.active_uj, energy_uj)
        energy_uj += float(problem.idle_w.sum()) * max(latency_us)
        yield from self._wrong("energy", outcome.energy_uj, energy_uj)
        yield from self._wrong("makespan", outcome.makespan_us, max(latency_us))
        yield from self._wrong("period", outcome.period_us, max(loads_us, default=0.0))
        if energy_uj > problem.energy_budget_uj * (1 + _TOLERANCE):
            yield f"a run takes {energy_uj} uJ, more than {problem.energy_budget_uj} uJ"
        for model, name in enumerate(problem.models):
            yield from self._wrong(
                f"latency of {name}", outcome.latency_us[model], latency_us[model]
            )
            if latency_us[model] > problem.deadline_us[model] + self.slack_us:
                yield f"{name} takes {latency_us[model]} us, too late"
        for share in shares:
            if share > 1 + _TOLERANCE:
                yield f"the models' rates need {share} of one device or bus"

    def loads(self) -> tuple[list[float], list[float]]:
        """Microseconds of each device and bus for a run in a pipeline, and shares of periods."""
        problem = self.problem
        loads_us: dict[tuple[str, int], float] = defaultdict(float)
        shares: dict[tuple[str, int], float] = defaultdict(float)
        slots = [
            int(problem.device_cores[self.device(i)] // problem.variant_cores[region.variant])
            for i, region in enumerate(self.regions)
        ]
        most: dict[int, int] = defaultdict(int)
        for index, count in enumerate(slots):
            most[self.device(index)] = max(most[self.device(index)], count)
        for index, region in enumerate(self.regions):
            device = self.device(index)
            factor = 1.0 + (float(problem.slowdown[device, device]) - 1.0) * (most[device] - 1)
            for other in most:
                if other != device:
                    factor += float(problem.slowdown[device, other]) - 1.0
            runs = slots[index] * int(problem.variant_batch[region.variant])
            load_us = self.work_us(index) * factor / runs
            loads_us["device", device] += load_us
            model = int(problem.model_of[region.ops[0]])
            shares["device", device] += load_us / float(problem.period_us[model])
        for one in self.outcome.schedule.transfers:
            bus = int(problem.link_bus[one.source, one.target])
            value = problem.values[one.value]
            if bus < 0:
                continue
            reader = value.producer if value.producer >= 0 else self._first_reader(one)
            loads_us["bus", bus] += one.end_us - one.start_us
            period_us = float(problem.period_us[problem.model_of[reader]])
            shares["bus", bus] += (one.end_us - one.start_us) / period_us
        return list(loads_us.values()), list(shares.values())

    def _first_reader(self, transfer: Transfer) -> int:
        consumers = self.problem.values[transfer.value].consumers
        return next(op for op in consumers if self.memory(self.region_of[op]) == transfer.target)

    def _wrong(self, name: str, said: float, found: float) -> Iterator[str]:
        if math.isfinite(found) and abs(said - found) > _TOLERANCE * max(1.0, abs(found)):
            yield f"the {name} is {found}, not {said}"
