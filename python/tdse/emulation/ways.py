"""Placements on an emulated board, each with what it costs there.

What an operator costs on an Edge TPU depends on what else is there: parameters that do not fit
into its memory are sent for each run. So the search is given a set of such operators, and is asked
again if those of what it finds are others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.edgetpu import cost
from tdse.edgetpu.mapping import compiler_mapping
from tdse.edgetpu.parameters import parameter_bytes
from tdse.emulation.costs import emulated_problem, refusal, streamed_ops, unit_of
from tdse.graph.model import Graph
from tdse.platform.model import Platform
from tdse.search import Found, Problem, search
from tdse.search.native import Evaluator
from tdse.search.objectives import Objective
from tdse.search.schedule import Genes, Outcome

_MOST_ROUNDS = 3


@dataclass(frozen=True)
class Way:
    """A placement on a board.

    Attributes:
        problem: with the costs that hold for this placement.
        outcome: its schedule.
        first_run_us: what the first run takes besides; None where there is no Edge TPU.
    """

    problem: Problem
    outcome: Outcome
    first_run_us: float | None


def find_ways(
    graph: Graph,
    board: Platform,
    pins: Mapping[int, str],
    goals: Sequence[Objective],
    *,
    seed: int,
    seconds: float,
) -> tuple[Found, list[Way]]:
    """How the last search ended, and all that the searches found, as ways.

    Args:
        graph: the model.
        board: an emulated platform.
        pins: as of ``emulated_problem``.
        goals: what is to be small.
        seed: of the search.
        seconds: of all searches together.

    Raises:
        ModelError, PlacementError, PlatformError: as ``emulated_problem`` and ``search``.
    """
    streamed = streamed_ops(graph, board, _all_that_can(graph, board))
    ways: list[Way] = []
    for left in range(_MOST_ROUNDS, 0, -1):
        problem = emulated_problem(graph, board, pins, streamed)
        # Most searches settle long before.
        found = search(problem, goals, seed=seed, seconds=seconds / left)
        seconds -= min(seconds, found.seconds)
        ways += [_way(graph, board, pins, one.genes) for one in found.candidates]
        best = _devices(graph, board, found.candidates[0].genes)
        actual = streamed_in(graph, board, best)
        if actual == streamed:
            break
        streamed = actual
    return found, ways


def compiler_way(graph: Graph, board: Platform, pins: Mapping[int, str]) -> Way | None:
    """edgetpu_compiler's own placement: one region on the first Edge TPU, the rest on the host.

    None where there is no Edge TPU, or the host or a pin would not have it.
    """
    found = [i for i, device in enumerate(board.devices) if device.edgetpu is not None]
    if not found:
        return None
    tpu, unit = found[0], board.devices[found[0]].edgetpu
    assert unit is not None, "it is one"
    mapped = compiler_mapping(graph, unit.runtime).mapped
    variants = [tpu if op in mapped else 0 for op in graph.placed_ops]
    for row, (op, variant) in enumerate(zip(graph.placed_ops, variants, strict=True)):
        device = board.devices[variant]
        if pins.get(row, device.name) != device.name or refusal(graph, op, unit_of(device)):
            return None
    return _way(graph, board, pins, Genes(tuple(variants)))


def streamed_in(graph: Graph, board: Platform, device: Mapping[int, str]) -> frozenset[int]:
    """What is streamed in a placement.

    Args:
        graph: the model.
        board: an emulated platform.
        device: of each operator that is placed.
    """
    return streamed_ops(graph, board, _placed(board, device))


def first_run_us(graph: Graph, board: Platform, device: Mapping[int, str]) -> float | None:
    """What the first run of a placement takes besides; None without an Edge TPU."""
    streamed = streamed_in(graph, board, device)
    cached = [
        parameter_bytes(graph, op)
        for index, ops in _placed(board, device).items()
        if board.devices[index].edgetpu is not None
        for op in ops
        if op not in streamed
    ]
    return cost.first_run_us(sum(cached)) if cached else None


def _way(graph: Graph, board: Platform, pins: Mapping[int, str], genes: Genes) -> Way:
    device = _devices(graph, board, genes)
    problem = emulated_problem(graph, board, pins, streamed_in(graph, board, device))
    outcome = Evaluator(problem).outcome(genes)
    return Way(problem, outcome, first_run_us(graph, board, device))


def _devices(graph: Graph, board: Platform, genes: Genes) -> dict[int, str]:
    """The device of each operator; a problem's variants are the devices."""
    return {
        op: board.devices[int(variant)].name
        for op, variant in zip(graph.placed_ops, genes.variants, strict=True)
    }


def _placed(board: Platform, device: Mapping[int, str]) -> dict[int, list[int]]:
    """Position of a device to the operators on it, ascending."""
    return {
        index: sorted(op for op, name in device.items() if name == each.name)
        for index, each in enumerate(board.devices)
    }


def _all_that_can(graph: Graph, board: Platform) -> dict[int, list[int]]:
    """Every operator on each device that runs it."""
    return {
        index: [op for op in graph.placed_ops if not refusal(graph, op, unit_of(device))]
        for index, device in enumerate(board.devices)
        if device.edgetpu is not None
    }
