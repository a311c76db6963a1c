"""A placement that a user gives for an emulated board: the schedule that follows from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tdse.emulation.costs import BoardCosts
from tdse.errors import PlacementError
from tdse.platform.model import Platform
from tdse.search import Problem
from tdse.search.native import Evaluator
from tdse.search.placement import Placement
from tdse.search.schedule import Genes, Outcome, Rule

_HINT = "leave --placement out to have one searched for"


def given_outcome(
    costs: BoardCosts, problem: Problem, placement: Placement, targets: Mapping[str, str]
) -> tuple[Outcome, bool]:
    """The schedule of a placement, in which its regions have the precedence that they have there.

    Args:
        costs: of the model, which the placement was checked against, on the board.
        problem: of placing it there.
        placement: its regions can run in their order.
        targets: name of a device to the one that its operators must be for.

    Returns:
        The outcome, and whether regions have a copy on each unit of their device.

    Raises:
        PlacementError: it is not for this board, or the board cannot run it.
    """
    graph, board = costs.graph, costs.board
    _demand_for(costs, placement, targets)
    region_of = {op: region.index for region in placement.regions for op in region.ops}
    regions = [region_of[op] for op in graph.placed_ops]
    device = {op.index: problem.devices.index(op.device) for op in placement.ops}
    # The first region is the most urgent, by more than all of a run can outweigh.
    step_us = float(problem.cost_us[np.isfinite(problem.cost_us)].sum() + problem.launch_us.sum())
    genes = Genes(
        [device[op] for op in graph.placed_ops],
        [regions[u] != regions[v] for u, v in problem.links],
        [
            step_us * (len(placement.regions) - region) / len(placement.regions[region].ops)
            for region in regions
        ],
    )
    outcome = Evaluator(problem).outcome(genes)
    broken = [rule for rule in Rule if outcome.violations[rule] > 0]
    if broken:
        raise _refused(
            "the board cannot run the placement",
            board,
            "constants exceed what a device holds"
            if broken == [Rule.PARAMETERS]
            else f"it breaks the rules {', '.join(rule.name.lower() for rule in broken)}",
        )
    made = {tuple(graph.placed_ops[row] for row in one.ops) for one in outcome.schedule.regions}
    for region in placement.regions:
        if region.ops not in made:
            raise _refused(
                f"region {region.index} cannot be launched as one",
                board,
                "it waits for another region, and that for it",
            )
    return outcome, _has_copies(board, placement)


def _demand_for(costs: BoardCosts, placement: Placement, targets: Mapping[str, str]) -> None:
    board = costs.board
    for op in placement.ops:
        if op.target != targets.get(op.device, op.target) or op.target not in targets.values():
            raise _refused(
                "the placement is not for an emulated board",
                board,
                f"{op.label} is for the target {op.target}",
            )
        if board.device(op.device) is None:
            raise _refused(
                f"there is no device {op.device}", board, f"the placement has {op.label} there"
            )
        why = costs.refusals.get((op.device, op.index))
        if why is not None:
            raise _refused(f"{op.label} does not run on {op.device}", board, why)


def _has_copies(board: Platform, placement: Placement) -> bool:
    """Whether regions have copies.

    Raises:
        PlacementError: they have, but not one on each unit of their devices.
    """
    if all(len(region.lanes) == 1 for region in placement.regions):
        return False
    cores = {device.name: device.cores for device in board.devices}
    for region in placement.regions:
        if len(region.lanes) != cores[region.device]:
            raise _refused(
                f"region {region.index} has {len(region.lanes)} lanes",
                board,
                f"where regions have copies, each has one on all {cores[region.device]} units of "
                f"{region.device}",
            )
    return True


def _refused(what: str, board: Platform, why: str) -> PlacementError:
    return PlacementError(what, where=f"platform {board.name}", why=why, hint=_HINT)
