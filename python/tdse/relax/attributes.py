"""The attributes that make a Relax module one of tdse: their names, and how they are read.

Of the module:

===================== ========================================================================
``tdse.model``        the bytes of the model file, or the lifted module in TVM's JSON
``tdse.model_name``   its name, for messages
``tdse.model_sha256`` hex digest of the bytes
``tdse.placement``    after ``Partition``: the placement as JSON
``tdse.processor``    after ``Partition`` for another machine: its processor, a platform's device
                      as JSON
===================== ========================================================================

Of the function of an operator:

===================== ========================================================================
``tdse.op``           index of the operator in the model
``tdse.kind``         its kind, for example ``conv2d``
``tdse.label``        its name for people, for example ``12:conv2d``
``tdse.origin``       where it came from, for example ``tflite:12`` or ``relax:lv3+lv4``
``tdse.litert``       only where LiteRT runs it in an unpartitioned module: why TVM does not
===================== ========================================================================

A model that cannot be cut has one function for all its operators, with ``tdse.ops`` in the place of
``tdse.op``.

Of the function of a region:

===================== ========================================================================
``Codegen``           the target's name, where TVM looks for it
``tdse.region``       position in the order in which the regions run
``tdse.target``       the target's name
``tdse.device``       the platform's device
``tdse.threads``      threads that it may use
``tdse.lanes``        lanes of the executor that each have a copy of it, ascending
``tdse.ops``          indices of its operators, ascending
===================== ========================================================================
"""

from __future__ import annotations

import hashlib
from typing import Any

import tvm

from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.lifted import read_model
from tdse.lifted.bodies import KIND, OP
from tdse.partitioning import DEVICE, OPS, PLACEMENT, attribute
from tdse.platform import Device

__all__ = ["DEVICE", "KIND", "OP", "OPS", "PLACEMENT", "attribute"]

MODEL = "tdse.model"
MODEL_NAME = "tdse.model_name"
MODEL_SHA256 = "tdse.model_sha256"
PROCESSOR = "tdse.processor"

OF_MODULE = (MODEL, MODEL_NAME, MODEL_SHA256, PLACEMENT, PROCESSOR)

LABEL = "tdse.label"
ORIGIN = "tdse.origin"
LITERT = "tdse.litert"

CODEGEN = "Codegen"
REGION = "tdse.region"
TARGET = "tdse.target"
THREADS = "tdse.threads"
LANES = "tdse.lanes"


def op_indices(function: Any) -> tuple[int, ...]:
    """The operators of an operator's function; empty for any other function."""
    op = attribute(function, OP)
    if op is not None:
        return (int(op),)
    is_region = attribute(function, REGION) is not None
    return () if is_region else tuple(int(i) for i in attribute(function, OPS) or ())


def processor_of(module: tvm.IRModule) -> Device | None:
    """The processor that a partitioned module is for; None for that of this machine."""
    text = attribute(module, PROCESSOR)
    return None if text is None else Device.model_validate_json(str(text))


def graph_of(module: tvm.IRModule) -> Graph:
    """The graph of the model that the module was imported from, read from its attributes.

    Raises:
        TdseError: ``from_tflite`` and ``lift`` did not make the module, or its model was changed.
    """
    data = attribute(module, MODEL)
    if data is None or attribute(module, MODEL_SHA256) is None:
        raise TdseError(
            "the IRModule was not made by tdse",
            why=f"it has no attribute {MODEL}",
            hint="make one with tdse.relax.from_tflite or tdse.relax.lift",
        )
    data, name = bytes(data), str(attribute(module, MODEL_NAME) or "")
    if hashlib.sha256(data).hexdigest() != str(attribute(module, MODEL_SHA256)):
        raise TdseError(
            f"the attribute {MODEL} of the IRModule was changed",
            where=name,
            why=f"its digest is not {MODEL_SHA256}",
            hint="import the model again",
        )
    return read_model(data, name)
