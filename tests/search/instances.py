"""Random placement problems on whole platforms, by shape and tightness; equal seeds, equal ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from tdse.search import Problem
from tdse.search.schedule import Genes

Shape = Literal["chain", "branches", "layered", "random"]
SHAPES: tuple[Shape, ...] = ("chain", "branches", "layered", "random")


def make_instance(
    seed: int,
    n_ops: int,
    n_devices: int = 4,
    *,
    shape: Shape = "branches",
    variants_per_cpu: int = 1,
    n_models: int = 1,
    tight: bool = False,
    slowed: bool = False,
    shared_memory: bool = False,
) -> Problem:
    """A problem on a CPU with several cores and accelerators with memories and links of their own.

    Args:
        seed: of all that is random.
        n_ops: operators of all models together, at least ``n_models``.
        n_devices: the CPU and the others.
        shape: of each model: a chain; branches that part and join again, also without operators
            between (residual); layers in which each operator reads a few of the layer before;
            or a directed acyclic graph with edges anywhere.
        variants_per_cpu: thread counts 1, 2, 4, ... to choose from on the CPU.
        n_models: models that share the platform.
        tight: operators that few devices can run, pins, forbidden pairs, one region on the last
            device, a prefix rule, and small memories, deadlines and budgets.
        slowed: regions that run side by side slow each other down.
        shared_memory: the second device has no memory of its own, but the CPU's.
    """
    chance = np.random.default_rng(seed)
    edges, inputs, outputs, model_of = _graph(chance, n_ops, n_models, shape)
    n_variants = variants_per_cpu + n_devices - 1
    device = np.maximum(np.arange(n_variants) - variants_per_cpu + 1, 0)
    cores = np.where(device == 0, 2 ** np.minimum(np.arange(n_variants), 20), 1)
    size = chance.lognormal(3.0, 1.0, n_ops)
    speed = np.where(device == 0, cores**0.8, chance.uniform(0.5, 4.0, n_variants))
    cost_us = size[:, None] / speed * chance.lognormal(0.0, 0.5, (n_ops, n_variants))
    cost_us[(chance.random((n_ops, n_variants)) < 0.1) & (device > 0)] = np.inf
    spread = chance.uniform(0.0, 0.2, (n_ops, n_variants))
    launch_us = chance.uniform(0.5, 8.0, n_variants)
    tensor_bytes = chance.integers(64, 40_000, n_ops + n_models)
    memory = np.maximum(np.arange(n_devices) - (1 if shared_memory else 0), 0)
    n_memories = int(memory.max()) + 1
    between = (n_memories, n_memories)
    # The last two accelerators share a bus; on small platforms there is one link without a bus.
    link_bus = np.maximum(np.arange(n_memories)[:, None], np.arange(n_memories)) - 1
    link_bus = np.minimum(link_bus, max(n_memories - 3, 0))
    problem = Problem(
        n_ops=n_ops,
        variants=tuple(f"v{index}" for index in range(n_variants)),
        cost_us=cost_us,
        cost_low_us=cost_us * (1 - spread),
        cost_high_us=cost_us * (1 + spread),
        edges=edges,
        tensor_bytes=tensor_bytes,
        launch_us=launch_us,
        copy_us_per_byte=chance.uniform(0, 1e-4, (n_variants, n_variants)),
        border_us=chance.uniform(0, 1, (n_variants, n_variants)),
        inputs=inputs,
        outputs=outputs,
        host_border_us=chance.uniform(0, 1, n_variants),
        host_copy_us_per_byte=chance.uniform(0, 1e-4, n_variants),
        energy_uj=chance.uniform(0, 5, (n_ops, n_variants)),
        parameter_bytes=chance.integers(0, 200_000, n_ops),
        variant_device=device,
        variant_cores=cores,
        variant_batch=np.where(device == 0, 1, chance.integers(1, 3, n_variants)),
        active_w=chance.uniform(0.5, 3.0, n_variants),
        devices=tuple(f"d{index}" for index in range(n_devices)),
        device_cores=np.where(np.arange(n_devices) == 0, 2 ** (variants_per_cpu - 1) * 2, 1),
        device_memory=memory,
        idle_w=chance.uniform(0.1, 1.0, n_devices),
        slowdown=chance.uniform(1.0, 1.5, (n_devices, n_devices)) if slowed else (),
        link_latency_us=chance.uniform(0, 5, between),
        link_us_per_byte=chance.uniform(1e-4, 2e-3, between),
        link_bus=np.where(np.eye(n_memories, dtype=bool), -1, link_bus if n_memories > 2 else -1),
        models=tuple(f"model {index}" for index in range(n_models)),
        model_of=model_of,
        period_us=np.full(n_models, size.sum()),
    )
    return _tightened(chance, problem) if tight else problem


def make_genes(
    seed: int, problem: Problem, *, clustered: bool = False, legal: bool = True
) -> Genes:
    """Random genes: all kinds of cuts, priorities and orders.

    Args:
        seed: of all that is random.
        problem: the placement problem.
        clustered: neighbours mostly run as the same variant, as in a good placement.
        legal: only variants that are legal and as pinned, where an operator has any.
    """
    chance = np.random.default_rng(seed)
    variants = draw_variants(chance, problem, 1, clustered=clustered)[0].tolist()
    if legal:
        variants = [
            variant if variant in choices or not choices else int(chance.choice(choices))
            for variant, choices in zip(variants, problem.choices, strict=True)
        ]
    return Genes(
        variants,
        None if chance.random() < 0.5 else (chance.random(len(problem.links)) < 0.3).tolist(),
        None if chance.random() < 0.5 else chance.integers(0, 9, problem.n_ops).astype(float),
        bool(chance.random() < 0.5),
    )


def draw_variants(
    chance: np.random.Generator, problem: Problem, count: int, *, clustered: bool
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Variants [count, n_ops], at random or equal to the operator's before nine times of ten."""
    shape = (count, problem.n_ops)
    drawn = chance.integers(0, problem.n_variants, shape).astype(np.uint8)
    if clustered:
        fresh = chance.random(shape) < 0.1
        fresh[:, :1] = True
        last = np.maximum.accumulate(np.where(fresh, np.arange(problem.n_ops), 0), axis=1)
        drawn = np.take_along_axis(drawn, last, axis=1)
    return drawn


