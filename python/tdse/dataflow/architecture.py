"""An accelerator as a description: PEs, memories, DMA and what each costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, model_validator

from tdse.errors import PlatformError
from tdse.faults import Record, faults_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=2**30)]


class _Record(Record):
    model_config = ConfigDict(validate_default=True)


class EnergyPj(_Record):
    """Picojoules of one operation, or of moving one element.

    Attributes:
        mac: a multiply-accumulate.
        rf: an access to a register file.
        noc: an element that a PE receives or sends.
        spm: an access to the scratchpad.
        dram: an access to DRAM.
    """

    mac: _NotNegative
    rf: _NotNegative
    noc: _NotNegative
    spm: _NotNegative
    dram: _NotNegative


class Growth(_Record):
    """How costs change with the size of a memory: as its power, from the size described.

    The defaults are those of dMazeRunner's study of memory sizes: a register file's energy grows
    with its size, a scratchpad's by half with each doubling.

    Attributes:
        rf_energy_exponent: of the energy of an access to a register file.
        spm_energy_exponent: of the energy of an access to the scratchpad.
    """

    rf_energy_exponent: _NotNegative = 1.0
    spm_energy_exponent: _NotNegative = 0.5849625007211562


class Area(_Record):
    """Weights of the area proxy, in bytes of scratchpad that take as much area. Not measured.

    Attributes:
        pe: a PE without its register file.
        rf_byte: a byte of a register file.
    """

    pe: _NotNegative = 1000.0
    rf_byte: _NotNegative = 4.0


class Architecture(_Record):
    """A two-dimensional array of PEs with register files, a scratchpad, and DRAM behind a DMA.

    Attributes:
        name: for people.
        pes: processing elements.
        rf_bytes: register file of one PE, bytes.
        spm_kib: scratchpad, KiB; it is a double buffer, so a tile has half of it.
        spm_bank_bytes: bank of the scratchpad, bytes; a bank holds one operand.
        element_bytes: of every operand.
        clock_mhz: of the PEs.
        dma_clock_mhz: of the DMA.
        dma_init_cycles: of the DMA's clock, for each burst.
        dma_cycles_per_byte: of the DMA's clock.
        energy_pj: what each operation costs.
        growth: how that changes in an exploration.
        area: weights of the area proxy.
    """

    name: str = "accelerator"
    pes: _Count
    rf_bytes: _Count
    spm_kib: _Positive
    spm_bank_bytes: _Count = 2048
    element_bytes: _Count
    clock_mhz: _Positive
    dma_clock_mhz: _Positive
    dma_init_cycles: _NotNegative
    dma_cycles_per_byte: _NotNegative
    energy_pj: EnergyPj
    growth: Growth = Growth()
    area: Area = Area()

    @property
    def rf_elements(self) -> float:
        """Elements that the register file of one PE holds."""
        return self.rf_bytes / self.element_bytes

    @property
    def spm_banks(self) -> float:
        """Banks of one half of the double buffer."""
        return self.spm_kib * 1024 / 2 / self.spm_bank_bytes

    @property
    def area_proxy(self) -> float:
        """Area in bytes of scratchpad that take as much."""
        pe = self.area.pe + self.rf_bytes * self.area.rf_byte
        return self.pes * pe + self.spm_kib * 1024

    def resized(self, *, pes: int, rf_bytes: int, spm_kib: float) -> Architecture:
        """This accelerator with other sizes, and the energies that ``growth`` gives them."""
        rf = (rf_bytes / self.rf_bytes) ** self.growth.rf_energy_exponent
        spm = (spm_kib / self.spm_kib) ** self.growth.spm_energy_exponent
        energy_pj = self.energy_pj.model_copy(
            update={"rf": self.energy_pj.rf * rf, "spm": self.energy_pj.spm * spm}
        )
        fields = {**dict(self), "pes": pes, "rf_bytes": rf_bytes, "spm_kib": spm_kib}
        return Architecture(**{**fields, "energy_pj": energy_pj})

    @model_validator(mode="after")
    def _holds_a_tile(self) -> Architecture:
        if self.rf_elements < 3:
            raise ValueError(
                f"rf_bytes is {self.rf_bytes}, too small for one element of each operand, "
                f"which take {3 * self.element_bytes}"
            )
        if self.spm_banks < 3:
            raise ValueError(
                f"spm_kib is {self.spm_kib:g}, too small for one bank of {self.spm_bank_bytes} "
                "bytes for each operand, twice; it needs "
                f"{6 * self.spm_bank_bytes / 1024:g}, or less in spm_bank_bytes"
            )
        return self


def load_architecture(path: str | Path) -> Architecture:
    """The accelerator that a file describes.

    Args:
        path: ``.toml`` or ``.json`` with the fields of ``Architecture``, or an ``arch_spec.json``
            of dMazeRunner.

    Raises:
        PlatformError: the file cannot be read or is wrong; all faults are told at once.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise PlatformError(
            "cannot read the architecture",
            where=str(path),
            why=getattr(error, "strerror", None) or str(error),
        ) from error
    try:
        fields = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlatformError("the architecture is wrong", where=str(path), why=str(error)) from error
    if isinstance(fields, dict) and "arch_basic" in fields:
        fields = _of_dmazerunner(fields, path)
    try:
        return Architecture.model_validate({"name": path.stem, **fields})
    except (ValidationError, TypeError) as error:
        faults = faults_of(error, Architecture) if isinstance(error, ValidationError) else []
        raise PlatformError(
            "the architecture is wrong",
            where=str(path),
            why="; ".join(faults) or "it is not a table of fields",
            hint="docs/dataflow.md lists the fields and their units",
        ) from error


