"""The front door into TVM's Relax: import a model, partition it, build it.

::

    mod = tdse.relax.from_tflite("model.tflite")    # an IRModule: one function per operator
    mod = tdse.relax.Partition()(mod)               # one function per region, with its target
    lib = tdse.relax.build(mod)                     # a tvm.runtime.Module

``Partition`` takes modules of TVM's other importers as well; ``get_pipeline`` is for scripts that
end in ``tvm.compile``.
"""

from tdse.doors import RELAX

# Before the imports below, which say nothing useful with another TVM.
RELAX.demand()

from .build import build, wrap_in_vm
from .from_tflite import from_tflite
from .lift import lift
from .partition import Partition
from .pipeline import Link, get_pipeline

__all__ = ["Link", "Partition", "build", "from_tflite", "get_pipeline", "lift", "wrap_in_vm"]
