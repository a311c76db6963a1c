"""XGBoost, in a process that may have an old TVM in it."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def load_xgboost() -> ModuleType:
    """The package ``xgboost``.

    TVM 0.x offers its symbols to all libraries that are loaded later, among them those of dmlc,
    which XGBoost is made of as well: with these, it crashes. Its library is loaded so that it
    prefers its own, and the package then finds it loaded. That must be before ``tvm.relay``, which
    imports the package by itself: ``get_target`` sees to it, and where a user's script has loaded
    ``tvm.relay`` before tdse, XGBoost is for other processes (``place_worker``).
    """
    found = importlib.util.find_spec("xgboost")
    if found is not None and found.origin and hasattr(os, "RTLD_DEEPBIND"):
        library = Path(found.origin).parent / "lib" / "libxgboost.so"
        if library.is_file():
            ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
    return importlib.import_module("xgboost")
