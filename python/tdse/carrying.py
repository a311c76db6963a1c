"""Transfers between memories as parts of a placement's cost.

The time of an operator on a device includes carrying its inputs there and its outputs back. Inside
a region its neighbours need none of that, so it is taken out of the operators' costs and charged
where tensors do cross.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdse.cost.links import fit_link
from tdse.cost.table import CostTable
from tdse.graph.model import Graph
from tdse.measure.launch import launch_graph
from tdse.measure.transfers import SIZES, TransferTimes
from tdse.search import Problem

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """Carrying tensors in one direction.

    Attributes:
        latency_us: microseconds of each tensor.
        us_per_byte: microseconds of each of its bytes.
    """

    latency_us: float = 0.0
    us_per_byte: float = 0.0

    def time_us(self, sizes: Sequence[int]) -> float:
        """Microseconds to carry tensors of so many bytes."""
        return len(sizes) * self.latency_us + sum(sizes) * self.us_per_byte


class Carrying:
    """Transfers of the tensors of a graph.

    Args:
        graph: the model.
        targets: the columns of its cost table.
        times: of those targets whose devices have memory of their own.
    """

    def __init__(
        self, graph: Graph, targets: Sequence[str], times: Mapping[str, TransferTimes]
    ) -> None:
        self._graph = graph
        self._targets = targets
        # There and back.
        self._ways = [
            (_way(times[t].to_device_us), _way(times[t].from_device_us))
            if t in times
            else (Way(), Way())
            for t in targets
        ]

    def without(self, table: CostTable) -> CostTable:
        """The table without the transfers that are in the costs of operators one by one."""
        carried_us = np.array(
            [
                [self._op_us(self._graph, op, column) for column in range(len(self._targets))]
                for op in table.ops
            ]
        ).reshape(table.cost_us.shape)
        # Some are in the launch as well, which was subtracted.
        surplus_us = carried_us - self._launch_us()
        return dataclasses.replace(
            table,
            cost_us=np.maximum(0.0, table.cost_us - surplus_us),
            low_us=np.maximum(0.0, table.low_us - surplus_us),
            high_us=np.maximum(0.0, table.high_us - surplus_us),
        )

    def charged(self, problem: Problem, row: Mapping[int, int]) -> Problem:
        """The problem with transfers between regions, and of the model's inputs and outputs.

        A tensor goes through the memory of the host, so also from a device to itself.

        Args:
            problem: its launches are as measured, with the transfers of what was launched.
            row: operator index to position in the problem.
        """
        graph = self._graph
        latency_us, us_per_byte = (
            np.array([[there.latency_us, back.latency_us] for there, back in self._ways]),
            np.array([[there.us_per_byte, back.us_per_byte] for there, back in self._ways]),
        )
        readers = [(op, t) for t in graph.inputs for op in graph.consumers.get(t, ())]
        makers = [(graph.producer.get(t, -1), t) for t in graph.outputs]
        return dataclasses.replace(
            problem,
            launch_us=np.maximum(0.0, problem.launch_us - self._launch_us()),
            border_us=problem.border_us + latency_us[:, 1:] + latency_us[:, 0],
            copy_us_per_byte=us_per_byte[:, 1:] + us_per_byte[:, 0],
            inputs=_rows(readers, row),
            outputs=_rows(makers, row),
            # One figure for both directions.
            host_border_us=latency_us.mean(axis=1),
            host_copy_us_per_byte=us_per_byte.mean(axis=1),
        )

    def _launch_us(self) -> Floats:
        graph = launch_graph()
        return np.array([self._op_us(graph, 0, column) for column in range(len(self._targets))])

    def _op_us(self, graph: Graph, op_index: int, column: int) -> float:
        op = graph.ops[op_index]
        given = {t for t in op.inputs if t >= 0 and not graph.is_constant(t)}
        sizes_in = [graph.tensors[t].size_bytes for t in given]
        sizes_out = [graph.tensors[t].size_bytes for t in op.outputs if t >= 0]
        there, back = self._ways[column]
        return there.time_us(sizes_in) + back.time_us(sizes_out)


def _rows(uses: Sequence[tuple[int, int]], row: Mapping[int, int]) -> npt.NDArray[np.int32]:
    """Positions of operators with the tensors that they read or make, for those that are placed."""
    return np.array([(row[op], t) for op, t in uses if op in row], np.int32).reshape(-1, 2)


def _way(times_us: Sequence[float]) -> Way:
    line = fit_link(SIZES, times_us)
    return Way(line.latency_us, 1e6 / line.bandwidth_bytes_per_s)
