"""What a mapping costs, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Figures:
    """What a layer costs with one mapping. All of it is modelled.

    Attributes:
        cycles: of the PEs, for the layer.
        energy_pj: picojoules, the sum of the components, rounded to whole ones.
        compute_cycles: in which PEs compute.
        pass_cycles: over one tile of the scratchpad, DMA left out.
        dma_cycles: in which the DMA works, if it waits for nothing.
        mac_pj: multiply-accumulates.
        rf_pj: register files.
        noc_pj: networks between scratchpad and PEs, and between PEs.
        spm_pj: scratchpad.
        dram_pj: DRAM.
    """

    cycles: float
    energy_pj: float
    compute_cycles: float
    pass_cycles: float
    dma_cycles: float
    mac_pj: float
    rf_pj: float
    noc_pj: float
    spm_pj: float
    dram_pj: float

    @property
    def stall_cycles(self) -> float:
        """Cycles in which PEs wait."""
        return self.cycles - self.compute_cycles

    @property
    def edp(self) -> float:
        """Energy-delay product, picojoules times cycles."""
        return self.energy_pj * self.cycles

    @staticmethod
    def of(row: Sequence[float]) -> Figures:
        """From a row of ``native.evaluate``."""
        return Figures(*map(float, row))


# In the order of cpp/dataflow/cost.h.
FIGURES = tuple(field.name for field in fields(Figures))
