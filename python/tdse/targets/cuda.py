"""NVIDIA's GPUs: TVM generates CUDA C++, for a named architecture also where there is no GPU.

Where nvcc is not there to compile it, the module holds the source, which is compiled when it is
first called on the machine that has the GPU.
"""

from __future__ import annotations

import re
from functools import cached_property

import tvm

from tdse.errors import TargetError

from .base import Support
from .gpu import GpuTarget, host_target


class CudaTarget(GpuTarget):
    """Kernels in CUDA C++.

    Args:
        arch: that they are compiled for, ``sm_87`` for example; by default that of the first GPU
            of this machine.

    Raises:
        TargetError: it is no architecture.
    """

    def __init__(self, arch: str = "") -> None:
        if arch and not re.fullmatch(r"sm_\d+[af]?", arch):
            raise TargetError(
                f"there is no target 'cuda:{arch}'",
                hint="name the architecture, for example cuda:sm_87",
            )
        self._arch = arch
        super().__init__(f"cuda:{arch}" if arch else "cuda", ("cuda", 0))

    def available(self) -> Support:
        """Whether this machine has a GPU of the architecture, and its driver."""
        here = _arch_here()
        if not here:
            return Support(False, "there is no NVIDIA GPU, or no driver (libcuda.so.1) for it")
        if self._arch and self._arch != here:
            return Support(False, f"the GPU is of {here}")
        return Support(True)

    @cached_property
    def tvm_target(self) -> tvm.target.Target:
        """The architecture.

        Raises:
            TargetError: none is named, and there is no GPU to have it from.
        """
        arch = self._arch or _arch_here()
        if not arch:
            raise TargetError(
                "there is no GPU whose architecture to compile for",
                where="target cuda",
                hint="name one, for example cuda:sm_87",
            )
        return tvm.target.Target({"kind": "cuda", "arch": arch, "host": host_target()})


def _arch_here() -> str:
    """The architecture of the first GPU of this machine; empty where there is none."""
    device = tvm.cuda(0)
    return f"sm_{device.compute_version.replace('.', '')}" if device.exist else ""
