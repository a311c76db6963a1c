"""The C++ side: load it once, make executors and call them.

An artefact runs without TVM wherever it can: ``libtdse_runtime.so`` opens it. Regions on devices of
TVM's, and those that other packages bring, need TVM's own loader, and so does whoever makes
executors of plans.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tdse.errors import ArtefactError, TargetError, TdseError
from tdse.runtime.c_executor import OpenedModel

_LIBRARIES = Path(__file__).resolve().parent.parent / "lib"
LIBRARY = _LIBRARIES / "libtdse_tvm.so"
REGION_LIBRARY = _LIBRARIES / "libtdse_region.so"
OPENCL_LIBRARY = _LIBRARIES / "libtdse_opencl.so"
KIND = "tdse_executor"
# Kinds of regions that libtdse_runtime.so runs by itself, and those that Python runs for it.
C_KINDS = ("litert", "tvm", "emulated")
PYTHON_KINDS = ("litert_interpreter", "edgetpu", "relay")
# Of each kind of region that another package brings: a function without arguments that registers
# `tdse.region.<kind>` with tvm_ffi, see cpp/tvm/function_region.h.
REGION_ENTRY_POINTS = "tdse.regions"

_lock = threading.Lock()
_library: ctypes.CDLL | None = None
# Errors of regions for Edge TPUs by their text, which is all that C++ passes on.
_told: dict[str, TdseError] = {}


def register() -> None:
    """Load the native library and make it known to TVM. Does nothing the second time.

    Raises:
        TdseError: the library is not built, or does not fit the installed ``apache-tvm-ffi``.
    """
    global _library
    with _lock:
        if _library is not None:
            return
        # Loads libtvm_ffi.so, which the library needs and does not look for itself.
        import tvm_ffi

        library = _load_own(LIBRARY)
        litert = litert_library()
        if litert is not None:
            tvm_ffi.get_global_func("tdse.set_litert_library")(str(litert))
        for name, function in (
            *((f"tdse.region.{kind}", _tvm_region_maker(kind)) for kind in PYTHON_KINDS),
            ("tdse.load_region_kind", _load_region_kind),
        ):
            tvm_ffi.register_global_func(name, function, override=True)
        tvm_ffi.register_global_func("tdse.litert_call", _litert_call, override=True)
        _library = library


def load_runtime() -> None:
    """Load all that a runtime module needs, before there is one. OpenCL is opened when it is used.

    TVM calls this when it is imported, through the entry point group ``tvm.backends``, so that a
    ``model.so`` loads in any process that has tdse installed.

    Raises:
        TdseError: a library is missing or does not fit.
    """
    register()
    _load_tvm_runtime()
    _load_opencl()


def litert_library() -> Path | None:
    """Where the installed ai-edge-litert has ``libLiteRt.so``; it is not imported."""
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "libLiteRt.so"


def create_executor(plan: bytes) -> Any:
    """A ``tvm_ffi`` module that runs ``plan``; kernels are looked up in modules imported into it.

    Raises:
        TargetError: the plan is malformed.
    """
    register()
    import tvm_ffi

    return call(tvm_ffi.get_global_func("tdse.executor_create"), plan)


def load_executor(path: str | os.PathLike[str]) -> Any:
    """The executor in the runtime module at ``path``, with its kernels.

    Raises:
        ArtefactError: the file is missing, damaged, made for another machine, or holds no executor,
            or a device that it uses is not there.
        TargetError: a region cannot be made.
    """
    opened = _open_model(path)
    kinds = {region["kind"] for region in json.loads(opened.description)["regions"]}
    if kinds <= {*C_KINDS, *PYTHON_KINDS}:
        return call(opened.prepared, _make_region, litert_library())
    del opened
    return load_tvm_executor(path)


def load_tvm_executor(path: str | os.PathLike[str]) -> Any:
    """The same as a module of ``tvm_ffi``, which makes its regions when they are first used.

    Raises:
        ArtefactError: see ``load_executor``.
    """
    executor = find_executor(load_library(path))
    if executor is None:
        raise ArtefactError(
            "the runtime module holds no executor",
            where=str(path),
            why="it was not written by tdse",
            hint="compile the model again",
        )
    _demand_devices(executor, path)
    return executor


def _open_model(path: str | os.PathLike[str]) -> OpenedModel:
    name = str(path)
    try:
        name = _name_to_load(path)
        return OpenedModel(name)
    except (OSError, RuntimeError) as error:
        why = _message(error).removeprefix(f"{name}: the runtime module cannot be loaded: ")
        raise _not_loaded(path, why.replace(name, str(path))) from None


def _not_loaded(path: str | os.PathLike[str], why: str) -> ArtefactError:
    return ArtefactError(
        "the runtime module cannot be loaded",
        where=str(path),
        why=why,
        hint="compile the model again on a machine of this kind",
    )


def _make_region(kind: str, blob: bytes, threads: int, sizes: Sequence[int]) -> Callable[..., Any]:
    """What runs a region of one of ``PYTHON_KINDS``."""
    if kind == "litert_interpreter":
        return _litert_interpreter(blob, threads, sizes)
    if kind == "edgetpu":
        return _edgetpu_region(blob, threads, sizes)
    return _relay_region(blob, threads, sizes)


def load_library(path: str | os.PathLike[str]) -> Any:
    """The runtime module that TVM wrote to ``path``, with all that it imports.

    Only TVM's runtime is loaded for it, not its compiler, nor its Python package.

    Raises:
        ArtefactError: the file is missing, damaged, or made for another machine.
    """
    load_runtime()
    import tvm_ffi

    name = str(path)
    try:
        name = _name_to_load(path)
        # Not kept: a library that nobody uses any more is closed, and its regions end with their
        # threads and memory.
        return tvm_ffi.load_module(name, keep_module_alive=False)
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        raise _not_loaded(path, _message(error).replace(name, str(path))) from None


def _name_to_load(path: str | os.PathLike[str]) -> str:
    """A name of the file that no other file ever has.

    While a library is loaded, glibc takes a file of the same name for that library, without
    looking whether it has been replaced. So device, inode and time of change are written into the
    name, in binary digits: ``out/./`` is a one and ``out//`` a zero before ``model.so``.
    """
    directory, name = os.path.split(os.path.abspath(path))
    status = os.stat(path)
    identity = status.st_dev, status.st_ino, status.st_mtime_ns
    digits = "".join(f"{number:064b}" for number in identity)
    return directory + "/" + "".join("./" if digit == "1" else "/" for digit in digits) + name


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``; what goes wrong in an executor becomes a TargetError.

    One of an Edge TPU keeps its kind.
    """
    try:
        return function(*arguments)
    except TdseError:
        raise
    except RuntimeError as error:
        for text, told in _told.items():
            if text in _message(error):
                raise told from None
        where, what = _split_region(_message(error))
        raise TargetError(what, where=where) from None


