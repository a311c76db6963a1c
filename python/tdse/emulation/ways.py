"""Placements on an emulated board, each with what it costs there.

What an operator costs on an Edge TPU depends on what else is there: parameters that do not fit
into its memory are sent for each run. So the search is given a set of such operators: the largest;
none, and then no Edge TPU may have more than it holds; and those of what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdse.edgetpu import cost
from tdse.edgetpu.mapping import compiler_mapping
from tdse.edgetpu.parameters import parameter_bytes
from tdse.emulation.costs import BoardCosts
from tdse.errors import PlacementError
from tdse.search import Found, Problem, search
from tdse.search.native import Evaluator
from tdse.search.objectives import Objective
from tdse.search.schedule import Genes, Outcome

_MOST_ROUNDS = 4


@dataclass(frozen=True)
class Way:
    """A placement on a board.

    Attributes:
        problem: with the costs that hold for this placement.
        outcome: its schedule.
        first_run_us: what the first run takes besides; None where there is no Edge TPU.
        measured: operators of each region whose time was measured.
    """

    problem: Problem
    outcome: Outcome
    first_run_us: float | None
    measured: frozenset[tuple[int, ...]] = frozenset()


def find_genes(
    costs: BoardCosts, goals: Sequence[Objective], *, seed: int, seconds: float
) -> tuple[Found, list[Genes]]:
    """How the last search ended, and all that the searches found.

    Args:
        costs: of the model on the board.
        goals: what is to be small.
        seed: of the search.
        seconds: of all searches together.

    Raises:
        ModelError, PlacementError, PlatformError: as ``BoardCosts.problem`` and ``search``.
    """
    largest, nothing = costs.streamed_ops(_all_that_can(costs)), frozenset[int]()
    waiting = [(largest, False), (nothing, bool(largest))]
    tried: set[tuple[frozenset[int], bool, float]] = set()
    genes: list[Genes] = []
    # Where nothing depends on what is found, one search has all the time.
    rounds = _MOST_ROUNDS if largest or costs.has_records else 1
    for left in range(rounds, 0, -1):
        fresh = [each for each in waiting if (*each, costs.correction) not in tried]
        if not fresh:
            break
        streamed, is_held = fresh[0]
        tried.add((streamed, is_held, costs.correction))
        problem = costs.problem(streamed, is_held=is_held)
        try:
            # Most searches settle long before.
            found = search(problem, goals, seed=seed, seconds=seconds / left)
        except PlacementError:
            if not is_held:
                raise
            # Pins may ask for more than the Edge TPUs hold.
            continue
        seconds -= min(seconds, found.seconds)
        candidates = [one.genes for one in found.candidates]
        genes += candidates
        waiting.append((streamed_in(costs, _devices(costs, candidates[0])), False))
        # Looks up what was measured.
        for one in candidates:
            way_of(costs, one)
    return found, genes


def compiler_genes(costs: BoardCosts) -> Genes | None:
    """edgetpu_compiler's own placement: one region on the first Edge TPU, the rest on the host.

    None where there is no Edge TPU, or the host or a pin would not have it.
    """
    graph, devices = costs.graph, costs.board.devices
    found = [i for i, device in enumerate(devices) if device.edgetpu is not None]
    if not found:
        return None
    tpu, unit = found[0], devices[found[0]].edgetpu
    assert unit is not None, "it is one"
    mapped = compiler_mapping(graph, unit.runtime).mapped
    variants = [tpu if op in mapped else 0 for op in graph.placed_ops]
    for row, (op, variant) in enumerate(zip(graph.placed_ops, variants, strict=True)):
        name = devices[variant].name
        if costs.pins.get(row, name) != name or (name, op) in costs.refusals:
            return None
    return Genes(tuple(variants))


def way_of(costs: BoardCosts, genes: Genes) -> Way:
    """What a placement costs."""
    device = _devices(costs, genes)
    streamed = streamed_in(costs, device)
    problem = costs.problem(streamed)
    outcome = Evaluator(problem).outcome(genes)
    measured = costs.measured_in(outcome.schedule.regions, streamed)
    if measured:
        problem = costs.problem(streamed, measured)
        outcome = Evaluator(problem).outcome(genes)
    regions = frozenset(ops for _, ops in measured)
    return Way(problem, outcome, first_run_us(costs, device), regions)


def streamed_in(costs: BoardCosts, device: Mapping[int, str]) -> frozenset[int]:
    """What is streamed in a placement.

    Args:
        costs: of the model on the board.
        device: of each operator that is placed.
    """
    return costs.streamed_ops(_placed(costs, device))


def first_run_us(costs: BoardCosts, device: Mapping[int, str]) -> float | None:
    """What the first run of a placement takes besides; None without an Edge TPU."""
    streamed = streamed_in(costs, device)
    cached = [
        parameter_bytes(costs.graph, op)
        for index, ops in _placed(costs, device).items()
        if costs.board.devices[index].edgetpu is not None
        for op in ops
        if op not in streamed
    ]
    return cost.first_run_us(sum(cached)) if cached else None


def _devices(costs: BoardCosts, genes: Genes) -> dict[int, str]:
    """The device of each operator; a problem's variants are the devices."""
    return {
        op: costs.board.devices[int(variant)].name
        for op, variant in zip(costs.graph.placed_ops, genes.variants, strict=True)
    }


def _placed(costs: BoardCosts, device: Mapping[int, str]) -> dict[int, list[int]]:
    """Position of a device to the operators on it, ascending."""
    return {
        index: sorted(op for op, name in device.items() if name == each.name)
        for index, each in enumerate(costs.board.devices)
    }


def _all_that_can(costs: BoardCosts) -> dict[int, list[int]]:
    """Every operator on each device that runs it."""
    return {
        index: [op for op in costs.graph.placed_ops if (device.name, op) not in costs.refusals]
        for index, device in enumerate(costs.board.devices)
    }
