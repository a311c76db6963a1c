"""The front door into TVM's Relax: import a model, partition it, build it.

::

    mod = tdse.relax.from_tflite("model.tflite")    # an IRModule: one function per operator
    mod = tdse.relax.Partition()(mod)               # one function per region, with its target
    lib = tdse.relax.build(mod)                     # a tvm.runtime.Module
"""

from .build import build, wrap_in_vm
from .from_tflite import from_tflite
from .partition import Partition

__all__ = ["Partition", "build", "from_tflite", "wrap_in_vm"]
