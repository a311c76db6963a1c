"""What operators and transfers take on an emulated board: the search's problem of a model."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tdse.edgetpu import cost as edgetpu
from tdse.edgetpu import rules
from tdse.edgetpu.package import CUSTOM_OP
from tdse.edgetpu.parameters import parameter_bytes
from tdse.emulation.accelerator import Accelerated, accelerate, accelerator_refusal
from tdse.errors import ModelError, PlacementError, PlatformError
from tdse.graph.model import Graph
from tdse.platform.edgetpu import EdgeTpuUnit
from tdse.platform.model import DataflowUnit, Device, EmulatedUnit, Link, Platform
from tdse.search import Problem
from tdse.search.problem import Floats, Ints

Unit = EmulatedUnit | DataflowUnit | EdgeTpuUnit

_DEPTHWISE = frozenset({"depthwise_conv2d"})
_CONVOLUTIONS = frozenset({"conv2d", "transpose_conv2d", "conv3d", "conv3d_transpose"})


def emulated_problem(
    graph: Graph,
    board: Platform,
    pins: Mapping[int, str],
    streamed: frozenset[int] = frozenset(),
) -> Problem:
    """The problem of placing a model on an emulated board; its variants are the devices.

    A region occupies one unit of its device. A link carries one tensor at a time, either way;
    links that are shared are one bus.

    Args:
        graph: the model.
        board: an emulated platform.
        pins: position among ``graph.placed_ops`` to the name of a device.
        streamed: operators whose parameters do not fit into an Edge TPU, see ``streamed_ops``.

    Raises:
        ModelError: an operator runs on no device.
        PlacementError: the model cannot be cut.
        PlatformError: two links join the same devices.
    """
    if graph.whole_reason:
        raise PlacementError(
            "the model cannot be placed on a board", where=graph.name, why=graph.whole_reason
        )
    units = [unit_of(device) for device in board.devices]
    names = [device.name for device in board.devices]
    on_units = [_on_unit(graph, unit, streamed) for unit in units]
    by_op = list(zip(*on_units, strict=True))
    _demand_runs_somewhere(graph, names, [[each.refusal for each in row] for row in by_op])
    row = {op: i for i, op in enumerate(graph.placed_ops)}
    n = len(units)
    memory = memories(board)
    latency_us, us_per_byte, bus = _links(board, memory)
    return Problem(
        n_ops=len(row),
        variants=tuple(names),
        cost_us=np.array([[one.time_us for one in each] for each in by_op]).reshape(len(row), n),
        energy_uj=np.array(
            [[0.0 if one.refusal else one.energy_uj for one in each] for each in by_op]
        ).reshape(len(row), n),
        edges=np.array([(row[u], row[v], t) for u, v, t in graph.edges], np.int32).reshape(-1, 3),
        tensor_bytes=np.array([tensor.size_bytes for tensor in graph.tensors]),
        launch_us=np.array([_launch_us(unit) for unit in units]),
        copy_us_per_byte=np.zeros((n, n)),
        border_us=np.zeros((n, n)),
        single_region=np.array([isinstance(u, EdgeTpuUnit) and u.one_region for u in units]),
        pins=np.array([names.index(pins[i]) if i in pins else -1 for i in range(len(row))]),
        inputs=_pairs(
            (row[op], t) for t in dict.fromkeys(graph.inputs) for op in graph.consumers.get(t, ())
        ),
        outputs=_pairs(
            (row[graph.producer[t]], t)
            for t in dict.fromkeys(graph.outputs)
            if graph.producer.get(t) in row
        ),
        labels=tuple(graph.ops[op].label for op in row),
        parameter_bytes=np.array([graph.ops[op].parameter_bytes for op in row]),
        variant_device=np.arange(n, dtype=np.int32),
        active_w=np.array([device.active_w_per_core or 0.0 for device in board.devices]),
        devices=tuple(names),
        device_cores=np.array([device.cores for device in board.devices]),
        device_memory=np.array(memory),
        idle_w=np.array([device.idle_w or 0.0 for device in board.devices]),
        parameter_capacity_bytes=np.array(
            [np.inf if (held := _parameter_bytes(unit)) is None else held for unit in units]
        ),
        link_latency_us=latency_us,
        link_us_per_byte=us_per_byte,
        link_bus=bus,
    )


def operator_us(
    graph: Graph, index: int, unit: EmulatedUnit | EdgeTpuUnit, *, is_streamed: bool = False
) -> float:
    """Microseconds of an operator inside a region.

    Args:
        graph: the model.
        index: of the operator.
        unit: what runs it.
        is_streamed: its parameters do not fit into the Edge TPU.
    """
    if isinstance(unit, EdgeTpuUnit):
        rate = unit.rates.parameter_bytes_per_us
        return edgetpu.layer_us(edgetpu.layer_of(graph, index), rate, is_streamed=is_streamed)
    op = graph.ops[index]
    if not op.macs:
        return unit.operator_us + (op.input_bytes + op.output_bytes) / unit.bytes_per_us
    if op.kind in _DEPTHWISE:
        rate = unit.depthwise_macs_per_us
    elif op.kind in _CONVOLUTIONS:
        rate = unit.conv_macs_per_us
    else:
        rate = unit.dense_macs_per_us
    return unit.operator_us + op.macs / rate


def streamed_ops(
    graph: Graph, board: Platform, placed: Mapping[int, Sequence[int]]
) -> frozenset[int]:
    """Operators whose parameters an Edge TPU of the board cannot hold.

    Args:
        graph: the model.
        board: an emulated platform.
        placed: position of a device to the operators on it, ascending.
    """
    return frozenset().union(
        *(
            edgetpu.streamed((op, parameter_bytes(graph, op)) for op in ops)
            for device, ops in placed.items()
            if board.devices[device].edgetpu is not None
        )
    )


def refusal(graph: Graph, index: int, unit: Unit) -> str:
    """Why a unit does not run an operator; empty if it does."""
    if isinstance(unit, DataflowUnit):
        return accelerator_refusal(graph, index, unit)
    if isinstance(unit, EdgeTpuUnit):
        return str(rules.refusal(graph, index, unit.runtime) or "")
    op = graph.ops[index]
    if op.tflite_name == CUSTOM_OP:
        return "it is compiled for an Edge TPU"
    if unit.kinds is not None and op.kind not in unit.kinds:
        return f"{op.kind} is not among its kinds"
    if unit.dtypes is None:
        return ""
    for tensor in (graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0):
        if not graph.is_constant(tensor.index) and tensor.dtype not in unit.dtypes:
            return f"tensor {tensor.name!r} is of type {tensor.dtype}"
    return ""


def memories(board: Platform) -> list[int]:
    """The memory of each device: the first device's is 0, and that of devices without links."""
    linked = {name for link in board.all_links for name in link.between}
    own = itertools.count(1)
    return [
        next(own) if position and device.name in linked else 0
        for position, device in enumerate(board.devices)
    ]


