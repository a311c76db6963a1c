"""Measured times of regions on Edge TPUs; where there is a record, it replaces the model's figure.

A record is of a region that was compiled alone, as its executor ran it: its transfers are in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tdse.edgetpu.cost import streamed
from tdse.edgetpu.parameters import parameter_bytes
from tdse.graph.model import Graph
from tdse.graph.signature import region_signature
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.platform.edgetpu import EdgeTpuUnit
from tdse.platform.model import Platform
from tdse.runtime.edgetpu import KIND


def recorded_as(unit: EdgeTpuUnit) -> str:
    """What records call an Edge TPU: times behind one link are not those behind another."""
    return f"{KIND}@{unit.link}"


@contextlib.contextmanager
def records_of(board: Platform) -> Iterator[RecordStore | None]:
    """The user's records of the machine that an Edge TPU of the board is attached to.

    None if there are none, or no Edge TPU. The machine is the one that the first device names.
    """
    host = board.devices[0]
    if all(device.edgetpu is None for device in board.devices):
        yield None
        return
    with contextlib.closing(RecordStore(current_conditions())) as store:
        known = any(machine.conditions.are_of(host) for machine in store.machines())
        conditions = store.conditions_for(host) if known else None
    if conditions is None:
        yield None
        return
    with contextlib.closing(RecordStore(conditions)) as store:
        yield store


@dataclass(frozen=True)
class MeasuredRegion:
    """What a region on an Edge TPU takes.

    Attributes:
        median_us: measured, its transfers included.
        carried_us: what is modelled of its transfers.
    """

    median_us: float
    carried_us: float

    @property
    def own_us(self) -> float:
        """Without its transfers."""
        return max(0.0, self.median_us - self.carried_us)


class MeasuredRegions:
    """Regions of a model on Edge TPUs of which there are records."""

    def __init__(self, graph: Graph, records: RecordStore | None) -> None:
        """Take the records of one machine, or None for none."""
        self._graph, self._records = graph, records
        self._medians_us: dict[tuple[str, tuple[int, ...]], float | None] = {}

    def region_us(
        self, unit: EdgeTpuUnit, ops: tuple[int, ...], left_out: frozenset[int]
    ) -> MeasuredRegion | None:
        """What was measured of a region; None if it was not measured like this.

        Args:
            unit: the Edge TPU.
            ops: of the region, ascending.
            left_out: operators whose parameters do not fit there, given all that it holds.
        """
        alone = streamed((op, parameter_bytes(self._graph, op)) for op in ops)
        median_us = self._median_us(recorded_as(unit), ops)
        if median_us is None or alone != left_out.intersection(ops):
            return None
        carried_us = sum(
            unit.rates.latency_us
            + self._graph.tensors[tensor].size_bytes / unit.rates.tensor_bytes_per_us
            for tensor in _borders(self._graph, ops)
        )
        return MeasuredRegion(median_us, carried_us)

    def _median_us(self, target: str, ops: tuple[int, ...]) -> float | None:
        if self._records is None:
            return None
        if (target, ops) not in self._medians_us:
            key = region_signature(self._graph, ops)
            record = self._records.find([key]).get((key, target, 1))
            self._medians_us[target, ops] = None if record is None else record.median_us
        return self._medians_us[target, ops]


def _borders(graph: Graph, ops: Sequence[int]) -> set[int]:
    """Tensors that go into a region, and those that come out of it."""
    made = {tensor for op in ops for tensor in graph.ops[op].outputs}
    read = {tensor for op in ops for tensor in graph.ops[op].inputs if tensor >= 0} - made
    carried = {
        tensor
        for tensor in read
        if not graph.is_constant(tensor) and not graph.tensors[tensor].is_variable
    }
    needed = {tensor for _, sink, tensor in graph.edges if sink not in ops}
    return carried | made.intersection({*needed, *graph.outputs})