def cuts_between(problem: Problem, regions: Iterable[Sequence[int]]) -> list[bool]:
    """The cuts with which ``regions_from`` gives just these regions.

    Args:
        problem: the placement problem.
        regions: convex, each connected and of one variant, none waiting for each other in a
            circle.
    """
    region_of = {op: index for index, region in enumerate(regions) for op in region}
    return [region_of[u] != region_of[v] for u, v in problem.links]


def _graph(
    chance: np.random.Generator, n_ops: int, n_models: int, shape: Shape
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]], list[tuple[int, int]], list[int]]:
    """Edges, inputs, outputs and the model of each operator; tensor ``op`` is what it makes."""
    edges, inputs, outputs, model_of = [], [], [], []
    parts = np.array_split(np.arange(n_ops), n_models)
    for model, part in enumerate(parts):
        links = {
            "chain": _chain,
            "branches": _branches,
            "layered": _layered,
            "random": _anywhere,
        }[shape](chance, len(part))
        first = int(part[0]) if len(part) else 0
        edges += [(first + u, first + v, first + u) for u, v in sorted(links)]
        read = {v for _, v in links}
        made = {u for u, _ in links}
        inputs += [(first + op, n_ops + model) for op in range(len(part)) if op not in read]
        outputs += [(first + op, first + op) for op in range(len(part)) if op not in made]
        model_of += [model] * len(part)
    return edges, inputs, outputs, model_of


def _chain(chance: np.random.Generator, n_ops: int) -> set[tuple[int, int]]:
    return {(op, op + 1) for op in range(n_ops - 1)}


def _branches(chance: np.random.Generator, n_ops: int) -> set[tuple[int, int]]:
    links: set[tuple[int, int]] = set()
    tail, op = 0, 1
    while op < n_ops:
        lengths = chance.integers(0, 5, chance.integers(1, 5)).tolist()
        ends = []
        for length in lengths:
            last = tail
            for _ in range(min(length, n_ops - op)):
                links.add((last, op))
                last, op = op, op + 1
            ends.append(last)
        if op < n_ops:
            links |= {(end, op) for end in ends}
            tail, op = op, op + 1
    return links


def _layered(chance: np.random.Generator, n_ops: int) -> set[tuple[int, int]]:
    links: set[tuple[int, int]] = set()
    before: Sequence[int] = ()
    op = 0
    while op < n_ops:
        layer = range(op, min(n_ops, op + int(chance.integers(1, 7))))
        if before:
            for v in layer:
                links |= {(int(u), v) for u in chance.choice(before, chance.integers(1, 3))}
        before, op = list(layer), layer[-1] + 1
    return links


def _anywhere(chance: np.random.Generator, n_ops: int) -> set[tuple[int, int]]:
    links = {(int(chance.integers(max(0, op - 4), op)), op) for op in range(1, n_ops)}
    for _ in range(n_ops // 3 if n_ops > 1 else 0):
        u, v = sorted(chance.choice(n_ops, 2, replace=False).tolist())
        links.add((u, v))
    return links


def _tightened(chance: np.random.Generator, problem: Problem) -> Problem:
    n_ops, n_devices, n_variants = problem.n_ops, problem.n_devices, problem.n_variants
    n_memories = problem.n_memories
    pins = [
        int(chance.choice(choices)) if chance.random() < 0.05 else -1 for choices in problem.choices
    ]
    pairs = [sorted(chance.choice(n_ops, 2, replace=False).tolist()) for _ in range(n_ops // 20)]
    last = (np.arange(n_variants) == n_variants - 1) & (n_variants > 1)
    accelerator = np.arange(n_devices) > 0
    no_way = (chance.random((n_memories,) * 2) < 0.05) & ~np.eye(n_memories, dtype=bool)
    tensor_bytes = float(problem.tensor_bytes.max())
    return dataclasses.replace(
        problem,
        pins=pins,
        device_pins=[0 if pin < 0 and chance.random() < 0.03 else -1 for pin in pins],
        forbidden_pairs=pairs,
        single_region=last,
        prefix=last & (chance.random() < 0.3),
        parameter_capacity_bytes=np.where(
            accelerator, 100_000 * max(1.0, 0.6 * n_ops / n_devices), np.inf
        ),
        memory_bytes=100_000 * n_ops * chance.uniform(0.6, 1.5, n_memories) + 3 * tensor_bytes,
        link_us_per_byte=np.where(no_way, np.inf, problem.link_us_per_byte),
        deadline_us=problem.cost_us[:, 0].sum() * chance.uniform(0.3, 1.5, problem.n_models),
        energy_budget_uj=3.0 * float(problem.cost_us[:, 0].sum()),
    )
