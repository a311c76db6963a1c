"""tdse: placement of TFLite models on platforms with several kinds of processor.

The names below are loaded when they are first used, so that ``import tdse`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tdse import versions
from tdse.errors import TdseError

if TYPE_CHECKING:
    from tdse.pipeline import CompileResult, compile
    from tdse.runtime.model import Model, load

    from . import relax, relay

__version__ = "0.1.0"
__all__ = [
    "CompileResult",
    "Model",
    "TdseError",
    "__version__",
    "compile",
    "load",
    "relax",
    "relay",
]

versions.check()

_LAZY = {
    "CompileResult": "tdse.pipeline",
    "compile": "tdse.pipeline",
    "Model": "tdse.runtime.model",
    "load": "tdse.runtime.model",
}


def __getattr__(name: str) -> Any:
    if name in ("compile", "CompileResult", "relax", "relay"):
        versions.demand_compiler()
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("relax", "relay"):
        return importlib.import_module(f"tdse.{name}")
    raise AttributeError(f"module 'tdse' has no attribute {name!r}")
