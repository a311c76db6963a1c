"""What a stream is predicted to take: the executor's lanes, in modelled time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

from tdse.emulation.layout import borders
from tdse.graph.model import Graph
from tdse.runtime.emulated import Step

# Rounds that count, in each of which every unit has had as many turns as all others. After a few
# of them only, a stream may still be faster than it stays.
_ROUNDS = 12
# Steps take up to so much longer, at random: a machine keeps no exact time, and what fits together
# by luck only does not stay together.
_JITTER = 0.03


def stream_period_us(graph: Graph, steps: Sequence[Step], lanes: int, in_flight: int) -> float:
    """Microseconds between two results of a long stream.

    A lane runs one step at a time: of all that are ready the oldest run's first, and of one run in
    the order of the steps. A step of several lanes is taken by whichever is free first, and with it
    the run's other steps of the same lanes. A new run begins when the oldest is done, if as many
    are on their way as may be.

    Args:
        graph: the model.
        steps: in an order in which they can run.
        lanes: number of lanes.
        in_flight: runs that may be on their way.
    """
    after, before = _order(graph, steps)
    generator = random.Random(0)
    # What a lane can do, by the lanes that can: its own alone, or some that have copies.
    ready: dict[tuple[int, ...], list[tuple[int, int]]] = {(lane,): [] for lane in range(lanes)}
    ready |= {step.lanes: [] for step in steps}
    queues = [[queue for on, queue in ready.items() if lane in on] for lane in range(lanes)]
    taken: dict[tuple[int, tuple[int, ...]], int] = {}
    is_busy = [False] * lanes
    running: list[tuple[float, int, int, int]] = []
    waiting: dict[int, list[int]] = {}
    left: dict[int, int] = {}
    ends_us: list[float] = []
    oldest = 0
    now_us = 0.0

    def push(item: int, step: int) -> None:
        on = steps[step].lanes
        lane = taken.get((item, on))
        heapq.heappush(ready[on if lane is None else (lane,)], (item, step))

    def begin(item: int) -> None:
        waiting[item], left[item] = list(before), len(steps)
        for step, count in enumerate(before):
            if not count:
                push(item, step)

    # Neither the first nor the last runs count: they have lanes to themselves.
    turns = math.lcm(*(len(step.lanes) for step in steps))
    counted = turns * math.ceil(_ROUNDS * in_flight / turns)
    count = counted + 2 * in_flight
    begun = min(in_flight, count)
    for item in range(begun):
        begin(item)
    while len(ends_us) < count:
        for lane in range(lanes):
            filled = [queue for queue in queues[lane] if queue]
            if filled and not is_busy[lane]:
                item, step = heapq.heappop(min(filled))
                taken[item, steps[step].lanes] = lane
                is_busy[lane] = True
                time_us = steps[step].modelled_us * (1.0 + _JITTER * generator.random())
                heapq.heappush(running, (now_us + time_us, item, step, lane))
        now_us, item, step, lane = heapq.heappop(running)
        is_busy[lane] = False
        left[item] -= 1
        for other in after[step]:
            waiting[item][other] -= 1
            if not waiting[item][other]:
                push(item, other)
        while oldest in left and not left[oldest]:
            del left[oldest], waiting[oldest]
            ends_us.append(now_us)
            oldest += 1
            if begun < count:
                begin(begun)
                begun += 1
    return (ends_us[in_flight - 1 + counted] - ends_us[in_flight - 1]) / counted


def _order(graph: Graph, steps: Sequence[Step]) -> tuple[list[list[int]], list[int]]:
    """The steps that wait for each, and how many each waits for."""
    maker: dict[tuple[int, int], int] = {}
    previous: dict[tuple[int, ...], int] = {}
    after: list[list[int]] = [[] for _ in steps]
    before = [0] * len(steps)
    for i, step in enumerate(steps):
        read, made = borders(graph, step)
        waits_for = {maker[each] for each in read if each in maker}
        if step.lanes in previous:
            waits_for.add(previous[step.lanes])
        for other in waits_for:
            after[other].append(i)
        before[i] = len(waits_for)
        previous[step.lanes] = i
        maker.update(dict.fromkeys(made, i))
    return after, before
