"""What a user may want to be small, and the power figures that energy is modelled from."""

from __future__ import annotations

from collections.abc import Sequence

from tdse.errors import PlatformError, UsageError
from tdse.platform import Device, Platform
from tdse.search.objectives import OBJECTIVES, Objective, uses_energy

PARETO = "pareto"
GOALS: dict[str, tuple[Objective, ...]] = {
    **{objective: (objective,) for objective in OBJECTIVES},
    PARETO: ("latency", "energy"),
}
"""What ``--objective`` takes, and what is minimised for it."""


def goals_of(objective: str) -> tuple[Objective, ...]:
    """What is minimised for an objective that a user names.

    Raises:
        UsageError: there is no such objective.
    """
    if objective not in GOALS:
        raise UsageError(f"objective {objective!r} is not known", hint=f"choose {', '.join(GOALS)}")
    return GOALS[objective]


def demand_power(platform: Platform, objective: str, targets: Sequence[str]) -> None:
    """Refuse an objective that needs energies which cannot be modelled.

    Args:
        platform: may have power figures.
        objective: as a user names it.
        targets: that may be used.

    Raises:
        PlatformError: it says which figures there are not.
    """
    if not any(map(uses_energy, goals_of(objective))):
        return
    device = platform.devices[0]
    for target in targets:
        if target not in device.targets:
            raise PlatformError(
                f"the objective {objective} needs the energy of a run, which is not known",
                where=f"platform {platform.name}",
                why=f"energy is modelled for {device.name} only, and {target} is not on it",
                hint=f"choose targets with --targets, for example {','.join(device.targets)}",
            )
    if device.active_w_per_core is None:
        raise PlatformError(
            f"the objective {objective} needs the energy of a run, which is not known",
            where=f"platform {platform.name}",
            why=f"device {device.name} has no power figures to model it from",
            hint="set active_w_per_core, and idle_w, of the device in a platform file, "
            "and give that with --platform",
        )


def active_w(device: Device, threads: int) -> float:
    """Watts that a region with so many threads adds, modelled; 0 without power figures."""
    return (device.active_w_per_core or 0.0) * min(threads, device.cores)


def idle_w(device: Device) -> float:
    """Watts that are drawn at any time; 0 where they are not known."""
    return device.idle_w or 0.0
