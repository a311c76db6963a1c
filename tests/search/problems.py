"""Random placement problems, and slow, plain answers to check the search against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import networkx
import numpy as np
from hypothesis import strategies as st

from tdse.search import Objective, Problem
from tdse.search.native import Evaluator
from tdse.search.objectives import values
from tdse.search.problem import Floats

Links = list[tuple[int, int]]


@st.composite
def dags(draw: st.DrawFn, max_ops: int = 10, n_devices: int = 2) -> tuple[int, Links, list[int]]:
    """Number of operators, links, and a device for each operator."""
    n_ops = draw(st.integers(1, max_ops))
    pairs = list(itertools.combinations(range(n_ops), 2))
    links = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    devices = draw(st.lists(st.integers(0, n_devices - 1), min_size=n_ops, max_size=n_ops))
    return n_ops, sorted(links), devices


def random_problem(
    seed: int, n_ops: int, n_devices: int = 2, *, illegal: float = 0.15, pinned: float = 0.05
) -> Problem:
    """A connected random problem whose borders cost about as much as its operators."""
    chance = np.random.default_rng(seed)
    edges = {(int(chance.integers(max(0, op - 3), op)), op) for op in range(1, n_ops)}
    for _ in range(n_ops // 3):
        if n_ops > 1:
            first, second = sorted(chance.choice(n_ops, 2, replace=False).tolist())
            edges.add((first, second))
    cost_us = chance.lognormal(2.0, 1.0, (n_ops, n_devices))
    cost_us[chance.random((n_ops, n_devices)) < illegal] = math.inf
    cost_us[:, 0] = np.where(np.isinf(cost_us).all(axis=1), 5.0, cost_us[:, 0])
    pins = np.full(n_ops, -1)
    for op in np.flatnonzero(chance.random(n_ops) < pinned):
        pins[op] = chance.choice(np.flatnonzero(np.isfinite(cost_us[op])))
    copy = chance.uniform(0, 2e-3, (n_devices, n_devices))
    np.fill_diagonal(copy, 0)
    return Problem(
        n_ops=n_ops,
        variants=tuple(f"d{index}" for index in range(n_devices)),
        cost_us=cost_us,
        edges=np.array([(u, v, u) for u, v in sorted(edges)], np.int32),
        tensor_bytes=chance.integers(0, 4000, n_ops),
        launch_us=chance.uniform(0, 6, n_devices),
        copy_us_per_byte=copy,
        border_us=chance.uniform(0, 2, (n_devices, n_devices)),
        pins=pins,
        # The model's input is read by up to three operators.
        inputs=[(op, 0) for op in range(min(3, n_ops))],
        outputs=[(n_ops - 1, n_ops - 1)],
        host_border_us=chance.uniform(0, 1, n_devices),
        host_copy_us_per_byte=chance.uniform(0, 1e-3, n_devices),
    )


def simple_problem(
    cost_us: Sequence[Sequence[float]],
    links: Sequence[tuple[int, int]],
    *,
    launch_us: float = 1.0,
    border_us: float = 0.5,
    devices: Sequence[str] = ("litert", "llvm"),
    **more: object,
) -> Problem:
    """A problem with equal launches and borders, each operator making one tensor of 100 bytes."""
    n = len(devices)
    return Problem(
        n_ops=len(cost_us),
        variants=tuple(devices),
        cost_us=np.array(cost_us, float).reshape(len(cost_us), n),
        edges=[(u, v, u) for u, v in links],
        tensor_bytes=[100] * len(cost_us),
        launch_us=[launch_us] * n,
        copy_us_per_byte=np.zeros((n, n)),
        border_us=np.full((n, n), border_us),
        **more,  # type: ignore[arg-type]
    )


def two_devices(
    cost_us: Sequence[Sequence[float]], links: Sequence[tuple[int, int]], **more: object
) -> Problem:
    """Operators on ``cpu`` or ``npu``, which have a memory each; free but for the operators."""
    return Problem(
        n_ops=len(cost_us),
        variants=("cpu", "npu"),
        devices=("cpu", "npu"),
        variant_device=[0, 1],
        cost_us=np.array(cost_us, float).reshape(len(cost_us), 2),
        edges=[(u, v, u) for u, v in links],
        tensor_bytes=[100] * len(cost_us),
        **{
            "launch_us": [0, 0],
            "copy_us_per_byte": np.zeros((2, 2)),
            "border_us": np.zeros((2, 2)),
            **more,
        },  # type: ignore[arg-type]
    )


def brute_force(problem: Problem, objective: Objective = "latency") -> float:
    """The least value of all variants and regions that obey the rules, inf if none does.

    Of orders, it tries only the schedule's own: enough where everything runs on one lane.
    """
    evaluator, links = Evaluator(problem), len(problem.links)
    cuts = np.array(list(itertools.product([0, 1], repeat=links)), np.uint8).reshape(
        2**links, links
    )
    best = math.inf
    for variants in itertools.product(*problem.choices):
        found = evaluator.evaluate(np.tile(variants, (len(cuts), 1)), cuts)
        kept = values(found, [objective])[~found.violations.any(axis=1)]
        best = min(best, float(kept.min(initial=math.inf)))
    return best


def best_of_all(problem: Problem, objective: Objective) -> float:
    """The least value of all variants, regions and orders that obey the rules, inf if none does."""
    points = all_values(problem, [objective])
    return float(points.min(initial=math.inf))


def all_values(problem: Problem, objectives: Sequence[Objective]) -> Floats:
    """The values of all variants, regions and orders that obey the rules, [n, n_objectives]."""
    evaluator = Evaluator(problem)
    links, n_ops = len(problem.links), problem.n_ops
    cuts = np.array(list(itertools.product([0, 1], repeat=links)), np.uint8).reshape(
        2**links, links
    )
    # So large that nothing is left of what the schedule would do by itself.
    orders = 1e6 * np.array(list(itertools.permutations(range(n_ops))), float)
    points = [np.empty((0, len(objectives)))]
    for variants in itertools.product(*problem.choices):
        rows = evaluator.evaluate(np.tile(variants, (len(cuts), 1)), cuts, details=True)
        _, first = np.unique(rows.region_of, axis=0, return_index=True)
        for cut in cuts[first]:
            found = evaluator.evaluate(
                np.tile(variants, (len(orders), 1)),
                np.tile(cut, (len(orders), 1)),
                orders,
                strict=True,
            )
            points.append(values(found, objectives)[~found.violations.any(axis=1)])
    return np.concatenate(points)


def plain_total(
    problem: Problem, assignment: Sequence[int], regions: Sequence[Sequence[int]]
) -> float:
    """Microseconds of regions one after the other, from the definition, looping over the arrays."""
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    total = sum(problem.cost_us[op, device] for op, device in enumerate(assignment))
    total += sum(problem.launch_us[assignment[region[0]]] for region in regions)
    crossings = {
        (producer, tensor, region_of[consumer])
        for producer, consumer, tensor in problem.edges.tolist()
        if region_of[producer] != region_of[consumer]
    }
    for producer, tensor, region in crossings:
        pair = assignment[producer], assignment[regions[region][0]]
        total += problem.border_us[pair]
        total += problem.copy_us_per_byte[pair] * problem.tensor_bytes[tensor]
    ends = {(region_of[op], tensor, "in") for op, tensor in problem.inputs.tolist()}
    ends |= {(region_of[op], tensor, "out") for op, tensor in problem.outputs.tolist()}
    for region, tensor, _ in ends:
        device = assignment[regions[region][0]]
        total += problem.host_border_us[device]
        total += problem.host_copy_us_per_byte[device] * problem.tensor_bytes[tensor]
    return float(total)


def quotient(links: Links, regions: Sequence[Sequence[int]]) -> networkx.DiGraph:
    """The graph of regions, made by networkx."""
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(regions)))
    graph.add_edges_from(
        (region_of[u], region_of[v]) for u, v in links if region_of[u] != region_of[v]
    )
    return graph
