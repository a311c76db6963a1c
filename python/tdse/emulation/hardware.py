"""From a modelled placement to one that is built for real Edge TPUs."""

from __future__ import annotations

import time
from collections.abc import Callable

from tdse.child import Child
from tdse.edgetpu.delegate import demand_devices
from tdse.emulation.emulate import Emulation
from tdse.emulation.measured import recorded_as
from tdse.errors import UsageError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.measure.ops import PATIENCE_S
from tdse.measure.records import RecordStore
from tdse.platform.model import Platform
from tdse.search.placement import PlacedRegion, Placement
from tdse.survey import time_regions
from tdse.targets import get_target
from tdse.targets.edgetpu import EdgetpuTarget, edgetpu_name

HARDWARE, COMPILE_ONLY = "hardware", "compile-only"
HOST_TARGET = "litert"
_MOST_ROUNDS = 3


def demand_edgetpu_mode(board: Platform, mode: str, emulate: str | None) -> None:
    """Refuse a mode that is not known or not for this platform, or hardware that is not there.

    Raises:
        UsageError: the mode is not known, or the platform has no Edge TPU.
        TargetError: the mode is ``hardware`` and there are too few Edge TPUs, or none that works.
    """
    where = f"--edgetpu {mode}"
    if mode not in (HARDWARE, COMPILE_ONLY):
        raise UsageError(
            f"there is no mode {mode!r}", where=where, hint=f"choose {HARDWARE} or {COMPILE_ONLY}"
        )
    if emulate is not None:
        raise UsageError("an Edge TPU is emulated or there", where=where, hint="leave one out")
    count = sum(device.edgetpu is not None for device in board.devices)
    others = [d.name for d in board.devices[1:] if d.edgetpu is None]
    if not count or others:
        raise UsageError(
            f"platform {board.name} has no Edge TPU"
            if not count
            else f"{others[0]} of platform {board.name} is neither an Edge TPU nor this machine",
            where=where,
            hint="use a platform of a CPU and Edge TPUs, such as rpi4-coral-usb3",
        )
    if mode == HARDWARE:
        demand_devices(count)


def emulate_measured(
    graph: Graph,
    board: Platform,
    child: Child,
    store: RecordStore,
    emulate: Callable[[], Emulation],
    *,
    seed: int,
    deadline: float,
) -> Emulation:
    """Search and measure in turns, until the regions that are found on Edge TPUs are measured.

    Args:
        graph: the model.
        board: has a CPU, and then Edge TPUs, which are there.
        child: the model's process.
        store: of this machine; takes the times.
        emulate: searches, with what is in the store.
        seed: of the model's inputs.
        deadline: ``time.monotonic()`` after which no measurement is begun.
    """
    target = _targets(board)
    units = {each.name: each.edgetpu for each in board.devices if each.edgetpu is not None}
    found = emulate()
    for _ in range(_MOST_ROUNDS):
        missing = [
            Region(i, target[step.place], step.ops)
            for i, step in enumerate(found.emulated.steps)
            if step.place in units and not step.is_measured
        ]
        if not missing or time.monotonic() > deadline:
            break
        time_regions(
            graph,
            child,
            missing,
            [1],
            store,
            seed=seed,
            deadline=deadline,
            patience_s=PATIENCE_S,
            recorded_as={target[name]: recorded_as(unit) for name, unit in units.items()},
        )
        found = emulate()
    return found


def edgetpu_placement(board: Platform, modelled: Emulation) -> Placement:
    """The placement with what compiles it: LiteRT on the host, ``edgetpu`` on Edge TPUs.

    Links have no lanes any more: their work is part of what an Edge TPU's regions take.

    Args:
        board: has a CPU, and then Edge TPUs.
        modelled: on it.
    """
    target = _targets(board)
    placement = modelled.placement
    used = sorted({lane for region in placement.regions for lane in region.lanes})
    regions = [
        PlacedRegion(
            index=region.index,
            device=region.device,
            target=target[region.device],
            ops=region.ops,
            lanes=tuple(used.index(lane) for lane in region.lanes),
            predicted_us=region.predicted_us,
        )
        for region in placement.regions
    ]
    ops = [op.model_copy(update={"target": target[op.device]}) for op in placement.ops]
    return placement.model_copy(update={"ops": tuple(ops), "regions": tuple(regions)})


def on_host(placement: Placement) -> Placement:
    """The same regions, all on LiteRT."""
    return placement.model_copy(
        update={
            "ops": tuple(o.model_copy(update={"target": HOST_TARGET}) for o in placement.ops),
            "regions": tuple(
                r.model_copy(update={"target": HOST_TARGET}) for r in placement.regions
            ),
        }
    )


def count_edgetpus(placement: Placement) -> int:
    """How many Edge TPUs must be there: up to the one with the highest number."""
    targets = (get_target(region.target) for region in placement.regions)
    numbers = (target.number for target in targets if isinstance(target, EdgetpuTarget))
    return max((number + 1 for number in numbers), default=0)


def measured_regions(modelled: Emulation) -> list[int]:
    """Indices of the placement's regions whose times were measured."""
    steps = [step for step in modelled.emulated.steps if step.tensor is None]
    return [index for index, step in enumerate(steps) if step.is_measured]


def _targets(board: Platform) -> dict[str, str]:
    """Device to target."""
    units = {each.name: each.edgetpu for each in board.devices if each.edgetpu is not None}
    target = {
        name: edgetpu_name(number, unit.runtime)
        for number, (name, unit) in enumerate(units.items())
    }
    return {board.devices[0].name: HOST_TARGET, **target}
