"""Listed placement problems for comparisons: equal names, equal problems, on any machine.

``real-`` are graphs of models, with measured costs of the CPU's variants and drawn ones of other
devices, or with drawn costs only. Other networks are written by code, as MobileNets, Inception,
NASNet and detectors are built, with costs that follow operators' work and kinds. All others are
random.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent.parent / "tests" / "search"))

from instances import Shape, make_instance
from real_problems import RealGraph, measured, real_graph

from tdse.search import Problem

# Device: multiply-accumulates/us of convolution, depthwise, dense; bytes/us of the others;
# us of any operator; us of a launch. CPU by cores; GPU, two accelerators and a DSP.
_SPEEDS = {
    "cpu": ({"conv": 9000, "depthwise": 3000, "dense": 4000, "other": 3000}, 0.5, 1.0),
    "gpu": ({"conv": 30000, "depthwise": 9000, "dense": 6000, "other": 6000}, 6.0, 25.0),
    "npu": ({"conv": 60000, "depthwise": 7000, "dense": 5000, "other": 2500}, 2.0, 40.0),
    "dsp": ({"conv": 14000, "depthwise": 8000, "dense": 8000, "other": 3500}, 1.5, 15.0),
    "tpu": ({"conv": 80000, "depthwise": 20000, "dense": 1500, "other": 2000}, 2.0, 60.0),
}
DEVICES = tuple(_SPEEDS)


@dataclass
class Network:
    """A network while it is written down: what each operator is, reads and makes."""

    kinds: list[str] = field(default_factory=list)
    reads: list[tuple[int, ...]] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    out_bytes: list[int] = field(default_factory=list)
    parameter_bytes: list[int] = field(default_factory=list)

    def add(
        self, kind: str, reads: tuple[int, ...], side: int, channels: int, kernel: int = 1
    ) -> int:
        """Adds an operator that makes ``side * side * channels`` bytes; gives its number."""
        size = side * side * channels
        read = sum(self.channels(op) for op in reads) or 3
        filters = {"conv": read * channels, "dense": read * channels, "depthwise": channels}
        weights = filters.get(kind, 0) * kernel * kernel
        self.kinds.append(kind)
        self.reads.append(reads)
        self.work.append(float(weights * side * side) if weights else float(size))
        self.out_bytes.append(size)
        self.parameter_bytes.append(weights)
        self._channels.append(channels)
        return len(self.kinds) - 1

    def channels(self, op: int) -> int:
        """Channels that an operator makes."""
        return self._channels[op]

    _channels: list[int] = field(default_factory=list)


def mobilenet(blocks: int, side: int = 28) -> Network:
    """Inverted residuals: a chain with short cuts."""
    net = Network()
    last = net.add("conv", (), side, 16, 3)
    for block in range(blocks):
        channels = 16 + 8 * (block // 2)
        wide = net.add("conv", (last,), side, 6 * channels)
        thin = net.add(
            "conv", (net.add("depthwise", (wide,), side, 6 * channels, 3),), side, channels
        )
        same = net.channels(last) == channels
        last = net.add("other", (last, thin), side, channels) if same else thin
    pooled = net.add("other", (last,), 1, net.channels(last))
    net.add("other", (net.add("dense", (pooled,), 1, 1000),), 1, 1000)
    return net


def inception(modules: int, side: int = 14) -> Network:
    """Modules of four branches that are joined."""
    net = Network()
    last = net.add("conv", (), side, 64, 3)
    for _ in range(modules):
        ends = [net.add("conv", (last,), side, 64)]
        for kernel in (3, 5):
            ends.append(net.add("conv", (net.add("conv", (last,), side, 48),), side, 64, kernel))
        ends.append(net.add("conv", (net.add("other", (last,), side, 64),), side, 32))
        last = net.add("other", tuple(ends), side, 224)
    net.add("dense", (net.add("other", (last,), 1, 224),), 1, 1000)
    return net


def nasnet(cells: int, side: int = 14) -> Network:
    """Cells that read the two before, with separable convolutions added in pairs."""
    net = Network()
    before = last = net.add("conv", (), side, 44, 3)
    for _ in range(cells):
        left = net.add("conv", (before,), side, 44)
        right = net.add("conv", (last,), side, 44)
        sums = []
        for one, other, kernel in ((left, right, 3), (right, right, 5)):
            first = net.add("depthwise", (one,), side, 44, kernel)
            second = net.add("other", (other,), side, 44)
            sums.append(net.add("other", (net.add("conv", (first,), side, 44), second), side, 44))
        before, last = last, net.add("other", tuple(sums), side, 88)
    net.add("dense", (net.add("other", (last,), 1, 88),), 1, 1000)
    return net


def detector(scales: int, blocks: int, side: int = 28) -> Network:
    """A backbone; classes and boxes at each of some scales."""
    net = Network()
    last = net.add("conv", (), side, 16, 3)
    for _ in range(blocks):
        last = net.add("conv", (net.add("depthwise", (last,), side, 32, 3),), side, 32)
    ends = []
    for scale in range(scales):
        now = max(side >> scale, 1)
        last = net.add("conv", (net.add("depthwise", (last,), now, 64, 3),), now, 64)
        heads = [
            net.add("conv", (net.add("depthwise", (last,), now, 64, 3),), now, size)
            for size in (84, 24)
        ]
        ends.append([net.add("other", (head,), now, net.channels(head)) for head in heads])
    for kind in range(2):
        net.add("other", tuple(pair[kind] for pair in ends), side, 24)
    return net


def measured_like(
    seed: int,
    networks: list[Network],
    devices: tuple[str, ...] = DEVICES,
    *,
    regions: bool = False,
    cores: int = 1,
    tight: bool = False,
) -> Problem:
    """Costs by kind and size, each off by a random factor; transfers by bytes.

    Args:
        seed: of the factors.
        networks: one a model.
        devices: of ``DEVICES``, the CPU first.
        regions: launches and borders cost, too.
        cores: of the CPU, each of which runs operators by itself.
        tight: the accelerators hold only part of the parameters.
    """
    chance = np.random.default_rng(seed)
    n_devices = len(devices)
    edges, inputs, outputs, model_of, out_bytes, weights = [], [], [], [], [], []
    cost_us = []
    for model, net in enumerate(networks):
        first = len(model_of)
        for op, reads in enumerate(net.reads):
            edges += [(first + u, first + op, first + u) for u in reads]
        read = {u for reads in net.reads for u in reads}
        outputs += [(first + op, first + op) for op in range(len(net.kinds)) if op not in read]
        inputs += [(first + op, -1 - model) for op, reads in enumerate(net.reads) if not reads]
        model_of += [model] * len(net.kinds)
        out_bytes += net.out_bytes
        weights += net.parameter_bytes
        for kind, work in zip(net.kinds, net.work, strict=True):
            row = [work / _SPEEDS[one][0][kind] + _SPEEDS[one][1] for one in devices]
            cost_us.append(np.array(row) * chance.lognormal(0.0, 0.25, n_devices))
    n_ops = len(model_of)
    illegal = chance.random((n_ops, n_devices)) < 0.08
    illegal[:, 0] = False
    launch_us = np.array([_SPEEDS[one][2] for one in devices]) if regions else np.zeros(n_devices)
    # Over the system's bus, which all but the first accelerator share.
    bus = np.where(np.eye(n_devices, dtype=bool), -1, 0)
    bus[:2, :2] = -1
    border_us = np.full((n_devices, n_devices), 1.5 if regions else 0.0)
    np.fill_diagonal(border_us, 0.5 if regions else 0.0)
    total = float(sum(weights))
    return Problem(
        n_ops=n_ops,
        variants=devices,
        cost_us=np.where(illegal, np.inf, np.round(cost_us, 3)),
        edges=edges,
        tensor_bytes=[*out_bytes, *[28 * 28 * 3] * len(networks)],
        launch_us=launch_us,
        copy_us_per_byte=np.zeros((n_devices, n_devices)),
        border_us=border_us,
        inputs=[(op, n_ops - 1 - tensor) for op, tensor in inputs],
        outputs=outputs,
        parameter_bytes=weights,
        variant_device=range(n_devices),
        devices=devices,
        device_cores=[cores, *[1] * (n_devices - 1)],
        parameter_capacity_bytes=[np.inf, *[total * 0.25 if tight else np.inf] * (n_devices - 1)],
        link_latency_us=np.where(np.eye(n_devices, dtype=bool), 0.0, 2.0),
        link_us_per_byte=np.where(np.eye(n_devices, dtype=bool), 0.0, 1 / 4000),
        link_bus=bus,
        models=[f"model {index}" for index in range(len(networks))],
        model_of=model_of,
    )


def drawn(
    seed: int,
    n_ops: int,
    n_devices: int,
    shape: Shape,
    *,
    regions: bool,
    tight: bool = False,
    n_models: int = 1,
) -> Problem:
    """Random graphs with random costs, memories without limits."""
    problem = make_instance(seed, n_ops, n_devices, shape=shape, n_models=n_models)
    return _limited(problem, seed, regions=regions, tight=tight)


def drawn_on(
    seed: int, graph: RealGraph, n_devices: int, *, regions: bool = False, tight: bool = False
) -> Problem:
    """Graphs of models with random costs, memories without limits."""
    problem = graph.in_place_of(make_instance(seed, graph.n_ops, n_devices))
    return _limited(problem, seed, regions=regions, tight=tight)


def _limited(problem: Problem, seed: int, *, regions: bool, tight: bool) -> Problem:
    """With limits of constants if ``tight``, and without costs of regions unless ``regions``."""
    chance = np.random.default_rng(seed)
    n_devices, total = problem.n_devices, float(problem.parameter_bytes.sum())
    if tight:
        part = np.where(
            np.arange(n_devices) == 0, np.inf, total * chance.uniform(0.1, 0.3, n_devices)
        )
        problem = dataclasses.replace(problem, parameter_capacity_bytes=part)
    if regions:
        return problem
    free = np.zeros((problem.n_variants,) * 2)
    return dataclasses.replace(
        problem, launch_us=free[0], border_us=free, copy_us_per_byte=free,
        host_border_us=free[0], host_copy_us_per_byte=free[0],
    )  # fmt: skip


def _latency() -> dict[str, Callable[[], Problem]]:
    few = DEVICES[:3]
    v1, v2 = "mobilenet_v1_0.5_160_fp32", "mobilenet_v2_1.0_224_int8"
    v3, movenet = "mobilenet_v3_small_224_int8", "movenet_single_pose_lightning_ptq"
    efficientnet, nasnet = "efficientnetb0_224_int8", "nasnet_mobile_224_int8"
    return {
        "real-mobilenet_v1-31x5-measured": lambda: measured(1, real_graph(v1), 5),
        "real-mobilenet_v2-65x5-measured-tight": lambda: measured(2, real_graph(v2), 5, tight=True),
        "real-efficientnet-80x1-measured": lambda: measured(3, real_graph(efficientnet, 0, 80)),
        "real-efficientnet-50x4-measured": lambda: measured(4, real_graph(efficientnet, 0, 50), 4),
        "real-nasnet-20x1-measured": lambda: measured(5, real_graph(nasnet, 0, 20)),
        "real-nasnet-30x5-measured": lambda: measured(6, real_graph(nasnet, 0, 30), 5),
        "real-movenet-57x3-measured": lambda: measured(7, real_graph(movenet, 100, 157), 3),
        "real-movenet-80x5-measured": lambda: measured(18, real_graph(movenet, 0, 80), 5),
        "real-mobilenet_v2-65x5-drawn": lambda: drawn_on(9, real_graph(v2), 5),
        "real-mobilenet_v2-65x2-drawn-tight": lambda: drawn_on(22, real_graph(v2), 2, tight=True),
        "real-efficientnet-60x5-drawn": lambda: drawn_on(10, real_graph(efficientnet, 80, 140), 5),
        "real-nasnet-30x4-drawn": lambda: drawn_on(11, real_graph(nasnet, 60, 90), 4),
        "real-movenet-57x4-drawn-tight": lambda: drawn_on(
            12, real_graph(movenet, 100, 157), 4, tight=True
        ),
        "mobilenet-40x5-tight": lambda: measured_like(30, [mobilenet(10)], tight=True),
        "detector-35x3-tight": lambda: measured_like(38, [detector(3, 4)], few, tight=True),
        "chain-60x5": lambda: drawn(40, 60, 5, "chain", regions=False),
        "chain-80x5": lambda: drawn(90, 80, 5, "chain", regions=False),
        "branches-20x5": lambda: drawn(42, 20, 5, "branches", regions=False),
        "branches-30x4": lambda: drawn(3, 30, 4, "branches", regions=False),
        "branches-40x5": lambda: drawn(43, 40, 5, "branches", regions=False),
        "branches-60x5": lambda: drawn(44, 60, 5, "branches", regions=False),
        "branches-30x4-tight": lambda: drawn(92, 30, 4, "branches", regions=False, tight=True),
        "layered-20x4": lambda: drawn(2, 20, 4, "layered", regions=False),
        "layered-24x3": lambda: drawn(47, 24, 3, "layered", regions=False),
        "random-20x4": lambda: drawn(49, 20, 4, "random", regions=False),
        "random-60x2": lambda: drawn(95, 60, 2, "random", regions=False),
        "random-30x4-tight": lambda: drawn(53, 30, 4, "random", regions=False, tight=True),
        "real-mobilenet_v3-20x3-measured-regions": lambda: measured(
            8, real_graph(v3, 20, 40), 3, regions=True
        ),
        "real-mobilenet_v3-40x1-measured-regions": lambda: measured(
            3, real_graph(v3, 31, 71), regions=True
        ),
        "real-efficientnet-30x3-measured-tight-regions": lambda: measured(
            16, real_graph(efficientnet, 60, 90), 3, regions=True, tight=True
        ),
        "real-nasnet-18x3-drawn-regions": lambda: drawn_on(
            15, real_graph(nasnet, 60, 78), 3, regions=True
        ),
        "chain-20x5-regions": lambda: drawn(59, 20, 5, "chain", regions=True),
        "chain-30x4-regions": lambda: drawn(21, 30, 4, "chain", regions=True),
        "chain-40x3-regions": lambda: drawn(96, 40, 3, "chain", regions=True),
        "branches-12x3-regions": lambda: drawn(12, 12, 3, "branches", regions=True),
        "branches-14x4-regions": lambda: drawn(60, 14, 4, "branches", regions=True, tight=True),
        "branches-20x4-regions": lambda: drawn(20, 20, 4, "branches", regions=True),
        "layered-10x4-regions": lambda: drawn(61, 10, 4, "layered", regions=True),
        "layered-16x3-regions": lambda: drawn(16, 16, 3, "layered", regions=True),
        "random-14x3-regions": lambda: drawn(22, 14, 3, "random", regions=True),
    }


LATENCY: Mapping[str, Callable[[], Problem]] = _latency()


def _several() -> dict[str, Callable[[], Problem]]:
    few, some = DEVICES[:3], DEVICES[:4]
    return {
        "mobilenet+inception-26x5": lambda: measured_like(70, [mobilenet(3), inception(1)]),
        "mobilenet+mobilenet-24x4": lambda: measured_like(71, [mobilenet(2), mobilenet(2)], some),
        "mobilenet+nasnet-29x3": lambda: measured_like(72, [mobilenet(3), nasnet(1)], few),
        "inception+inception-22x4": lambda: measured_like(73, [inception(1), inception(1)], some),
        "inception+nasnet-25x5": lambda: measured_like(74, [inception(1), nasnet(1)]),
        "detector+mobilenet-27x5": lambda: measured_like(75, [detector(1, 2), mobilenet(2)]),
        "detector+inception-26x3": lambda: measured_like(76, [detector(1, 2), inception(1)], few),
        "detector+mobilenet-27x3-tight": lambda: measured_like(
            77, [detector(1, 2), mobilenet(2)], few, tight=True
        ),
        "three-mobilenets-36x4": lambda: measured_like(78, [mobilenet(2)] * 3, some),
        "three-mobilenets-24x5": lambda: measured_like(79, [mobilenet(1)] * 3, cores=2),
        "mobilenet+inception-19x3-regions": lambda: measured_like(
            80, [mobilenet(1), inception(1)], few, regions=True
        ),
        "mobilenet+mobilenet-16x4-regions": lambda: measured_like(
            81, [mobilenet(1), mobilenet(1)], some, regions=True
        ),
        "two-chains-30x4": lambda: drawn(82, 30, 4, "chain", regions=False, n_models=2),
        "three-chains-24x3": lambda: drawn(83, 24, 3, "chain", regions=False, n_models=3),
        "two-branched-20x4": lambda: drawn(84, 20, 4, "branches", regions=False, n_models=2),
        "three-branched-24x5": lambda: drawn(85, 24, 5, "branches", regions=False, n_models=3),
        "two-layered-16x4": lambda: drawn(86, 16, 4, "layered", regions=False, n_models=2),
        "two-random-18x4": lambda: drawn(87, 18, 4, "random", regions=False, n_models=2),
        "two-chains-14x3-regions": lambda: drawn(88, 14, 3, "chain", regions=True, n_models=2),
        "two-branched-12x3-regions": lambda: drawn(89, 12, 3, "branches", regions=True, n_models=2),
    }


SEVERAL: Mapping[str, Callable[[], Problem]] = _several()
