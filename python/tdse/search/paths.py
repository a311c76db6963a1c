"""Critical paths: what time passes on any way through a model, whatever runs beside it.

The operators of a region are taken to run one after the other, in topological order, once the
region is launched and has its tensors. That fills the region's time at most, so an operator that
reads from another starts after it: at once in the same region, or after its region's launch and
borders, and a transfer if that is in another memory. For each operator and variant there is a
time before which it cannot start, found from the operators that it reads from, each with the
variant that suits it best. Gates have one variant for all ways that lead through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tdse.search.gates import Neighbours, Stretch, stretches_of
from tdse.search.problem import Floats, Problem

# Models are given their inputs by, and give their outputs to, the first device.
_HOST = 0


@dataclass(frozen=True)
class Costs:
    """What operators and links cost by variant, in microseconds; inf where a rule is broken.

    Attributes:
        ops: [n_ops, n_variants], the operators themselves.
        inputs: [n_ops, n_variants], the borders of the model's inputs that they read.
        inputs_there: [n_ops, n_variants], when these are in the variant's memory.
        outputs: [n_ops, n_variants], the borders of the model's outputs that they make.
        outputs_away: [n_ops, n_variants], until these are in the host's memory.
        border: of each link [from variant, to variant], what the second region spends on it.
        carry: of each link [from variant, to variant], what passes between the two regions.
    """

    ops: Floats
    inputs: Floats
    inputs_there: Floats
    outputs: Floats
    outputs_away: Floats
    border: dict[tuple[int, int], Floats]
    carry: dict[tuple[int, int], Floats]


@dataclass(frozen=True)
class Paths:
    """What paths through the models take at least, in microseconds.

    Attributes:
        near: the links.
        stretches: of all models, each model's in order.
        spans: of each stretch [variant of its first gate, variant of its second], between the end
            of the first and the start of the second. Where there is no first, one row: from 0
            on. Where there is no second, one column: until all outputs are there.
        latency_us: of each model; inf if every path breaks a rule.
    """

    near: Neighbours
    stretches: list[Stretch]
    spans: list[Floats]
    latency_us: list[float]


def costs_of(problem: Problem) -> Costs:
    """The costs of a problem's operators and links."""
    each = (problem.n_ops, problem.n_variants)
    ops = np.where(problem.allowed, problem.cost_us, np.inf)
    inputs, there, outputs, away = (np.zeros(each) for _ in range(4))
    costs = Costs(ops, inputs, there, outputs, away, border={}, carry={})
    memory = problem.device_memory[problem.variant_device]
    host = problem.device_memory[_HOST]
    for value in problem.values:
        carry = carry_us(problem, value.size_bytes)
        host_us = problem.host_border_us + problem.host_copy_us_per_byte * value.size_bytes
        if value.is_output:
            outputs[value.producer] += host_us
            away[value.producer] = np.maximum(away[value.producer], carry[memory, host])
        for op in value.consumers:
            if value.producer < 0:
                inputs[op] += host_us
                there[op] = np.maximum(there[op], carry[host, memory])
                continue
            link, between = (value.producer, op), carry[np.ix_(memory, memory)]
            border = problem.border_us + problem.copy_us_per_byte * value.size_bytes
            costs.border[link] = costs.border.get(link, 0.0) + border
            costs.carry[link] = np.maximum(costs.carry.get(link, 0.0), between)
    same_device = problem.variant_device[:, None] == problem.variant_device
    own = np.eye(problem.n_variants, dtype=bool)
    forbidden = {tuple(sorted(pair)) for pair in problem.forbidden_pairs.tolist()}
    for link, carry in costs.carry.items():
        carry[:, problem.prefix] = np.inf
        carry[own] = 0.0
        if link in forbidden:
            carry[same_device] = np.inf
    return costs


def paths_of(problem: Problem, costs: Costs) -> Paths:
    """What paths through a problem's models take at least."""
    near = Neighbours(problem)
    stretches = stretches_of(problem, near)
    spans, latency_us = [], [0.0] * problem.n_models
    # When the last gate has run, by its variant.
    end = np.zeros(1)
    for stretch in stretches:
        ends = _ends_us(problem, costs, near, stretch)
        begin = end if stretch.before >= 0 else np.zeros(1)
        done = np.zeros((1, 1)) if stretch.before < 0 else np.zeros((problem.n_variants, 1))
        for op, end_us in ends.items():
            leaving = end_us + (costs.outputs[op] + costs.outputs_away[op])
            done = np.maximum(done, leaving.min(axis=1, keepdims=True))
        latency_us[stretch.model] = max(
            latency_us[stretch.model], float((begin + done[:, 0]).min())
        )
        span = done
        if stretch.after >= 0:
            span = _start_us(problem, costs, near, ends, stretch, stretch.after)
            end = (begin[:, None] + span).min(axis=0) + costs.ops[stretch.after]
        spans.append(span)
    return Paths(near, stretches, spans, latency_us)


def _ends_us(
    problem: Problem, costs: Costs, near: Neighbours, stretch: Stretch
) -> dict[int, Floats]:
    """When each operator has run, after the stretch's begin: [variant of the gate, variant]."""
    n_variants = problem.n_variants
    ends: dict[int, Floats] = {}
    if stretch.before >= 0:
        ends[stretch.before] = np.where(np.eye(n_variants, dtype=bool), 0.0, np.inf)
    for op in stretch.inner:
        ends[op] = _start_us(problem, costs, near, ends, stretch, op) + costs.ops[op]
    return ends


def _start_us(
    problem: Problem,
    costs: Costs,
    near: Neighbours,
    ends: dict[int, Floats],
    stretch: Stretch,
    op: int,
) -> Floats:
    """When an operator can start: [variant of the stretch's first gate, variant of it]."""
    launched = problem.launch_us + costs.inputs[op]
    if stretch.before < 0:
        start = (costs.inputs_there[op] + launched)[None, :]
    else:
        start = np.zeros((problem.n_variants, problem.n_variants))
    for u in near.before[op]:
        if u in ends:
            passing = costs.outputs[u][:, None] + costs.carry[u, op] + costs.border[u, op]
            passing = passing + launched
            # In one region, the second operator may follow at once.
            np.fill_diagonal(passing, np.where(np.isinf(costs.carry[u, op].diagonal()), np.inf, 0))
            start = np.maximum(start, (ends[u][:, :, None] + passing).min(axis=1))
    return np.asarray(start)


def carry_us(problem: Problem, size_bytes: int) -> Floats:
    """Microseconds of a transfer [from memory, to memory]; inf without a way."""
    way = np.isfinite(problem.link_us_per_byte)
    us_per_byte = np.where(way, problem.link_us_per_byte, 0.0)
    carry = np.where(way, problem.link_latency_us + us_per_byte * size_bytes, np.inf)
    np.fill_diagonal(carry, 0.0)
    return carry
