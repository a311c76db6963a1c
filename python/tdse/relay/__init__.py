"""The door into Relay, for flows on TVM 0.8 to 0.19.

::

    mod, params = relay.frontend.from_tflite(model)
    mod = tdse.relay.partition(mod, params, model="model.tflite")
    lib = relay.build(mod, target=tdse.relay.build_target(mod))

Regions that LiteRT runs become functions with the attribute ``Compiler``; the rest stays in
``main`` and is TVM's. What ``relay.build`` makes of it is exported, loaded and run as ever.
"""

from tdse.doors import RELAY

# Before the imports below, which say nothing useful with another TVM.
RELAY.demand()

from tdse.targets.llvm_relay import host_target

from .codegen import register
from .partition import Partition, partition
from .regions import build_target

register()

__all__ = ["Partition", "build_target", "host_target", "partition"]
