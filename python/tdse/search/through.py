"""What no placement can be faster than, whatever else is decided."""

from __future__ import annotations

import numpy as np

from tdse.search.demands import known_costs
from tdse.search.paths import carry_us
from tdse.search.problem import Flags, Floats, Problem


def possible_variants(problem: Problem) -> Flags:
    """bool [n_ops, n_variants], what is legal; everything where an operator can run nowhere."""
    legal: Flags = np.isfinite(problem.cost_us)
    return legal | ~legal.any(axis=1, keepdims=True)


def least_through_us(problem: Problem) -> Floats:
    """The least time of a run of an operator's model in which it runs as a variant.

    It is that of the longest way through the operator, from an input to an output: operators,
    transfers, and a launch and a border wherever the variant changes on the way.

    Args:
        problem: the placement problem. Pins are not looked at.

    Returns:
        float64 [n_ops, n_variants], microseconds; where the variant is not legal, what it would be
        if the operator could run as it in the least of its times.
    """
    costs = known_costs(problem)
    barred = np.where(possible_variants(problem), 0.0, np.inf)
    memory = problem.device_memory[problem.variant_device]
    host = int(problem.device_memory[0])
    into: list[list[tuple[int, Floats]]] = [[] for _ in range(problem.n_ops)]
    out_of: list[list[tuple[int, Floats]]] = [[] for _ in range(problem.n_ops)]
    first_us = np.zeros((problem.n_ops, problem.n_variants))
    last_us = np.zeros((problem.n_ops, problem.n_variants))
    for value in problem.values:
        between_us = carry_us(problem, value.size_bytes)
        # A missing way is a demand of its own.
        between_us = np.where(np.isinf(between_us), 0.0, between_us)
        host_us = problem.host_border_us + problem.host_copy_us_per_byte * value.size_bytes
        if value.producer < 0:
            for op in value.consumers:
                arrival_us = between_us[host, memory] + host_us
                first_us[op] = np.maximum(first_us[op], arrival_us)
            continue
        crossing_us = between_us[memory[:, None], memory] + problem.launch_us
        crossing_us += problem.border_us + problem.copy_us_per_byte * value.size_bytes
        np.fill_diagonal(crossing_us, 0.0)
        for op in value.consumers:
            into[op].append((value.producer, crossing_us))
            out_of[value.producer].append((op, crossing_us))
        if value.is_output:
            done_us = host_us + between_us[memory, host]
            last_us[value.producer] = np.maximum(last_us[value.producer], done_us)
    first_us += problem.launch_us + costs
    for op in range(problem.n_ops):
        for before, crossing_us in into[op]:
            began_us = (first_us[before] + barred[before])[:, None]
            arrival_us = (began_us + crossing_us).min(axis=0) + costs[op]
            first_us[op] = np.maximum(first_us[op], arrival_us)
    for op in reversed(range(problem.n_ops)):
        for after, crossing_us in out_of[op]:
            rest_us = costs[after] + last_us[after] + barred[after]
            left_us = (crossing_us + rest_us).min(axis=1)
            last_us[op] = np.maximum(last_us[op], left_us)
    return first_us + last_us
