"""An Edge TPU as a platform file describes it, and what its links carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from tdse.faults import Record

LinkKind = Literal["usb3", "usb2", "pcie"]
Runtime = Literal[10, 12, 13, 14]


@dataclass(frozen=True)
class LinkRates:
    """What a link to an Edge TPU carries.

    Attributes:
        tensor_bytes_per_us: of inputs and outputs.
        parameter_bytes_per_us: of parameters that do not fit into the Edge TPU.
        latency_us: before the first byte of a tensor; part of the shortest invocation.
        shared: several Edge TPUs on such links take turns.
    """

    tensor_bytes_per_us: float
    parameter_bytes_per_us: float
    latency_us: float
    shared: bool


# The first is fitted by benchmarks/edgetpu_model.py to Coral's published latencies with USB 3.0.
# The others' rates follow from its latencies of networks that do not fit: of the Dev Board, which
# has PCIe, and of a Raspberry Pi 3B+, which has USB 2.0.
LINKS: Mapping[LinkKind, LinkRates] = {
    "usb3": LinkRates(368.0, 464.0, 25.0, True),
    "usb2": LinkRates(19.0, 33.0, 25.0, True),
    "pcie": LinkRates(368.0, 372.0, 25.0, False),
}


class EdgeTpuUnit(Record):
    """An Edge TPU.

    Attributes:
        link: what joins it with the host.
        runtime: version of its runtime, of which operators it has depends.
        one_region: it runs only what edgetpu_compiler maps by default: one region, which ends at
            the first operators that the Edge TPU has not.
    """

    model_config = ConfigDict(validate_default=True)

    link: LinkKind
    runtime: Runtime = 14
    one_region: bool = False

    @property
    def rates(self) -> LinkRates:
        """What its link carries."""
        return LINKS[self.link]
