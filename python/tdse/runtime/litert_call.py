"""What serves ``tdse.litert_call``: an operator of a Relax module that LiteRT runs.

A module that was imported but not partitioned calls it for each operator that TVM cannot import::

    R.call_dps_packed("tdse.litert_call", (slice, x), out_ty)

``slice`` is a constant that holds the operator's ``.tflite`` slice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.runtime import native

# More than the operators of any model that is run this way at a time; beyond, the one that was
# not used for longest is prepared anew, so that imports one after the other do not fill memory.
_MOST_SLICES = 1024


@dataclass(frozen=True)
class _Prepared:
    """A slice that is ready to run.

    Attributes:
        constant: the tensor with the slice. Held, so that no other tensor is at its address.
        run: takes inputs and outputs.
    """

    constant: Any
    run: Callable[..., Any]


_prepared: OrderedDict[int, _Prepared] = OrderedDict()
_lock = threading.Lock()


def litert_call(constant: Any, *tensors: Any) -> None:
    """Run a slice through LiteRT, on one thread.

    A slice that keeps a state between runs keeps it as long as its constant lives.

    Args:
        constant: uint8 tensor, the bytes of a ``.tflite`` slice.
        tensors: its inputs and then its outputs, in the slice's order, as ``DLTensor``.

    Raises:
        TargetError: LiteRT refuses the slice, or a tensor is not of the slice's type or shape.
    """
    native.call(_prepare(constant).run, *tensors)


def _prepare(constant: Any) -> _Prepared:
    array = np.from_dlpack(constant)
    address = array.__array_interface__["data"][0]
    with _lock:
        if address in _prepared:
            _prepared.move_to_end(address)
            return _prepared[address]
        prepared = _Prepared(constant, _executor(array.tobytes())["tdse_main"])
        _prepared[address] = prepared
        if len(_prepared) > _MOST_SLICES:
            _prepared.popitem(last=False)
        return prepared


def _executor(data: bytes) -> Any:
    # Imported here: the targets are above the native library, which registers this function.
    from tdse.assemble import assemble

    graph = read_tflite(data, "slice")
    return assemble(graph, [Region(0, "litert", graph.placed_ops)], threads=1)
