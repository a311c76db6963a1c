"""What a board is, as it tells others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tdse.measure.conditions import Conditions, current_conditions
from tdse.platform.discover import discover_host

if TYPE_CHECKING:
    from tdse.platform.model import Device


@dataclass(frozen=True)
class Board:
    """What is asked of a board before it is used.

    Attributes:
        conditions: under which it measures.
        triple: LLVM's target triple of its processor.
        mcpu: LLVM's name of the processor or of its level; empty where it is not known.
        features: extensions of it that compiled kernels may use.
    """

    conditions: Conditions
    triple: str
    mcpu: str
    features: tuple[str, ...]

    @property
    def isa(self) -> str:
        """The architecture, for example ``x86_64``."""
        return self.triple.partition("-")[0]

    def processor_elsewhere(self) -> Device | None:
        """What kernels for it are compiled for; None if those for this machine run there."""
        # Who only runs artefacts has no need of it.
        from tdse.platform.model import Device

        here = this_board()
        if self.isa == here.isa and set(here.features) <= set(self.features):
            return None
        return Device(
            name="cpu",
            targets=("litert", "llvm"),
            cores=self.conditions.cores,
            triple=self.triple,
            mcpu=self.mcpu,
            features=self.features,
            model_name=self.conditions.cpu,
        )


def this_board() -> Board:
    """The machine that this process runs on, as a board."""
    device = discover_host().devices[0]
    return Board(current_conditions(), device.triple, device.mcpu, device.features)


def describe() -> str:
    """``this_board()`` as JSON."""
    return json.dumps(asdict(this_board()))
