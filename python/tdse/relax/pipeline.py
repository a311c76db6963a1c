"""Passes for scripts that end in ``tvm.compile``."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from tdse.partitioning import is_partitioned

from .build import linked
from .partition import Partition


@tvm.transform.module_pass(opt_level=0, name="tdse.Link")
class Link:
    """Compile the regions of a partitioned module into the executor that its ``main`` calls.

    What ``tvm.compile`` then makes of it holds the executor; see ``build.linked`` for the IR. A
    module that is not partitioned is left as it is.
    """

    def transform_module(self, module: tvm.IRModule, context: Any) -> tvm.IRModule:
        """See the class."""
        return linked(module) if is_partitioned(module) else module


def get_pipeline(name: str = "default", partition: Partition | None = None) -> tvm.transform.Pass:
    """tdse's passes, and then TVM's own of a name; to be given to ``tvm.compile``.

    ::

        tvm.compile(mod, target, relax_pipeline=tdse.relax.get_pipeline())

    Args:
        name: of TVM's pipeline, as ``tvm.relax.get_pipeline`` has it.
        partition: how the module is placed; by default within a minute on this machine.
    """
    passes = [partition or Partition(), Link(), relax.get_pipeline(name)]
    return tvm.transform.Sequential(passes, name="tdse")