def find_executor(module: Any) -> Any:
    """The executor module among ``module`` and what it imports, or None."""
    if module.kind == KIND:
        return module
    for imported in module.imports:
        found = find_executor(imported)
        if found is not None:
            return found
    return None


def _demand_devices(executor: Any, path: str | os.PathLike[str]) -> None:
    """Refuse a module that uses an OpenCL device which is not there."""
    from tdse.platform.opencl import find_opencl, target_number

    kinds = {region["kind"] for region in json.loads(executor["describe"]())["regions"]}
    numbers = {number for number in map(target_number, kinds) if number is not None}
    if not numbers:
        return
    found = find_opencl()
    if max(numbers) >= len(found.devices):
        raise ArtefactError(
            f"the runtime module uses OpenCL device {max(numbers)}, which is not there",
            where=str(path),
            why=found.missing or f"the drivers that are installed offer {len(found.devices)}",
            hint="install the driver of the device, or compile the model again for what is there",
        )


def _load_own(path: Path) -> ctypes.CDLL:
    """Load a library that tdse is built with."""
    if not path.is_file():
        raise TdseError(
            "the native library is not built",
            where=str(path),
            hint="run pip install . in tdse's source directory",
        )
    try:
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise TdseError(
            "the native library cannot be loaded",
            where=str(path),
            why=str(error),
            hint="build it again for the installed apache-tvm and apache-tvm-ffi: pip install .",
        ) from None


@cache
def _load_opencl() -> None:
    """Load TVM's device API and module loader for OpenCL, which its wheel comes without."""
    _load_own(OPENCL_LIBRARY)


@cache
def _load_tvm_runtime() -> None:
    """Load the library with the loaders of compiled kernels and of the virtual machine."""
    spec = importlib.util.find_spec("tvm")
    if spec is None or spec.origin is None:
        raise TdseError("apache-tvm is not installed", hint="pip install apache-tvm==0.27.*")
    library = Path(spec.origin).parent / "lib" / "libtvm_runtime.so"
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise TdseError(
            "TVM's runtime cannot be loaded",
            where=str(library),
            why=str(error),
            hint="pip install --force-reinstall apache-tvm==0.27.*",
        ) from None


def _split_region(message: str) -> tuple[str, str]:
    """``region a: it failed`` as ``("region a", "it failed")``."""
    head, separator, tail = message.partition(": ")
    return (head, tail) if separator and head.startswith("region ") else ("", message)


def _message(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


def _tvm_region_maker(kind: str) -> Callable[[bytes, int, Sequence[int]], Any]:
    """Makes regions of ``kind`` for ``tvm_ffi``; see cpp/tvm/function_region.h."""

    def make(blob: bytes, threads: int, sizes: Sequence[int]) -> Any:
        import tvm_ffi

        return tvm_ffi.convert(_make_region(kind, bytes(blob), threads, sizes))

    return make


def _litert_interpreter(model: bytes, threads: int, sizes: Sequence[int]) -> Callable[..., Any]:
    from tdse.runtime.interpreter import InterpreterRegion

    return InterpreterRegion(model, threads, sizes).run


def _load_region_kind(kind: str) -> None:
    """Load the package that brings regions of ``kind``; called by the C++ side.

    Raises:
        TargetError: no installed package brings them.
    """
    found = [point for point in entry_points(group=REGION_ENTRY_POINTS) if point.name == kind]
    if not found:
        raise TargetError(
            f"no installed package runs regions of kind {kind!r}",
            hint="install the package that brings this target",
        )
    found[0].load()()


def _edgetpu_region(compiled: bytes, threads: int, sizes: Sequence[int]) -> Callable[..., Any]:
    from tdse.runtime.edgetpu import edgetpu_interpreter
    from tdse.runtime.interpreter import InterpreterRegion

    try:
        interpreter = edgetpu_interpreter(compiled)
    except TdseError as error:
        _told[str(error)] = error
        raise
    return InterpreterRegion.of(interpreter, sizes).run


def _relay_region(library: bytes, threads: int, sizes: Sequence[int]) -> Callable[..., Any]:
    from tdse.targets.llvm_relay import relay_region

    return relay_region(library, threads, sizes)


def _litert_call(constant: Any, *tensors: Any) -> None:
    """An operator that LiteRT runs in a Relax module that was not partitioned."""
    from tdse.runtime.litert_call import litert_call

    litert_call(constant, *tensors)
