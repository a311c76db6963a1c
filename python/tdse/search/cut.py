"""Placement by minimum cut: the best trade between fast operators and few borders."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

from tdse.search.evaluate import Estimator
from tdse.search.problem import Flow, Problem

# Capacities are whole nanoseconds: integer flows are exact, and no clock resolves less.
_UNITS_PER_US = 1000

_Arc = tuple[Hashable, Hashable, float]


def minimum_cut(problem: Problem, start: Sequence[int], *, scale: float = 1.0) -> tuple[int, ...]:
    """Minimises operator costs plus ``scale`` times border and launch costs.

    With two device choices the answer is the exact minimum of that sum, each tensor counted once
    for each other device that reads it and each crossing taken for one launch. With more, pairs
    of devices are swept in turn: all operators on either are divided anew, the others stay,
    until no pair improves the sum.

    Args:
        problem: the placement problem; every operator has at least one choice.
        start: a placement that keeps to ``problem.choices``.
        scale: weight of the borders; large values make few, large regions.

    Returns:
        The device of each operator.
    """
    current = tuple(start)
    if problem.n_variants == 2:
        return _divide(problem, current, 0, 1, scale)
    value = _value(problem, current, scale)
    improved = True
    while improved:
        improved = False
        for first, second in combinations(range(problem.n_variants), 2):
            candidate = _divide(problem, current, first, second, scale)
            candidate_value = _value(problem, candidate, scale)
            if candidate_value < value * (1 - 1e-9):
                current, value, improved = candidate, candidate_value, True
    return current


def _value(problem: Problem, assignment: Sequence[int], scale: float) -> float:
    ops_us = sum(row[device] for row, device in zip(problem.costs, assignment, strict=True))
    return ops_us + scale * (Estimator(problem).estimate(assignment) - ops_us)


def _divide(
    problem: Problem, assignment: tuple[int, ...], first: int, second: int, scale: float
) -> tuple[int, ...]:
    """Divides the operators that are on either of two devices between them, the others fixed."""
    # networkx takes a quarter of a second to import.
    import networkx

    free = {op for op, device in enumerate(assignment) if device in (first, second)}
    if not free:
        return assignment
    graph: Any = networkx.DiGraph()
    graph.add_nodes_from(("source", "sink"))
    for tail, head, weight in _arcs(problem, assignment, first, second, free, scale):
        if not math.isinf(weight):
            capacity = round(weight * _UNITS_PER_US)
            if graph.has_edge(tail, head):
                capacity += graph[tail][head].get("capacity", math.inf)
            graph.add_edge(tail, head, capacity=capacity)
        elif graph.has_edge(tail, head):
            graph[tail][head].pop("capacity", None)
        else:
            graph.add_edge(tail, head)
    # Arcs without a capacity are unlimited.
    _, (on_first, _) = networkx.minimum_cut(graph, "source", "sink")
    return tuple(
        (first if op in on_first else second) if op in free else device
        for op, device in enumerate(assignment)
    )


def _arcs(
    problem: Problem,
    assignment: Sequence[int],
    first: int,
    second: int,
    free: set[int],
    scale: float,
) -> list[_Arc]:
    """Arcs of the flow network; what is on the source's side goes to ``first``."""
    arcs: list[_Arc] = []
    launches = problem.launch_us.tolist()
    for op in sorted(free):
        row, choices = problem.costs[op], problem.choices[op]
        # The arc that is cut is the one from the source to an operator on the sink's side.
        arcs.append(("source", op, row[second] if second in choices else math.inf))
        arcs.append((op, "sink", row[first] if first in choices else math.inf))
    for index, (flow, table) in enumerate(zip(problem.flows, problem.transfer_us, strict=True)):
        crossing = [
            [(us + launches[target]) * scale for target, us in enumerate(row)] for row in table
        ]
        arcs += _flow_arcs(index, flow, assignment, first, second, free, crossing)
    ends = (*problem.input_flows, *problem.output_flows)
    for index, (flow, host) in enumerate(zip(ends, problem.host_us, strict=True)):
        ops = [op for op in flow.consumers or (flow.producer,) if op in free]
        arcs += _reader_arcs(("host", index), ops, host[first] * scale, host[second] * scale)
    return arcs


def _flow_arcs(
    index: int,
    flow: Flow,
    assignment: Sequence[int],
    first: int,
    second: int,
    free: set[int],
    crossing: Sequence[Sequence[float]],
) -> list[_Arc]:
    """Charges one tensor once for each other device that reads it."""
    readers = [op for op in flow.consumers if op in free]
    producer = flow.producer
    if producer not in free:
        row = crossing[assignment[producer]]
        return _reader_arcs(("flow", index), readers, row[first], row[second])
    arcs = _reader_arcs(
        ("flow", index), readers, crossing[second][first], crossing[first][second], producer
    )
    for device in sorted({assignment[op] for op in flow.consumers if op not in free}):
        arcs.append(("source", producer, crossing[second][device]))
        arcs.append((producer, "sink", crossing[first][device]))
    return arcs


def _reader_arcs(
    key: Hashable,
    readers: Sequence[int],
    to_first_us: float,
    to_second_us: float,
    producer: int | None = None,
) -> list[_Arc]:
    """Charges once if any reader is on the first device, and once if any is on the second.

    There is a node for each: an unlimited arc between it and each reader pulls it to the side of
    one that is on that device, which cuts the arc that leads there. With a producer among the
    divided operators that arc leads to the producer, and is only cut if that is on the other
    side.
    """
    if not readers:
        return []
    arcs: list[_Arc] = [
        ("source" if producer is None else producer, (key, "second"), to_second_us),
        ((key, "first"), "sink" if producer is None else producer, to_first_us),
    ]
    arcs += [((key, "second"), op, math.inf) for op in readers]
    arcs += [(op, (key, "first"), math.inf) for op in readers]
    return arcs
