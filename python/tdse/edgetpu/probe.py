"""The child process that tries libedgetpu: what it is at, and how it ends, one JSON object a line.

Run as ``python -m tdse.edgetpu.probe LIBRARY DEVICE [MODEL.tflite]``.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tdse.edgetpu.delegate import FUNCTIONS
from tdse.edgetpu.package import CUSTOM_OP


class FailedError(Exception):
    """It does not work.

    Attributes:
        kind: ``symbol``, ``unused`` or ``refused``.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def main() -> int:
    """Status 0 if all went well."""
    library, device, *models = sys.argv[1:]
    stage = "load"
    try:
        _say(stage="load")
        loaded = _load(library)
        stage = "devices"
        _say(stage=stage)
        devices = _count_devices(loaded)
        if models:
            stage = "delegate"
            _say(stage=stage)
            interpreter = prepared(Path(models[0]).read_bytes(), library, int(device), _say_stage)
            stage = "invoke"
            _say(stage=stage)
            for detail in interpreter.get_input_details():
                zeros = np.zeros(detail["shape"], detail["dtype"])
                interpreter.set_tensor(detail["index"], zeros)
            interpreter.invoke()
    except FailedError as error:
        _say(stage=stage, error=error.kind, why=str(error))
        return 1
    except (OSError, ValueError, RuntimeError) as error:
        _say(stage=stage, error="refused", why=" ".join(str(error).split()))
        return 1
    _say(stage="done", devices=devices)
    return 0


def prepared(
    model: bytes, library: str, device: int, say: Callable[[str], None] = lambda stage: None
) -> Any:
    """An interpreter of a compiled region whose one operator the library has taken.

    Args:
        model: what edgetpu_compiler made.
        library: libedgetpu.
        device: number of the Edge TPU.
        say: called with the stage that begins.

    Raises:
        FailedError: the library took nothing.
        ValueError, RuntimeError: the library or LiteRT refuses.
    """
    from ai_edge_litert.interpreter import Interpreter, load_delegate

    delegate = load_delegate(library, {"device": f":{device}"})
    say("prepare")
    try:
        interpreter = Interpreter(model_content=model, experimental_delegates=[delegate])
        interpreter.allocate_tensors()
    except RuntimeError as error:
        if CUSTOM_OP in str(error) and "unresolved" in str(error).lower():
            raise FailedError("unused", f"{CUSTOM_OP} was left to LiteRT") from None
        raise
    return interpreter


def _load(library: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(library)
    missing = [name for name in FUNCTIONS if not hasattr(loaded, name)]
    if missing:
        raise FailedError("symbol", f"it has no {', '.join(missing)}")
    return loaded


def _count_devices(loaded: ctypes.CDLL) -> int:
    """As Google's PyCoral counts them where it is there, else as libedgetpu does."""
    try:
        # The package of this name on PyPI is another one, without this module.
        from pycoral.utils.edgetpu import list_edge_tpus  # type: ignore[import-not-found]
    except ImportError:
        count = ctypes.c_size_t()
        loaded.edgetpu_list_devices.restype = ctypes.c_void_p
        devices = loaded.edgetpu_list_devices(ctypes.byref(count))
        loaded.edgetpu_free_devices.argtypes = [ctypes.c_void_p]
        loaded.edgetpu_free_devices(devices)
        return count.value
    return len(list_edge_tpus())


def _say_stage(stage: str) -> None:
    _say(stage=stage)


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
