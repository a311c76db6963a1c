"""What runs regions of kind ``openvino``: a native library, told where OpenVINO's is."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from tdse.errors import TdseError

LIBRARY = Path(__file__).resolve().parent / "lib" / "libtdse_openvino.so"


def openvino_library() -> Path | None:
    """Where the installed OpenVINO has its C library; it is not imported. None without one."""
    spec = importlib.util.find_spec("openvino")
    if spec is None or not spec.submodule_search_locations:
        return None
    directory = Path(next(iter(spec.submodule_search_locations))) / "libs"
    # Its name ends in the release, as in libopenvino_c.so.2641.
    return next(iter(sorted(directory.glob("libopenvino_c.so*"))), None)


def register_regions() -> None:
    """Make regions of kind ``openvino`` known to executors; the entry point of ``tdse.regions``.

    Raises:
        TdseError: OpenVINO is not installed, or the native library is not built.
    """
    import tvm_ffi

    library = openvino_library()
    if library is None:
        raise TdseError("OpenVINO is not installed", hint="pip install tdse[openvino]")
    try:
        ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise TdseError(
            "the native library cannot be loaded",
            where=str(LIBRARY),
            why=str(error),
            hint="run pip install . in tdse's source directory",
        ) from None
    tvm_ffi.get_global_func("tdse_openvino.set_library")(str(library))
