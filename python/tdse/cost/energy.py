"""Energy of one run, with its source: measured by a sensor, or modelled from power figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tdse.cost.table import MEASURED, MODELLED
from tdse.platform.model import Device


@dataclass(frozen=True)
class Energy:
    """Energy of one run above that of an idle machine.

    Attributes:
        energy_mj: millijoules.
        source: ``measured`` or ``modelled``.
    """

    energy_mj: float
    source: Literal["measured", "modelled"]

    def __str__(self) -> str:
        return f"{self.energy_mj:.3g} mJ ({self.source})"


def energy_of(
    device: Device, latency_us: float, busy_cores: float, *, measured_mj: float | None = None
) -> Energy | None:
    """The energy of a run on ``device``: as measured, else from its power figures, else None.

    Args:
        device: where it runs.
        latency_us: of the run, microseconds.
        busy_cores: cores that work on average during the run.
        measured_mj: what ``measure_energy`` found above idle, if there was a sensor.
    """
    if measured_mj is not None:
        return Energy(measured_mj, MEASURED)
    if device.active_w_per_core is None:
        return None
    # A microsecond of a watt is a thousandth of a millijoule.
    return Energy(device.active_w_per_core * busy_cores * latency_us / 1e3, MODELLED)
