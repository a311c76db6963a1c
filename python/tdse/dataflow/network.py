"""A network on an accelerator: one mapping for each layer, and what all of them cost together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tdse.dataflow.architecture import Architecture
from tdse.dataflow.layer import Layer
from tdse.dataflow.native import Objective
from tdse.dataflow.search import SECONDS, LayerResult, dmazerunner_mappings, find_mapping

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class NetworkResult:
    """What a network costs, layer after layer; all of it is modelled.

    Attributes:
        architecture: on what.
        layers: each with the one mapping that all its figures are of.
    """

    architecture: Architecture
    layers: tuple[LayerResult, ...]

    @property
    def cycles(self) -> float:
        """Of all layers, each as often as the network has it."""
        return sum(one.figures.cycles * one.layer.instances for one in self.layers)

    @property
    def latency_us(self) -> float:
        """Microseconds of all layers, one after the other."""
        return self.cycles / self.architecture.clock_mhz

    @property
    def energy_pj(self) -> float:
        """Picojoules of all layers."""
        return sum(one.figures.energy_pj * one.layer.instances for one in self.layers)

    @property
    def edp(self) -> float:
        """Of the whole: its energy times its cycles, not the sum of the layers' products."""
        return self.energy_pj * self.cycles

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(one.layer.macs * one.layer.instances for one in self.layers)

    @property
    def pe_use(self) -> float:
        """Share of the PEs' cycles in which they compute."""
        return self.macs / (self.cycles * self.architecture.pes)

    @property
    def is_proven(self) -> bool:
        """No layer has a better mapping."""
        return all(one.gap == 0 for one in self.layers)

    @property
    def seconds(self) -> float:
        """That the searches took."""
        return sum(one.seconds for one in self.layers)


def distinct_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Each layer once, with the instances of all that are equal to it."""
    found: dict[tuple[object, ...], Layer] = {}
    for layer in layers:
        first = found.get(layer.shape)
        instances = layer.instances + (first.instances if first else 0)
        found[layer.shape] = replace(first or layer, instances=instances)
    return tuple(found.values())


def map_network(
    layers: Sequence[Layer],
    architecture: Architecture,
    objective: Objective = "edp",
    *,
    seconds: float = SECONDS,
    padded: bool = False,
    as_dmazerunner: bool = False,
    progress: Progress = lambda done, total, name: None,
) -> NetworkResult:
    """The best mapping of each layer.

    Args:
        layers: of the network; equal ones are searched once.
        architecture: on what.
        objective: what is best for each layer.
        seconds: for each layer, at most.
        padded: loops may be padded.
        as_dmazerunner: look only at what dMazeRunner's auto-optimizer looks at.
        progress: called with how many layers are done, of how many, and the name of the next.

    Raises:
        TdseError: a layer has no mapping, or none was found in time.
    """
    distinct = distinct_layers(layers)
    results = []
    for done, layer in enumerate(distinct):
        progress(done, len(distinct), layer.name)
        if as_dmazerunner:
            results.append(dmazerunner_mappings(layer, architecture)[objective])
        else:
            results.append(
                find_mapping(layer, architecture, objective, seconds=seconds, padded=padded)
            )
    return NetworkResult(architecture, tuple(results))
