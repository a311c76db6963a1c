"""The target ``opencl`` where TVM is a 0.x with Relay: ``relay.build`` makes kernels of regions.

They are part of a module of ``tdse.relay``, between copies to the device and back. tdse does not
run them, so that nothing is known of their times and only a placement that is given has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relay

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.quiet import quiet_stderr

from .base import CompiledRegions, Support
from .llvm_relay import LlvmTarget, host_target
from .tvm_errors import IMPORT_ERRORS, reason_of


class OpenclTarget(LlvmTarget):
    """Operators that Relay imports, as for ``llvm``."""

    name = "opencl"

    def available(self) -> Support:
        """Not to be measured: at most, it is compiled for."""
        if not _has("target.build.opencl"):
            return Support(False, "the installed TVM is built without OpenCL's code generator")
        if not _has("device_api.opencl"):
            return Support(False, "the installed TVM compiles for OpenCL, but cannot run it")
        return Support(False, "tdse.relay compiles for OpenCL, but does not measure it")

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        """Nothing of it runs in tdse's executor.

        Raises:
            TargetError: always.
        """
        raise TargetError(
            "regions for opencl cannot be run by themselves",
            where=graph.name,
            why=self.available().reason,
            hint="give a placement to tdse.relay.partition, and its module to relay.build",
        )


def opencl_target() -> Any:
    """OpenCL beside this machine's CPU, for ``relay.build``.

    Raises:
        TargetError: the installed TVM has no code generator for it.
    """
    if not _has("target.build.opencl"):
        raise TargetError(
            "the installed TVM cannot compile for OpenCL",
            why="it is built without OpenCL's code generator",
            hint="place on litert and llvm, or build TVM with USE_OPENCL",
        )
    return tvm.target.Target("opencl", host=host_target())


def demand_compiles(graph: Graph, region: int, function: Any) -> None:
    """Refuse a region that the installed TVM has no OpenCL code for.

    Args:
        graph: the model.
        region: its index.
        function: what Relay imports of it.

    Raises:
        TargetError: with TVM's reason, or there is no code generator.
    """
    target = opencl_target()
    try:
        with quiet_stderr(), tvm.transform.PassContext(opt_level=3):
            relay.build(tvm.IRModule.from_expr(function), target=target)
    except (*IMPORT_ERRORS, OSError) as error:
        # Without a network, TVM does not find the schedules that it would fetch.
        hint = "set TOPHUB_LOCATION=NONE" if isinstance(error, OSError) else "place it elsewhere"
        raise TargetError(
            f"TVM cannot compile region {region} for OpenCL",
            where=graph.name,
            why=reason_of(error),
            hint=hint,
        ) from None


def _has(function: str) -> bool:
    return tvm.get_global_func(function, allow_missing=True) is not None
