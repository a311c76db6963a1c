"""The pictures of a report, as inline SVG: the placed graph, and the run on its lanes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tdse.graph.model import Graph
from tdse.report.gather import Facts
from tdse.report.layers import Spot, layout
from tdse.report.text import escaped, time_text

# Sizes in pixels.
_NODE_WIDTH, _NODE_HEIGHT = 148, 24
_COLUMN, _LAYER = 164, 44
_MARGIN = 12
_LABEL_CHARACTERS = 20
_TIMELINE_WIDTH, _LANE, _BAR, _LANE_NAMES = 1000, 26, 20, 150
# Half a label of the time axis may stand out on the right.
_TICK_OVERHANG = 40
# A bar that is narrower than its name has none.
_CHARACTER = 7


def graph_svg(graph: Graph, group: Mapping[int, int], about: Callable[[int], str]) -> str:
    """The operators, each a link to its row of the table, coloured by where it runs.

    Args:
        graph: the model.
        group: operator index to the number of its colour.
        about: what a tooltip says of an operator.
    """
    drawn = layout(graph)
    left = {spot: _MARGIN + round(x * _COLUMN) for spot, x in drawn.column.items()}
    top = {op: _MARGIN + depth * _LAYER for op, depth in drawn.layer.items()}
    width = max(left.values(), default=0) + _NODE_WIDTH + _MARGIN
    height = max(top.values(), default=0) + _NODE_HEIGHT + _MARGIN
    lines = [_line(upper, lower, left, drawn.layer) for upper, lower in drawn.lines]
    nodes = [
        f'<a href="#op{op}" data-op="{op}" class="p{group[op]}">'
        f'<rect x="{x}" y="{top[op]}" width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="4"/>'
        f'<text x="{x + 6}" y="{top[op] + 16}">{escaped(_short(graph.ops[op].label))}</text>'
        f"<title>{escaped(about(op))}</title></a>"
        for op, x in ((op, left[Spot(op, drawn.layer[op])]) for op in graph.placed_ops)
    ]
    return (
        f'<svg id="graph" role="group" aria-label="the operators in layers" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}"><path class="edge" '
        f'd="{"".join(lines)}"/>{"".join(nodes)}</svg>'
    )


def _line(upper: Spot, lower: Spot, left: Mapping[Spot, int], layer: Mapping[int, int]) -> str:
    """From the bottom of one spot to the top of the next, and past that if it is a wire."""
    half = _NODE_WIDTH // 2
    y = _MARGIN + upper.layer * _LAYER + _NODE_HEIGHT
    below = _MARGIN + lower.layer * _LAYER
    past = f"V{below + _NODE_HEIGHT}" if lower.layer != layer[lower.op] else ""
    return f"M{left[upper] + half} {y}L{left[lower] + half} {below}{past}"


def timeline_svg(facts: Facts, group: Mapping[str, int]) -> str:
    """Predicted and measured run, one below the other on one scale.

    Args:
        facts: of the artefact.
        group: place to the number of its colour.
    """
    measured = [(run.region, run.lane, run.start_us, run.end_us) for run in facts.run]
    position = {region.name: i for i, region in enumerate(facts.regions)}
    predicted = [
        (position[one.name], one.lane, one.start_us, one.start_us + one.time_us)
        for one in facts.predicted
    ]
    end_us = max((bar[3] for bar in [*measured, *predicted]), default=1.0) or 1.0
    parts: list[str] = []
    y = 0
    for what, bars in (("predicted", predicted), ("measured", measured)):
        if not bars:
            continue
        length = time_text(max(bar[3] for bar in bars))
        parts.append(f'<text class="head" x="0" y="{y + 16}">{what}: {length}</text>')
        y += _LANE
        for lane, name in enumerate(facts.lanes):
            of_lane = [bar for bar in bars if bar[1] == lane]
            parts.append(f'<text x="0" y="{y + 15}">{escaped(_short(name))}</text>')
            parts += [_bar(facts, group, what, bar, y, end_us) for bar in of_lane]
            y += _LANE
    ticks = [
        (_LANE_NAMES + at_us * _TIMELINE_WIDTH / end_us, time_text(at_us))
        for at_us in _ticks(end_us)
    ]
    grid = "".join(f"M{x:.1f} 0V{y}" for x, _ in ticks)
    parts.insert(0, f'<path class="grid" d="{grid}"/>')
    parts += [f'<text class="tick" x="{x:.1f}" y="{y + 12}">{text}</text>' for x, text in ticks]
    y += _LANE
    width = _LANE_NAMES + _TIMELINE_WIDTH + _TICK_OVERHANG
    return (
        f'<svg id="timeline" role="group" aria-label="the run on its lanes" width="{width}" '
        f'height="{y}" viewBox="0 0 {width} {y}">{"".join(parts)}</svg>'
    )


def _ticks(end_us: float) -> list[float]:
    """Round times from 0 to the end, at most ten."""
    power = 10.0 ** math.floor(math.log10(end_us))
    step = next(step for step in (power / 5, power / 2, power) if end_us / step <= 10)
    return [i * step for i in range(int(end_us / step) + 1)]


def _bar(
    facts: Facts,
    group: Mapping[str, int],
    what: str,
    bar: tuple[int, int, float, float],
    y: int,
    end_us: float,
) -> str:
    region = facts.regions[bar[0]]
    scale = _TIMELINE_WIDTH / end_us
    x, width = _LANE_NAMES + bar[2] * scale, max(0.5, (bar[3] - bar[2]) * scale)
    name = region.name if len(region.name) * _CHARACTER < width else ""
    about = f"{region.name}, {what}: {time_text(bar[3] - bar[2])} from {time_text(bar[2])}"
    return (
        f'<g class="p{group[region.place]}"><rect x="{x:.1f}" y="{y}" width="{width:.1f}" '
        f'height="{_BAR}"/><text x="{x + 4:.1f}" y="{y + 15}">{escaped(name)}</text>'
        f"<title>{escaped(about)}</title></g>"
    )


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"


def groups(places: Sequence[str], colours: int) -> dict[str, int]:
    """The number of each place's colour; the last one is for all that are too many."""
    return {place: min(i, colours - 1) for i, place in enumerate(dict.fromkeys(places))}
