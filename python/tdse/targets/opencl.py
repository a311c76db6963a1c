"""GPUs and other devices by OpenCL: TVM generates OpenCL C, the device's driver compiles it.

``cpp/opencl`` brings what TVM's wheel lacks to run it. Kernels are the same for all devices, and
are compiled by the driver when a region first runs.
"""

from __future__ import annotations

from functools import cached_property

import tvm

from tdse.errors import TargetError
from tdse.platform.opencl import find_opencl, target_name

from .base import Support
from .gpu import GpuTarget, host_target


class OpenclTarget(GpuTarget):
    """Kernels in OpenCL C.

    Args:
        number: of the device, as ``tdse devices`` and ``tvm.device("opencl", number)`` have it.

    Raises:
        TargetError: the number is none.
    """

    def __init__(self, number: str = "0") -> None:
        if not number.isdecimal():
            raise TargetError(
                f"there is no target 'opencl:{number}'",
                hint="opencl is the first OpenCL device, opencl:1 the second",
            )
        self._number = int(number)
        super().__init__(target_name(self._number), ("opencl", self._number))

    def available(self) -> Support:
        """Whether OpenCL is installed and has such a device."""
        found = find_opencl()
        if found.missing:
            return Support(False, found.missing)
        if self._number >= len(found.devices):
            return Support(False, f"OpenCL has {len(found.devices)} devices, numbered from 0")
        return Support(True)

    @cached_property
    def tvm_target(self) -> tvm.target.Target:
        """OpenCL in general: nothing of a single device is compiled in."""
        return tvm.target.Target({"kind": "opencl", "host": host_target()})
