"""One run of a placement: when each region and each transfer begins and ends."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from tdse.search.placed import Placed
from tdse.search.schedule import Transfer


class Timeline:
    """Devices and buses over time."""

    def __init__(self, placed: Placed, keys: Sequence[float], *, strict: bool) -> None:
        problem, n_regions = placed.problem, len(placed.regions)
        self._placed, self._keys, self._strict = placed, keys, strict
        self.start_us = [0.0] * n_regions
        self.end_us = [0.0] * n_regions
        self.latency_us = [0.0] * problem.n_models
        self.transfers: list[Transfer] = []
        self.n_without_link = 0
        self.bus_load_us = [[0.0] * problem.n_models for _ in range(problem.n_buses)]
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
            for region in placed.readers(value):
                copy = (index, placed.memory[region])
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
            self._take(placed.memory[region], size + placed.inner_bytes[region])

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
        self._live_bytes[memory] -= placed.inner_bytes[region]
        for index in placed.read[region]:
            self._release(index, memory)

    def _hand_over(self, index: int, now_us: float) -> None:
        """Gives a tensor that was just made to all that read it."""
        placed, value = self._placed, self._placed.problem.values[index]
        for region in placed.readers(value):
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
            self.bus_load_us[bus][model] += carry_us
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