class _Basic(Record):
    CGRA_SIZE: int
    RF_SIZE: int
    BYTES_PER_DATA: int
    TOTAL_BANKS_IN_SPM: int
    TOTAL_BYTES_IN_BANK: int


class _Details(Record):
    pe_pipelined: bool
    pe_pipeline_stages: int
    data_type_size_in_bytes: int
    dma_init_cycles: float
    dma_cycles_per_byte: float
    dma_frequency: float
    dataflow_accel_frequency: float
    rf_energy: float
    communication_energy: float
    spm_energy: float
    dram_energy: float
    mac_energy: float


class _ArchSpec(Record):
    arch_details: _Details
    arch_basic: _Basic

    @model_validator(mode="after")
    def _one_type(self) -> _ArchSpec:
        if self.arch_details.data_type_size_in_bytes != self.arch_basic.BYTES_PER_DATA:
            raise ValueError("data_type_size_in_bytes and BYTES_PER_DATA differ")
        if not self.arch_details.pe_pipelined:
            raise ValueError("pe_pipelined is false: only pipelined PEs are modelled")
        return self


def _of_dmazerunner(fields: dict[str, Any], path: Path) -> dict[str, Any]:
    """The fields of ``Architecture`` from those of an ``arch_spec.json``."""
    try:
        spec = _ArchSpec.model_validate(fields)
    except ValidationError as error:
        raise PlatformError(
            "the architecture is wrong",
            where=str(path),
            why="; ".join(faults_of(error, _ArchSpec)),
            hint="arch_basic makes it a file of dMazeRunner",
        ) from error
    basic, details = spec.arch_basic, spec.arch_details
    return {
        "pes": basic.CGRA_SIZE,
        "rf_bytes": basic.RF_SIZE,
        # Its banks are those of one half of the double buffer.
        "spm_kib": 2 * basic.TOTAL_BANKS_IN_SPM * basic.TOTAL_BYTES_IN_BANK / 1024,
        "spm_bank_bytes": basic.TOTAL_BYTES_IN_BANK,
        "element_bytes": basic.BYTES_PER_DATA,
        "clock_mhz": details.dataflow_accel_frequency,
        "dma_clock_mhz": details.dma_frequency,
        "dma_init_cycles": details.dma_init_cycles,
        "dma_cycles_per_byte": details.dma_cycles_per_byte,
        "energy_pj": {
            "mac": details.mac_energy,
            "rf": details.rf_energy,
            "noc": details.communication_energy,
            "spm": details.spm_energy,
            "dram": details.dram_energy,
        },
    }
