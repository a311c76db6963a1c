"""Where the operators of a graph are drawn: in layers, each below all that it needs."""

from __future__ import annotations

from collections.abc import Mapping

from tdse.graph.model import Graph


def layers(graph: Graph) -> dict[int, int]:
    """The layer of each placed operator: the longest way to it from an input, 0 first."""
    layer = dict.fromkeys(graph.placed_ops, 0)
    # Operators are in an order in which they can run, so a producer's layer is final.
    for source, sink, _ in sorted(graph.edges, key=lambda edge: edge[1]):
        layer[sink] = max(layer[sink], layer[source] + 1)
    return layer


def columns(graph: Graph, layer: Mapping[int, int]) -> dict[int, float]:
    """The horizontal position of each operator, in widths of one; at least 1 apart in a layer.

    An operator stands below the middle of what it needs, as far as its neighbours leave room, so
    that a chain is a straight line.
    """
    needs: dict[int, list[int]] = {op: [] for op in layer}
    for source, sink, _ in graph.edges:
        needs[sink].append(source)
    members: dict[int, list[int]] = {}
    for op in graph.placed_ops:
        members.setdefault(layer[op], []).append(op)
    position: dict[int, float] = {}
    for depth in sorted(members):
        wanted = {
            op: sum(position[one] for one in needs[op]) / len(needs[op]) if needs[op] else 0.0
            for op in members[depth]
        }
        row = sorted(members[depth], key=lambda op: (wanted[op], op))
        places: list[float] = []
        for op in row:
            places.append(max(wanted[op], places[-1] + 1.0) if places else wanted[op])
        # Packing pushes to the right only; the row as a whole goes back to where it is wanted.
        shift = sum(wanted[op] - place for op, place in zip(row, places, strict=True)) / len(row)
        position |= {op: place + shift for op, place in zip(row, places, strict=True)}
    least = min(position.values(), default=0.0)
    return {op: place - least for op, place in position.items()}
