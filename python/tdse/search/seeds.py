"""Placements to start from, made by simple rules in time about linear in the operators."""

from __future__ import annotations

import math

import numpy as np

from tdse.search.problem import Problem
from tdse.search.schedule import Genes


def seed_genes(problem: Problem) -> list[Genes]:
    """Each variant wherever it may be, each operator's cheapest, and earliest finish.

    Each comes twice: with regions as large as possible, and with every operator a region. Every
    operator has a choice.
    """
    cost_us = np.where(problem.allowed, problem.cost_us, np.inf)
    cheapest = cost_us.argmin(axis=1)
    mostly = [
        np.where(np.isfinite(cost_us[:, variant]), variant, cheapest)
        for variant in range(problem.n_variants)
    ]
    started = [cheapest, earliest_finish(problem), *mostly]
    distinct = {tuple(variants.tolist()): variants for variants in started}
    return [
        Genes(variants.astype(np.uint8), np.full(len(problem.links), cut, np.uint8))
        for variants in distinct.values()
        for cut in (0, 1)
    ]


def earliest_finish(problem: Problem) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Places each operator, the most urgent first, where it would be done first.

    Heterogeneous Earliest Finish Time (Topcuoglu, Hariri, Wu: Performance-effective and
    low-complexity task scheduling, IEEE TPDS 13(3), 2002), without insertion into gaps. A launch is
    counted where no operator before runs as the same variant. Buses are not looked at.
    """
    allowed = problem.allowed
    cost_us = np.where(allowed, problem.cost_us, 0.0)
    mean_us = cost_us.sum(axis=1) / np.maximum(allowed.sum(axis=1), 1)
    memory = problem.device_memory[problem.variant_device]
    # [from variant, to variant]: what reading a byte, and reading at all, takes longer.
    links = np.ix_(memory, memory)
    per_byte = problem.copy_us_per_byte + problem.link_us_per_byte[links]
    per_tensor = problem.border_us + problem.link_latency_us[links]
    same = memory[:, None] == memory
    per_byte = np.where(same, problem.copy_us_per_byte, per_byte)
    per_tensor = np.where(same, problem.border_us, per_tensor)
    read: list[list[tuple[int, int]]] = [[] for _ in range(problem.n_ops)]
    for flow in problem.flows:
        for op in flow.consumers:
            read[op].append((flow.producer, flow.size_bytes))
    finite = np.isfinite(per_byte)
    mean_byte_us = float(per_byte[finite].mean()) if finite.any() else 0.0
    tail_us = mean_us.copy()
    for op in reversed(range(problem.n_ops)):
        for producer, size_bytes in read[op]:
            after_us = mean_us[producer] + mean_byte_us * size_bytes + tail_us[op]
            tail_us[producer] = max(tail_us[producer], after_us)
    lanes = [
        np.zeros(max(1, int(cores) // _fewest_cores(problem, device)))
        for device, cores in enumerate(problem.device_cores)
    ]
    variants = np.zeros(problem.n_ops, np.intp)
    done_us = np.zeros(problem.n_ops)
    # Costs are not negative, so a producer is at least as urgent; equal ones keep their order.
    for op in np.argsort(-tail_us, kind="stable").tolist():
        ready_us = np.zeros(problem.n_variants)
        launch_us = problem.launch_us.copy()
        for producer, size_bytes in read[op]:
            source = variants[producer]
            away_us = per_tensor[source] + per_byte[source] * size_bytes
            away_us[source] = 0.0
            launch_us[source] = 0.0
            ready_us = np.maximum(ready_us, done_us[producer] + away_us)
        best = (math.inf, 0, 0)
        for variant in problem.choices[op]:
            lane_us = lanes[problem.variant_device[variant]]
            lane = int(lane_us.argmin())
            start_us = max(float(ready_us[variant]), float(lane_us[lane]))
            end_us = start_us + float(launch_us[variant] + cost_us[op, variant])
            best = min(best, (end_us, variant, lane))
        done_us[op], variants[op], lane = best
        lanes[problem.variant_device[variants[op]]][lane] = best[0]
    return variants


def _fewest_cores(problem: Problem, device: int) -> int:
    cores = problem.variant_cores[problem.variant_device == device]
    return int(cores.min()) if cores.size else 1
