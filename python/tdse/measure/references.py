"""The reference operator, by which is told how disturbed the machine is."""

from __future__ import annotations

from functools import cache

from tdse.graph.build import build_graph
from tdse.graph.layers import Configuration, Input, Layer
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.activations import random_inputs
from tdse.measure.records import RecordStore
from tdse.measure.timing import Reference


class References:
    """The references of one process, made when they are needed.

    Args:
        store: knows their best times, and takes better ones.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._made: dict[int, Reference] = {}

    def of(self, threads: int) -> Reference:
        """The reference with ``threads`` threads.

        Raises:
            TargetError: LiteRT cannot run it.
        """
        if threads not in self._made:
            # A board that only runs artefacts has it not, and asks for no reference.
            from tdse.assemble import compile_regions

            graph = reference_graph()
            compiled = compile_regions(graph, [Region(0, "litert", (0,))], threads=threads)
            reference = Reference(
                compiled.alone(0).model(),
                random_inputs(graph, 0),
                threads,
                self._store.best_reference_us(threads),
            )
            self._store.add_reference(threads, reference.best_us)
            self._made[threads] = reference
        return self._made[threads]


@cache
def reference_graph() -> Graph:
    """A pointwise int8 convolution on a large map: both its arithmetic and its caches are busy.

    Beside a busy neighbour it slows down by a quarter, when others slow down by a fiftieth.
    """
    layer = Layer("conv2d", channels=16)
    return build_graph(Configuration((Input((1, 112, 112, 32), "int8"),), (layer,)), "reference")
