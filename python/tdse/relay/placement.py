"""Which operator runs where, as far as a module of Relay can say it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tdse.emulation.costs import BoardCosts
from tdse.emulation.emulate import Emulation, emulate
from tdse.emulation.hardware import edgetpu_placement
from tdse.errors import PlacementError, UsageError
from tdse.graph.model import Graph
from tdse.graph.slice import slice_model
from tdse.partitioning import Asked, GivenPlacement
from tdse.place_worker import place_apart
from tdse.platform import Platform, load_platform
from tdse.search.given import given_placement
from tdse.search.placement import PlacedRegion, Placement, parse_pins

# Regions with the attribute Compiler, and what is left to TVM.
LITERT, EDGETPU, LLVM, OPENCL = "litert", "edgetpu", "llvm", "opencl"


def place(graph: Graph, asked: Asked) -> Placement:
    """The placement that is asked for.

    On an emulated platform, ``predicted_us`` of a region is what it takes, transfers included;
    those of ``llvm`` have none.

    Raises:
        UsageError, PlatformError, PlacementError, ModelError: as of ``Partition``.
    """
    options = asked.options
    if options.objective == "throughput":
        raise UsageError(
            "TVM's graph executor runs one item at a time",
            where="objective throughput",
            hint="choose another objective, or compile the model with tdse.compile",
        )
    board = load_platform(options.platform)
    if board.is_emulated:
        placement = _emulated(graph, board, asked)
    else:
        targets = options.targets or (LITERT, LLVM)
        ours = dataclasses.replace(options, targets=targets, one_lane=True)
        wrong = sorted(set(ours.targets or ()) - {LITERT, LLVM})
        if wrong:
            raise UsageError(
                f"a module of Relay cannot be placed on {wrong[0]} by a search",
                why="only what runs here is measured" if wrong[0] == OPENCL else "",
                hint=f"use {LITERT}, {LLVM}",
            )
        # What predicts operators cannot be loaded beside this TVM.
        placement = asked.placement(graph) if asked.given else place_apart(graph, ours)
    for region in placement.regions:
        if region.target not in (LITERT, EDGETPU, LLVM, OPENCL) or len(region.lanes) > 1:
            raise PlacementError(
                f"region {region.index} is for {region.target} on {len(region.lanes)} lanes",
                where=placement.model_name,
                why="a module of Relay has regions of litert, edgetpu, llvm and opencl, once each",
                hint="leave the placement out to have one searched for",
            )
    return placement


def _emulated(graph: Graph, board: Platform, asked: Asked) -> Placement:
    """The placement on an emulated board: Edge TPUs, and a CPU whose regions LiteRT computes."""
    cpu, *others = board.devices
    strange = [device.name for device in others if device.edgetpu is None]
    if cpu.emulated is None or strange:
        raise UsageError(
            f"a module of Relay is for a CPU and Edge TPUs, not for platform {board.name}",
            why=f"{cpu.name}, its first device, is no CPU"
            if cpu.emulated is None
            else f"{', '.join(strange)} is no Edge TPU",
            hint="use another platform, such as rpi4-coral-usb3",
        )
    if asked.given is not None:
        return _given(graph, board, asked.given)
    options = asked.options
    if options.targets or options.threads is not None:
        raise UsageError(
            "an emulated platform has devices with one way to run an operator",
            where="targets" if options.targets else "threads",
            hint="leave it out; a pin OP=DEVICE says where an operator must run, OP=llvm which "
            "operators are left to TVM",
        )
    left = [pin for pin in options.pins if pin.rpartition("=")[2] == LLVM]
    pins = [f"{pin.rpartition('=')[0]}={cpu.name}" if pin in left else pin for pin in options.pins]
    ops = [graph.ops[op] for op in graph.placed_ops]
    rows = parse_pins(left, [op.label for op in ops], [op.kind for op in ops], [LLVM])
    modelled = emulate(
        graph,
        board,
        "correctness",
        objective=options.objective,
        pins=pins,
        seed=options.seed,
        budget_s=options.budget_s,
    )
    return _split(graph, board, modelled, {graph.placed_ops[row] for row in rows})


def _split(graph: Graph, board: Platform, modelled: Emulation, left: set[int]) -> Placement:
    """The placement with operators ``left`` in regions of ``llvm``, for one region after the other.

    The board's cores would run regions side by side; those that then follow each other on the CPU
    are one, and the times are those of regions that run one after the other.
    """
    placement = edgetpu_placement(board, modelled)
    problem = modelled.problem
    row = {op: i for i, op in enumerate(graph.placed_ops)}
    regions: list[PlacedRegion] = []
    for name, target, ops in one_after_the_other(graph, placement.regions, left):
        device = problem.devices.index(name)
        modelled_us = None
        if target == EDGETPU:
            alone_us = next(r.predicted_us or 0 for r in placement.regions if r.ops == ops)
            modelled_us = alone_us + _transfers_us(graph, modelled, ops)
        elif target == LITERT:
            own_us = sum(float(problem.cost_us[row[op], device]) for op in ops)
            modelled_us = float(problem.launch_us[device]) + own_us
        regions.append(
            PlacedRegion(
                index=len(regions),
                device=name,
                target=target,
                ops=tuple(sorted(ops)),
                predicted_us=modelled_us,
            )
        )
    target_of = {op: region.target for region in regions for op in region.ops}
    all_us = None if left else sum(region.predicted_us or 0 for region in regions)
    return placement.model_copy(
        update={
            "ops": tuple(
                op.model_copy(update={"target": target_of[op.index]}) for op in placement.ops
            ),
            "regions": tuple(regions),
            "predicted_us": all_us,
            "predicted_period_us": all_us,
        }
    )


def one_after_the_other(
    graph: Graph, regions: Sequence[PlacedRegion], left: set[int]
) -> list[tuple[str, str, tuple[int, ...]]]:
    """Device, target and operators of what is left of regions that could run side by side.

    Those that follow each other on the CPU are one if they are connected. A region of an Edge TPU
    stays one of its own: it is a compiled model.
    """
    runs: list[tuple[str, str, tuple[int, ...]]] = []
    for region in regions:
        for target, ops in _parts(region, left):
            _, same, before = runs[-1] if runs else ("", "", ())
            pairs = {(u, v) for u, v, _ in graph.edges if u in before and v in ops}
            if same == target != EDGETPU and pairs:
                runs[-1] = region.device, target, (*before, *ops)
            else:
                runs.append((region.device, target, ops))
    return runs


def _parts(region: PlacedRegion, left: set[int]) -> list[tuple[str, tuple[int, ...]]]:
    """A region in parts of one target each; operators are in an order in which they can run."""
    parts: list[tuple[str, tuple[int, ...]]] = []
    for op in region.ops:
        target = LLVM if op in left else region.target
        if parts and parts[-1][0] == target:
            parts[-1] = target, (*parts[-1][1], op)
        else:
            parts.append((target, (op,)))
    return parts


def _transfers_us(graph: Graph, modelled: Emulation, ops: tuple[int, ...]) -> float:
    """What the transfers take that bring a region its inputs and fetch its outputs."""
    piece = slice_model(graph, ops)
    steps = modelled.emulated.steps
    memory = next(step.memory for step in steps if step.ops == ops)
    return sum(
        step.modelled_us
        for step in steps
        if step.tensor is not None
        and (
            (step.memory == memory and step.tensor in piece.inputs)
            or (step.source == memory and step.tensor in piece.outputs)
        )
    )


def _given(graph: Graph, board: Platform, given: GivenPlacement) -> Placement:
    placement = given_placement(graph, given).placement
    refusals = BoardCosts(graph, board).refusals
    for region in placement.regions:
        device = board.device(region.device)
        why = ""
        if device is None:
            why = f"platform {board.name} has no device {region.device!r}"
        elif region.target == OPENCL or (region.target == EDGETPU) != (device.edgetpu is not None):
            why = f"{region.device} does not run what is for {region.target}"
        elif region.target != LLVM and region.predicted_us is None:
            why = "it has no predicted_us, which is what it is to take"
        else:
            refused = (refusals.get((region.device, op), "") for op in region.ops)
            why = next(filter(None, refused), "")
        if why:
            raise PlacementError(
                f"region {region.index} cannot run on {region.device}",
                where=placement.model_name,
                why=why,
                hint="leave the placement out to have one searched for",
            )
    return placement
