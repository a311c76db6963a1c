"""Where a graph is drawn: operators in layers, each below all that it needs; wires past them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.graph.model import Graph

# In widths of an operator. A wire gives way to an operator, so that a chain stays straight beside
# what passes it.
_WIRE_WIDTH = 0.14
_OP_WEIGHT, _WIRE_WEIGHT = 50.0, 1.0


@dataclass(frozen=True, order=True)
class Spot:
    """An operator in its layer or, in a later one, the wire of its results on the way past it."""

    op: int
    layer: int


@dataclass(frozen=True)
class Layout:
    """A drawing of a graph.

    Attributes:
        layer: of each placed operator, 0 first.
        column: horizontal position of each spot, the middle, in widths of an operator, 0 leftmost.
        lines: from a spot to one in the next layer.
    """

    layer: Mapping[int, int]
    column: Mapping[Spot, float]
    lines: tuple[tuple[Spot, Spot], ...]


def layout(graph: Graph) -> Layout:
    """Draw ``graph`` such that no line runs behind an operator that it does not belong to.

    A spot stands below the middle of what leads to it, as far as its neighbours leave room.
    """
    layer = layers(graph)
    lines = _lines(graph, layer)
    above: dict[Spot, list[Spot]] = {Spot(op, depth): [] for op, depth in layer.items()}
    for upper, lower in lines:
        above.setdefault(lower, []).append(upper)
    rows: dict[int, list[Spot]] = {}
    for spot in above:
        rows.setdefault(spot.layer, []).append(spot)
    column: dict[Spot, float] = {}
    for depth in sorted(rows):
        wanted = {spot: _middle(above[spot], layer, column) for spot in rows[depth]}
        row = sorted(rows[depth], key=lambda s: (wanted[s], _is_wire(s, layer), s))
        column |= _spread(row, wanted, layer)
    least = min(column.values(), default=0.0)
    return Layout(layer, {spot: x - least for spot, x in column.items()}, lines)


def layers(graph: Graph) -> dict[int, int]:
    """The layer of each placed operator: the longest way to it from an input, 0 first."""
    layer = dict.fromkeys(graph.placed_ops, 0)
    # Operators are in an order in which they can run, so a producer's layer is final.
    for source, sink, _ in sorted(graph.edges, key=lambda edge: edge[1]):
        layer[sink] = max(layer[sink], layer[source] + 1)
    return layer


def _lines(graph: Graph, layer: Mapping[int, int]) -> tuple[tuple[Spot, Spot], ...]:
    """Through every layer on the way; what goes from one operator to several shares its wire."""
    found: dict[tuple[Spot, Spot], None] = {}
    for source, sink, _ in graph.edges:
        way = [Spot(source, depth) for depth in range(layer[source], layer[sink])]
        found |= dict.fromkeys(zip(way, [*way[1:], Spot(sink, layer[sink])], strict=True))
    return tuple(found)


def _is_wire(spot: Spot, layer: Mapping[int, int]) -> bool:
    return spot.layer != layer[spot.op]


def _weight(spot: Spot, layer: Mapping[int, int]) -> float:
    return _WIRE_WEIGHT if _is_wire(spot, layer) else _OP_WEIGHT


def _middle(spots: Sequence[Spot], layer: Mapping[int, int], column: Mapping[Spot, float]) -> float:
    weights = [_weight(spot, layer) for spot in spots]
    total = sum(column[spot] * weight for spot, weight in zip(spots, weights, strict=True))
    return total / sum(weights) if weights else 0.0


def _spread(
    row: Sequence[Spot], wanted: Mapping[Spot, float], layer: Mapping[int, int]
) -> dict[Spot, float]:
    """Positions in the order of ``row`` without overlap, closest to the wanted ones.

    Least weighted squares: what remains of each wanted position without the room that those to the
    left of it take must not fall, so neighbours that would make it fall are pooled.
    """
    widths = [_WIRE_WIDTH if _is_wire(spot, layer) else 1.0 for spot in row]
    room, taken = [], 0.0
    for width in widths:
        room.append(taken + width / 2)
        taken += width
    # Each pool: its mean, its weight, how many it holds.
    pools: list[tuple[float, float, int]] = []
    for spot, offset in zip(row, room, strict=True):
        pool = (wanted[spot] - offset, _weight(spot, layer), 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, weight, count = pools.pop()
            both = weight + pool[1]
            pool = ((mean * weight + pool[0] * pool[1]) / both, both, count + pool[2])
        pools.append(pool)
    means = [mean for mean, _, count in pools for _ in range(count)]
    return {spot: mean + offset for spot, mean, offset in zip(row, means, room, strict=True)}
