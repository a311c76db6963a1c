"""Placement problems on graphs of models, as ``real_graphs.py`` wrote them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdse.search import Problem

Floats = NDArray[np.float64]

WRITTEN = Path(__file__).parent / "real_graphs.json"

# A tensor of the mean size takes as long to carry as one of so many bytes in a random problem.
_RANDOM_TENSOR_BYTES = 20_000


@dataclass(frozen=True, eq=False)
class RealGraph:
    """Operators of a model that follow each other, and what they were measured to take.

    Attributes:
        edges: (producer, consumer, tensor).
        inputs: (consumer, tensor) of what operators before these make, or the caller gives.
        outputs: (producer, tensor) of what operators after these read, or the caller.
        tensor_bytes: of each tensor.
        parameter_bytes: of each operator's constants.
        labels: of each operator, its number in the model and its kind.
        variants: that were measured, ``litert x2`` for a target with a number of threads.
        cores: of the CPU that they were measured on.
        cost_us: microseconds [operator, variant] without the launch; inf where it cannot run.
        launch_us: microseconds [variant] of a launch.
    """

    edges: list[tuple[int, int, int]]
    inputs: list[tuple[int, int]]
    outputs: list[tuple[int, int]]
    tensor_bytes: list[int]
    parameter_bytes: list[int]
    labels: list[str]
    variants: tuple[str, ...]
    cores: int
    cost_us: Floats
    launch_us: Floats

    @property
    def n_ops(self) -> int:
        """Number of operators."""
        return len(self.labels)

    def in_place_of(self, problem: Problem) -> Problem:
        """``problem``, whose operators are as many, with this graph instead of its own.

        Its links are as much slower or faster as this graph's tensors are smaller or larger.
        """
        moved = {tensor for _, _, tensor in self.edges}
        mean_bytes = np.mean([self.tensor_bytes[tensor] for tensor in moved])
        scale = _RANDOM_TENSOR_BYTES / mean_bytes
        return dataclasses.replace(
            problem,
            edges=self.edges,
            inputs=self.inputs,
            outputs=self.outputs,
            tensor_bytes=self.tensor_bytes,
            parameter_bytes=self.parameter_bytes,
            labels=self.labels,
            link_us_per_byte=problem.link_us_per_byte * scale,
            copy_us_per_byte=problem.copy_us_per_byte * scale,
            host_copy_us_per_byte=problem.host_copy_us_per_byte * scale,
        )


def real_graph(
    name: str, first: int = 0, end: int | None = None, *, file: Path = WRITTEN
) -> RealGraph:
    """Operators ``first`` to before ``end`` of a model in ``file``, by default all."""
    written = _read(file)
    fields = written["graphs"][name]
    part = range(len(fields["ops"]))[first:end]
    ops = [fields["ops"][op] for op in part]
    maker = {tensor: row for row, (_, _, _, makes, _) in enumerate(ops) for tensor in makes}
    others = [op for row, op in enumerate(fields["ops"]) if row not in part]
    needed = {*fields["outputs"], *(tensor for _, _, reads, _, _ in others for tensor in reads)}
    reads = [(row, tensor) for row, op in enumerate(ops) for tensor in op[2]]
    costs = [[np.inf if cost is None else cost for cost in op[4]] for op in ops]
    return RealGraph(
        edges=[(maker[tensor], row, tensor) for row, tensor in reads if tensor in maker],
        inputs=[(row, tensor) for row, tensor in reads if tensor not in maker],
        outputs=[(row, tensor) for tensor, row in maker.items() if tensor in needed],
        tensor_bytes=fields["tensor_bytes"],
        parameter_bytes=[op[1] for op in ops],
        labels=[f"{row}:{op[0]}" for row, op in zip(part, ops, strict=True)],
        variants=tuple(written["variants"]),
        cores=written["machine"]["cores"],
        cost_us=np.array(costs),
        launch_us=np.array(written["launch_us"]),
    )


def measured(
    seed: int, graph: RealGraph, n_devices: int = 1, *, regions: bool = False, tight: bool = False
) -> Problem:
    """The CPU's variants with their measured costs; all of the other devices is drawn.

    Another device takes for an operator what the CPU's fastest variant does, over the speed of the
    device and times a random factor. All but the first of them share the system's bus.

    Args:
        seed: of all that is drawn.
        graph: with the measured costs.
        n_devices: the CPU, which has as many cores as it was measured with, and the others.
        regions: each region is launched once; else each operator has the launch in its own time.
        tight: the other devices hold only part of the parameters.
    """
    chance = np.random.default_rng(seed)
    n_others, n_cpu = n_devices - 1, len(graph.variants)
    cpu_us = graph.cost_us if regions else graph.cost_us + graph.launch_us
    speed = chance.uniform(0.5, 4.0, n_others)
    factor = chance.lognormal(0.0, 0.5, (graph.n_ops, n_others))
    other_us = cpu_us.min(axis=1)[:, None] / speed * factor
    other_us[chance.random((graph.n_ops, n_others)) < 0.1] = np.inf
    launch_us = np.concatenate([graph.launch_us, chance.uniform(5.0, 50.0, n_others)])
    part = float(sum(graph.parameter_bytes)) * chance.uniform(0.1, 0.3, n_others)
    own = np.eye(n_devices, dtype=bool)
    bus = np.where(own, -1, 0)
    bus[:2, :2] = -1
    variants = (*graph.variants, *(f"drawn {index + 1}" for index in range(n_others)))
    free = np.zeros((len(variants),) * 2)
    return Problem(
        n_ops=graph.n_ops,
        variants=variants,
        cost_us=np.round(np.hstack([cpu_us, other_us]), 3),
        edges=graph.edges,
        tensor_bytes=graph.tensor_bytes,
        launch_us=np.round(launch_us, 3) if regions else free[0],
        copy_us_per_byte=free,
        border_us=free,
        inputs=graph.inputs,
        outputs=graph.outputs,
        labels=tuple(graph.labels),
        parameter_bytes=graph.parameter_bytes,
        variant_device=[*[0] * n_cpu, *range(1, n_devices)],
        variant_cores=[*(int(name.split(" x")[1]) for name in graph.variants), *[1] * n_others],
        devices=("cpu", *variants[n_cpu:]),
        device_cores=[graph.cores, *[1] * n_others],
        parameter_capacity_bytes=[np.inf, *(part if tight else [np.inf] * n_others)],
        link_latency_us=np.where(own, 0.0, chance.uniform(1.0, 5.0, own.shape)),
        link_us_per_byte=np.where(own, 0.0, 1 / chance.uniform(1000, 8000, own.shape)),
        link_bus=bus,
    )


@cache
def _read(file: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(file.read_text())
    return fields
