"""What operators and transfers take on an emulated board: the search's problem of a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tdse.edgetpu import cost as edgetpu
from tdse.edgetpu.parameters import parameter_bytes
from tdse.emulation.accelerator import accelerate
from tdse.emulation.measured import MeasuredRegions
from tdse.emulation.units import (
    OnUnit,
    Unit,
    by_rates,
    edgetpu_us,
    launch_us,
    on_edgetpu,
    parameter_capacity_bytes,
    round_trip,
    unit_of,
)
from tdse.errors import ModelError, PlacementError, PlatformError
from tdse.graph.model import Graph
from tdse.measure.records import RecordStore
from tdse.platform.edgetpu import EdgeTpuUnit
from tdse.platform.model import DataflowUnit, Link, Platform
from tdse.search import Problem
from tdse.search.problem import Floats, Ints
from tdse.search.schedule import ScheduledRegion

_NO_PINS: Mapping[int, str] = {}

RegionTimes = Mapping[tuple[int, tuple[int, ...]], float]
"""Microseconds of regions without their transfers, by position of the device and operators."""

_NONE_MEASURED: RegionTimes = {}


class BoardCosts:
    """What the operators of a model take on each device of an emulated board.

    All that does not depend on where other operators are is computed once: an accelerator's
    mappings are searched for.

    A region on an Edge TPU of which there is a record takes what was measured. What has no record
    takes as much longer than modelled as those regions do together that have one.

    Attributes:
        graph: the model.
        board: an emulated platform.
        pins: position among ``graph.placed_ops`` to the name of a device.
        has_records: there may be regions whose times were measured.
        refusals: (name of a device, operator) to why it does not run there.
    """

    def __init__(
        self,
        graph: Graph,
        board: Platform,
        pins: Mapping[int, str] = _NO_PINS,
        records: RecordStore | None = None,
    ) -> None:
        """Ask each device about each operator; ``records`` are of the board's host, if any."""
        self.graph, self.board, self.pins = graph, board, pins
        self.has_records = records is not None
        self._measured = MeasuredRegions(graph, records)
        # Of all measured regions that were looked up: measured and modelled, with transfers, us.
        self._compared: dict[tuple[int, tuple[int, ...]], tuple[float, float]] = {}
        self._units = [unit_of(device) for device in board.devices]
        self._on_units = [_on_unit(graph, unit) for unit in self._units]
        self.refusals = {
            (device.name, op): one.refusal
            for device, column in zip(board.devices, self._on_units, strict=True)
            for op, one in zip(graph.placed_ops, column, strict=True)
            if one.refusal
        }

    @property
    def correction(self) -> float:
        """By what factor regions take longer than modelled, of those that were looked up."""
        if not self._compared:
            return 1.0
        measured_us, modelled_us = map(sum, zip(*self._compared.values(), strict=True))
        return measured_us / modelled_us

    def problem(
        self,
        streamed: frozenset[int] = frozenset(),
        measured: RegionTimes = _NONE_MEASURED,
        *,
        is_held: bool = False,
    ) -> Problem:
        """The problem of placing the model on the board; its variants are the devices.

        A region occupies one unit of its device. A link carries one tensor at a time, either way;
        links that are shared are one bus.

        Args:
            streamed: operators whose parameters do not fit into an Edge TPU, see ``streamed_ops``.
            measured: what regions take, if the placement has these.
            is_held: an Edge TPU may only have operators whose parameters it holds.

        Raises:
            ModelError: an operator runs on no device.
            PlacementError: the model cannot be cut.
            PlatformError: two links join the same devices.
        """
        graph, board, units = self.graph, self.board, self._units
        if graph.whole_reason:
            raise PlacementError(
                "the model cannot be placed on a board", where=graph.name, why=graph.whole_reason
            )
        self._demand_runs_somewhere()
        names = [device.name for device in board.devices]
        row = {op: i for i, op in enumerate(graph.placed_ops)}
        n = len(units)
        memory = memories(board)
        latency_us, us_per_byte, bus = _links(board, memory)
        launches_us, cost_us = self._times_us(streamed, measured)
        trips = list(map(round_trip, units))
        return Problem(
            n_ops=len(row),
            variants=tuple(names),
            cost_us=cost_us,
            energy_uj=np.array(
                [[one.energy_uj for one in column] for column in self._on_units]
            ).T.reshape(len(row), n),
            edges=np.array([(row[u], row[v], t) for u, v, t in graph.edges], np.int32).reshape(
                -1, 3
            ),
            tensor_bytes=np.array([tensor.size_bytes for tensor in graph.tensors]),
            launch_us=launches_us,
            copy_us_per_byte=np.diag([trip.us_per_byte for trip in trips]),
            border_us=np.diag([trip.latency_us for trip in trips]),
            single_region=np.array([isinstance(u, EdgeTpuUnit) and u.one_region for u in units]),
            pins=np.array(
                [names.index(self.pins[i]) if i in self.pins else -1 for i in range(len(row))]
            ),
            inputs=_pairs(
                (row[op], t)
                for t in dict.fromkeys(graph.inputs)
                for op in graph.consumers.get(t, ())
            ),
            outputs=_pairs(
                (row[graph.producer[t]], t)
                for t in dict.fromkeys(graph.outputs)
                if graph.producer.get(t) in row
            ),
            labels=tuple(graph.ops[op].label for op in row),
            # As they lie in an Edge TPU they are larger, and would be so for other devices, too.
            parameter_bytes=np.array(
                [
                    parameter_bytes(graph, op) if is_held else graph.ops[op].parameter_bytes
                    for op in row
                ]
            ),
            variant_device=np.arange(n, dtype=np.int32),
            active_w=np.array([device.active_w_per_core or 0.0 for device in board.devices]),
            devices=tuple(names),
            device_cores=np.array([device.cores for device in board.devices]),
            device_memory=np.array(memory),
            idle_w=np.array([device.idle_w or 0.0 for device in board.devices]),
            parameter_capacity_bytes=np.array(
                [
                    edgetpu.PARAMETER_CAPACITY_BYTES
                    if is_held and isinstance(unit, EdgeTpuUnit)
                    else parameter_capacity_bytes(unit)
                    for unit in units
                ]
            ),
            link_latency_us=latency_us,
            link_us_per_byte=us_per_byte,
            link_bus=bus,
        )

    def streamed_ops(self, placed: Mapping[int, Sequence[int]]) -> frozenset[int]:
        """Operators whose parameters an Edge TPU of the board cannot hold.

        Args:
            placed: position of a device to the operators on it, ascending.
        """
        return frozenset().union(
            *(
                edgetpu.streamed((op, parameter_bytes(self.graph, op)) for op in ops)
                for device, ops in placed.items()
                if self.board.devices[device].edgetpu is not None
            )
        )

    def measured_in(
        self, regions: Iterable[ScheduledRegion], streamed: frozenset[int]
    ) -> dict[tuple[int, tuple[int, ...]], float]:
        """Those of a placement's regions of which there are records.

        Args:
            regions: by rows of the problem.
            streamed: as of ``problem``.
        """
        found = {}
        for region in regions:
            unit = self._units[region.variant]
            if not isinstance(unit, EdgeTpuUnit):
                continue
            ops = tuple(self.graph.placed_ops[row] for row in region.ops)
            measured = self._measured.region_us(unit, ops, streamed)
            if measured is not None:
                found[region.variant, ops] = measured.own_us
                modelled_us = launch_us(unit) + sum(
                    edgetpu_us(self.graph, op, unit, is_streamed=op in streamed) for op in ops
                )
                self._compared[region.variant, ops] = (
                    measured.median_us,
                    modelled_us + measured.carried_us,
                )
        return found

    def _times_us(self, streamed: frozenset[int], measured: RegionTimes) -> tuple[Floats, Floats]:
        """Microseconds of a launch, [devices], and of operators, [operators, devices]."""
        ops = self.graph.placed_ops
        launches_us = np.array([launch_us(unit) for unit in self._units])
        cost_us = np.array([[one.time_us for one in column] for column in self._on_units]).T
        cost_us = cost_us.reshape(len(ops), len(self._units))
        for device, unit in enumerate(self._units):
            if isinstance(unit, EdgeTpuUnit):
                for row, op in enumerate(ops):
                    if op in streamed and np.isfinite(cost_us[row, device]):
                        cost_us[row, device] = edgetpu_us(self.graph, op, unit, is_streamed=True)
                cost_us[:, device] *= self.correction
                launches_us[device] *= self.correction
        row_of = {op: row for row, op in enumerate(ops)}
        # No launch takes longer than the shortest region.
        for (device, _), time_us in measured.items():
            launches_us[device] = min(launches_us[device], time_us)
        for (device, region), time_us in measured.items():
            rows = [row_of[op] for op in region]
            share = cost_us[rows, device]
            share = share / share.sum() if share.any() else np.full(len(rows), 1 / len(rows))
            cost_us[rows, device] = share * (time_us - launches_us[device])
        return launches_us, cost_us

    def _demand_runs_somewhere(self) -> None:
        names = [device.name for device in self.board.devices]
        for op in self.graph.placed_ops:
            refusals = [self.refusals.get((name, op), "") for name in names]
            if all(refusals):
                raise ModelError(
                    f"op {self.graph.ops[op].label} runs on no device",
                    where=self.graph.name,
                    why="; ".join(
                        f"{name}: {why}" for name, why in zip(names, refusals, strict=True)
                    ),
                    hint="let a device of the platform file run it",
                )


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


def _on_unit(graph: Graph, unit: Unit) -> list[OnUnit]:
    """Each of ``graph.placed_ops`` on a unit, with its parameters there."""
    if isinstance(unit, DataflowUnit):
        return accelerate(graph, unit)
    if isinstance(unit, EdgeTpuUnit):
        return on_edgetpu(graph, unit)
    return by_rates(graph, unit)


def _pairs(pairs: Iterable[tuple[int, int]]) -> Ints:
    return np.array(sorted(set(pairs)), np.int32).reshape(-1, 2)
