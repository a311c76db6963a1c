"""From a schedule to steps on lanes: what an emulated board's executor does, in which order."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.emulation.costs import buses
from tdse.graph.model import Graph
from tdse.platform.model import Platform
from tdse.runtime.emulated import Step
from tdse.search import Problem
from tdse.search.schedule import Outcome, ScheduledRegion


@dataclass(frozen=True)
class Layout:
    """Lanes, and what runs on them.

    Attributes:
        lanes: names: units of devices first, then links; only those that are used.
        steps: in an order in which they can run.
        predicted_us: of one run.
    """

    lanes: tuple[str, ...]
    steps: tuple[Step, ...]
    predicted_us: float


def lay_out(
    graph: Graph, board: Platform, problem: Problem, outcome: Outcome, *, copies: bool
) -> Layout:
    """The steps of a schedule.

    Args:
        graph: the model.
        board: its platform.
        problem: of placing it there.
        outcome: a valid placement's.
        copies: regions have a copy on each unit of their device, and the runs of a stream take
            them in turns, as the search's period is counted; else each is on the unit that is free
            when the schedule starts it.
    """
    names, units = _units(problem)
    free_us = [0.0] * len(names)
    steps = []
    for region in sorted(outcome.schedule.regions, key=lambda one: one.start_us):
        device = int(problem.variant_device[region.variant])
        lanes = units[device]
        if not copies:
            lane = next(lane for lane in lanes if free_us[lane] <= region.start_us)
            free_us[lane] = region.end_us
            lanes = (lane,)
        steps.append(_region(graph, problem, region, device, lanes))
    tensors = _tensors(problem)
    links = buses(board.all_links)
    for transfer in outcome.schedule.transfers:
        bus = int(problem.link_bus[transfer.source, transfer.target])
        steps.append(
            Step(
                name=f"transfer_{links[bus]}",
                place=links[bus],
                lanes=(len(names) + bus,),
                start_us=transfer.start_us,
                modelled_us=transfer.end_us - transfer.start_us,
                memory=transfer.target,
                tensor=tensors[transfer.value],
                source=transfer.source,
            )
        )
    return _timed(graph, *_renumbered([*names, *links], _ordered(graph, steps)))


def _units(problem: Problem) -> tuple[list[str], list[tuple[int, ...]]]:
    """Names of the units of all devices, and the units of each device."""
    names: list[str] = []
    units = []
    for name, count in zip(problem.devices, problem.device_cores.tolist(), strict=True):
        units.append(tuple(range(len(names), len(names) + count)))
        names += [name] if count == 1 else [f"{name} {i}" for i in range(count)]
    return names, units


def _region(
    graph: Graph, problem: Problem, region: ScheduledRegion, device: int, lanes: tuple[int, ...]
) -> Step:
    return Step(
        name=f"region_{problem.devices[device]}",
        place=problem.devices[device],
        lanes=lanes,
        start_us=region.start_us,
        modelled_us=region.end_us - region.start_us,
        memory=int(problem.device_memory[device]),
        ops=tuple(graph.placed_ops[row] for row in region.ops),
    )


def _tensors(problem: Problem) -> list[int]:
    """The tensor of each of ``problem.values``."""
    inputs = sorted({tensor for _, tensor in problem.inputs.tolist()})
    made = {(producer, tensor) for producer, tensor in problem.outputs.tolist()}
    made |= {(producer, tensor) for producer, _, tensor in problem.edges.tolist()}
    return inputs + [tensor for _, tensor in sorted(made)]


def borders(graph: Graph, step: Step) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """What a step reads and makes, as (tensor, memory); also what stays inside a region."""
    if step.tensor is not None:
        assert step.source is not None, "the step is a transfer"
        return {(step.tensor, step.source)}, {(step.tensor, step.memory)}
    ops = [graph.ops[op] for op in step.ops]
    made = {(tensor, step.memory) for op in ops for tensor in op.outputs}
    return {(tensor, step.memory) for op in ops for tensor in op.inputs} - made, made


def _ordered(graph: Graph, steps: Sequence[Step]) -> list[Step]:
    """The steps by their start, each after what it reads, even if that takes no time."""
    sides = [borders(graph, step) for step in steps]
    maker = {each: i for i, (_, made) in enumerate(sides) for each in made}
    after: list[list[int]] = [[] for _ in steps]
    waiting = [0] * len(steps)
    for i, (read, _) in enumerate(sides):
        before = {maker[each] for each in read if each in maker}
        waiting[i] = len(before)
        for other in before:
            after[other].append(i)
    ready = [(steps[i].start_us, i) for i, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, i = heapq.heappop(ready)
        ordered.append(steps[i])
        for other in after[i]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (steps[other].start_us, other))
    assert len(ordered) == len(steps), "a schedule has no circles"
    return ordered


def _renumbered(names: Sequence[str], steps: Sequence[Step]) -> tuple[tuple[str, ...], list[Step]]:
    """Names of the lanes that are used, and the steps on these, numbered in their names."""
    used = sorted({lane for step in steps for lane in step.lanes})
    number = {lane: i for i, lane in enumerate(used)}
    return tuple(f"{names[lane]} (emulated)" for lane in used), [
        step.model_copy(
            update={
                "name": f"{i}_{step.name}",
                "lanes": tuple(number[lane] for lane in step.lanes),
            }
        )
        for i, step in enumerate(steps)
    ]


def _timed(graph: Graph, lanes: tuple[str, ...], steps: Sequence[Step]) -> Layout:
    """When the steps start in one run: in their order on each lane, after what they read.

    That is as scheduled, unless regions have copies: all those of one run are then on one unit.
    """
    there_us: dict[tuple[int, int], float] = {}
    free_us: dict[tuple[int, ...], float] = {}
    timed = []
    for step in steps:
        read, made = borders(graph, step)
        start_us = max([free_us.get(step.lanes, 0.0), *(there_us.get(each, 0.0) for each in read)])
        free_us[step.lanes] = start_us + step.modelled_us
        there_us.update(dict.fromkeys(made, free_us[step.lanes]))
        timed.append(step.model_copy(update={"start_us": start_us}))
    return Layout(lanes, tuple(timed), max(free_us.values(), default=0.0))