def buses(links: Sequence[Link]) -> list[str]:
    """Names of what carries one tensor at a time: all shared links, then each of the others."""
    shared = ["shared links"] if any(link.shared for link in links) else []
    return shared + ["-".join(link.between) for link in links if not link.shared]


def bus_of(link: Link, links: Sequence[Link]) -> int:
    """The position of a link's bus among ``buses``."""
    names = buses(links)
    return 0 if link.shared else names.index("-".join(link.between))


def _links(board: Platform, memory: Sequence[int]) -> tuple[Floats, Floats, Ints]:
    """Latency, microseconds per byte, and bus, each [memories, memories]."""
    n = max(memory) + 1
    latency_us, bus = np.zeros((n, n)), np.full((n, n), -1, np.int32)
    us_per_byte = np.where(np.eye(n, dtype=bool), 0.0, np.inf)
    names = [device.name for device in board.devices]
    for link in board.all_links:
        one, other = (memory[names.index(name)] for name in link.between)
        if np.isfinite(us_per_byte[one, other]):
            raise PlatformError(
                f"two ways lead from {link.between[0]} to {link.between[1]}",
                where=f"platform {board.name}",
                why="an emulated board has one link between two memories",
                hint="keep one of the links",
            )
        for pair in ((one, other), (other, one)):
            latency_us[pair] = link.latency_us
            us_per_byte[pair] = 1e6 / link.bandwidth_bytes_per_s
            bus[pair] = bus_of(link, board.all_links)
    return latency_us, us_per_byte, bus


def unit_of(device: Device) -> Unit:
    """What a device of an emulated platform would take."""
    unit = device.emulated or device.dataflow or device.edgetpu
    assert unit is not None, "all devices of an emulated platform are"
    return unit


def _on_unit(graph: Graph, unit: Unit, streamed: Collection[int]) -> list[Accelerated]:
    """Each placed operator on a unit; the energy is what the power of the device leaves out."""
    if isinstance(unit, DataflowUnit):
        return accelerate(graph, unit)
    return [
        Accelerated(np.inf, np.inf, refused)
        if (refused := refusal(graph, op, unit))
        else Accelerated(operator_us(graph, op, unit, is_streamed=op in streamed), 0.0)
        for op in graph.placed_ops
    ]


def _parameter_bytes(unit: Unit) -> int | None:
    """Constants that a unit must hold; None for any number.

    An accelerator fetches them from DRAM for each run, and an Edge TPU what it has no room for.
    """
    return unit.parameter_bytes if isinstance(unit, EmulatedUnit) else None


def _launch_us(unit: Unit) -> float:
    """Of an Edge TPU without the latency of an input and an output, which the link has."""
    if isinstance(unit, EdgeTpuUnit):
        return max(0.0, edgetpu.FITTED.invoke_us - 2 * unit.rates.latency_us)
    return unit.launch_us


def _pairs(pairs: Iterable[tuple[int, int]]) -> Ints:
    return np.array(sorted(set(pairs)), np.int32).reshape(-1, 2)


def _demand_runs_somewhere(
    graph: Graph, names: Sequence[str], refusals: Sequence[Sequence[str]]
) -> None:
    for op, row in zip(graph.placed_ops, refusals, strict=True):
        if all(row):
            raise ModelError(
                f"op {graph.ops[op].label} runs on no device",
                where=graph.name,
                why="; ".join(f"{name}: {why}" for name, why in zip(names, row, strict=True)),
                hint="let a device of the platform file run it",
            )
