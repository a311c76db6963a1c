"""What a placement is predicted to cost: exactly, and cheaply enough to rank many moves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tdse.graph.merge import merge_regions
from tdse.search.problem import Problem


@dataclass(frozen=True)
class Evaluation:
    """The predicted cost of one placement, in microseconds, and its regions.

    Attributes:
        total_us: one run on one lane; inf if the placement breaks a rule (an operator is not
            legal where it is, a pin is not obeyed, a device has more regions than it may).
        ops_us: the operators' share of it.
        launch_us: the share of launching regions.
        border_us: the share of tensors that go from region to region, in and out.
        regions: operators of each region, in the order they run.
        region_devices: device of each region.
    """

    total_us: float
    ops_us: float
    launch_us: float
    border_us: float
    regions: tuple[tuple[int, ...], ...]
    region_devices: tuple[int, ...]

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return len(self.regions)


def regions_of(problem: Problem, assignment: Sequence[int]) -> list[list[int]]:
    """The regions that a placement leads to, in topological order.

    Args:
        problem: the placement problem.
        assignment: device of each operator, length n_ops.
    """
    return merge_regions(problem.n_ops, problem.links, assignment)


def evaluate(problem: Problem, assignment: Sequence[int]) -> Evaluation:
    """Predicts one run: operators, launches, and tensors between regions, one after the other.

    A tensor costs once for each region that reads it and did not make it.

    Args:
        problem: the placement problem.
        assignment: device of each operator, length n_ops.
    """
    regions = regions_of(problem, assignment)
    region_of = [0] * problem.n_ops
    devices = []
    for index, region in enumerate(regions):
        devices.append(assignment[region[0]])
        for op in region:
            region_of[op] = index
    launches = problem.launch_us.tolist()
    ops_us = math.fsum(row[device] for row, device in zip(problem.costs, assignment, strict=True))
    launch_us = math.fsum(launches[device] for device in devices)
    border_us = math.fsum(_borders(problem, assignment, region_of))
    total_us = ops_us + launch_us + border_us
    if _breaks_rules(problem, assignment, devices):
        total_us = math.inf
    return Evaluation(
        total_us,
        ops_us,
        launch_us,
        border_us,
        tuple(tuple(region) for region in regions),
        tuple(devices),
    )


class Estimator:
    """The change of cost by a move, from the tensors around the moved operators only.

    It counts a tensor once for each other device that reads it, and takes each such crossing for
    one launch. That is exact where regions form a chain. Where several crossings enter one
    region it counts too many launches, so it ranks moves and does not decide about them. An input
    of the model counts once for each device that reads it.
    """

    def __init__(self, problem: Problem) -> None:
        self._costs = problem.costs
        self._launch_us: list[float] = problem.launch_us.tolist()
        self._flows = problem.flows
        self._tables = problem.transfer_us
        self._ends = [
            flow.consumers or (flow.producer,)
            for flow in (*problem.input_flows, *problem.output_flows)
        ]
        self._host_us = problem.host_us
        self._touching: list[list[int]] = [[] for _ in range(problem.n_ops)]
        groups = [*((flow.producer, *flow.consumers) for flow in self._flows), *self._ends]
        for index, ops in enumerate(groups):
            for op in ops:
                self._touching[op].append(index)

    def estimate(self, assignment: Sequence[int]) -> float:
        """Microseconds of a placement, up to the launches that every placement has."""
        ops_us = sum(row[device] for row, device in zip(self._costs, assignment, strict=True))
        return ops_us + sum(
            self._crossing_us(index, assignment, {})
            for index in range(len(self._flows) + len(self._ends))
        )

    def delta(self, assignment: Sequence[int], ops: Iterable[int], device: int) -> float:
        """Microseconds gained (negative) or lost if ``ops`` all go to ``device``."""
        moved = dict.fromkeys(ops, device)
        change = sum(
            self._costs[op][device] - self._costs[op][assignment[op]] for op in sorted(moved)
        )
        for index in sorted({flow for op in moved for flow in self._touching[op]}):
            change += self._crossing_us(index, assignment, moved)
            change -= self._crossing_us(index, assignment, {})
        return change

    def _crossing_us(
        self, index: int, assignment: Sequence[int], moved: Mapping[int, int]
    ) -> float:
        if index >= len(self._flows):
            end = index - len(self._flows)
            devices = {moved.get(op, assignment[op]) for op in self._ends[end]}
            return sum(self._host_us[end][device] for device in sorted(devices))
        flow, table = self._flows[index], self._tables[index]
        source = moved.get(flow.producer, assignment[flow.producer])
        targets = {moved.get(op, assignment[op]) for op in flow.consumers}
        targets.discard(source)
        return sum(table[source][target] + self._launch_us[target] for target in sorted(targets))


def _borders(
    problem: Problem, assignment: Sequence[int], region_of: Sequence[int]
) -> Iterable[float]:
    for flow, table in zip(problem.flows, problem.transfer_us, strict=True):
        home = region_of[flow.producer]
        away = {region_of[op]: op for op in flow.consumers if region_of[op] != home}
        for op in away.values():
            yield table[assignment[flow.producer]][assignment[op]]
    for flow, row in zip(
        (*problem.input_flows, *problem.output_flows), problem.host_us, strict=True
    ):
        ends = flow.consumers or (flow.producer,)
        for op in {region_of[op]: op for op in ends}.values():
            yield row[assignment[op]]


def _breaks_rules(
    problem: Problem, assignment: Sequence[int], region_devices: Sequence[int]
) -> bool:
    if any(
        device not in choices for device, choices in zip(assignment, problem.choices, strict=True)
    ):
        return True
    return any(
        single and region_devices.count(device) > 1
        for device, single in enumerate(problem.single_region.tolist())
    )
