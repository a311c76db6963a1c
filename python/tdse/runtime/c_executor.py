"""Executors of libtdse_runtime.so, which runs artefacts without TVM; called through ctypes."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_int,
    c_size_t,
    c_uint32,
    c_void_p,
)
from pathlib import Path
from struct import Struct
from typing import Any, Protocol

from tdse.errors import TdseError

LIBRARY = Path(__file__).resolve().parent.parent / "lib" / "libtdse_runtime.so"


class MakeRegion(Protocol):
    """Makes what runs a region of a kind that the C++ side does not know; raises if it cannot."""

    def __call__(
        self, kind: str, blob: bytes, threads: int, sizes: Sequence[int]
    ) -> Callable[..., Any]:
        """A function of the addresses of the region's inputs and outputs, of so many bytes."""


_Make = CFUNCTYPE(c_void_p, c_char_p, c_void_p, c_size_t, c_uint32, POINTER(c_size_t), c_size_t)
_Run = CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p), c_size_t)
_Drop = CFUNCTYPE(None, c_void_p)


class _RegionFunctions(ctypes.Structure):
    """As ``tdse_region_functions`` in cpp/runtime/python.h."""

    _fields_ = (("make", _Make), ("run", _Run), ("drop", _Drop))


# Addresses of arrays, one after the other; see _Addresses.
_ADDRESSES = c_char_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "tdse_error": (c_char_p, ()),
    "tdse_fail": (None, (c_char_p,)),
    "tdse_set_litert_library": (None, (c_char_p,)),
    "tdse_open": (c_void_p, (c_char_p,)),
    "tdse_prepare": (c_int, (c_void_p, POINTER(_RegionFunctions))),
    "tdse_free": (None, (c_void_p,)),
    "tdse_describe": (c_char_p, (c_void_p,)),
    "tdse_input_count": (c_size_t, (c_void_p,)),
    "tdse_output_count": (c_size_t, (c_void_p,)),
    "tdse_run": (c_int, (c_void_p, _ADDRESSES, _ADDRESSES)),
    "tdse_time_runs": (c_int, (c_void_p, c_size_t, _ADDRESSES, POINTER(c_double))),
    "tdse_time_stream": (c_int, (c_void_p, c_size_t, _ADDRESSES, POINTER(c_double))),
    "tdse_profile": (c_int, (c_void_p, c_size_t, _ADDRESSES, POINTER(c_double))),
    "tdse_start_trace": (c_int, (c_void_p,)),
    "tdse_take_trace": (c_int, (c_void_p, POINTER(POINTER(c_double)), POINTER(c_size_t))),
    "tdse_stream_open": (c_void_p, (c_void_p,)),
    "tdse_stream_push": (c_int, (c_void_p, _ADDRESSES)),
    "tdse_stream_ready": (c_int, (c_void_p,)),
    "tdse_stream_pop": (c_int, (c_void_p, _ADDRESSES)),
    "tdse_stream_cancel": (c_int, (c_void_p,)),
    "tdse_stream_close": (None, (c_void_p,)),
}

_lock = threading.Lock()
_library: Any = None


def runtime_library() -> Any:
    """The library, loaded at the first call.

    Raises:
        TdseError: it is not built, or cannot be loaded.
    """
    global _library
    with _lock:
        if _library is not None:
            return _library
        if not LIBRARY.is_file():
            raise TdseError(
                "the native library is not built",
                where=str(LIBRARY),
                hint="run pip install . in tdse's source directory",
            )
        try:
            library = ctypes.CDLL(str(LIBRARY))
        except OSError as error:
            raise TdseError(
                "the native library cannot be loaded",
                where=str(LIBRARY),
                why=str(error),
                hint="install the wheel that is for this machine",
            ) from None
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _library = library
        return library


class OpenedModel:
    """A ``model.so`` whose regions are not prepared yet."""

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            RuntimeError: it cannot be loaded; the text is one line.
        """
        library = runtime_library()
        self._handle: int | None = library.tdse_open(os.fsencode(path))
        if self._handle is None:
            raise RuntimeError(_error())
        self.description: str = library.tdse_describe(self._handle).decode()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            runtime_library().tdse_free(self._handle)

    def prepared(self, make_region: MakeRegion, litert: Path | None) -> CExecutor:
        """The executor; afterwards this object is of no more use.

        Args:
            make_region: for regions that Python runs.
            litert: where LiteRT's library is; None to have the dynamic linker look for it.

        Raises:
            RuntimeError: a region cannot be made.
        """
        library = runtime_library()
        if litert is not None:
            library.tdse_set_litert_library(os.fsencode(litert))
        _makers.current = make_region
        try:
            status = library.tdse_prepare(self._handle, byref(_FUNCTIONS))
        finally:
            _makers.current = None
        _require(status)
        handle, self._handle = self._handle, None
        assert handle is not None
        return CExecutor(handle, self.description)


class CExecutor:
    """Has the functions of a native executor by name, as a module of TVM's has them.

    Arrays are passed by address: those of the inputs, then those of the outputs.
    """

    def __init__(self, handle: int, description: str) -> None:
        self._library = runtime_library()
        self._handle = handle
        self._description = description
        self._n_inputs = self._library.tdse_input_count(handle)
        self._inputs = _Addresses(self._n_inputs)
        self._outputs = _Addresses(self._library.tdse_output_count(handle))

    def __del__(self) -> None:
        self._library.tdse_free(self._handle)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        functions: dict[str, Callable[..., Any]] = {
            "describe": lambda: self._description,
            "run": self._run,
            "stream": lambda: _CStream(self, self._handle, self._inputs, self._outputs),
            "time_runs": self._time_runs,
            "time_stream": self._time_stream,
            "profile": self._profile,
            "start_trace": lambda: _require(self._library.tdse_start_trace(self._handle)),
            "take_trace": self._take_trace,
        }
        return functions[name]

    def _run(self, *addresses: int) -> None:
        inputs = self._inputs.packed(addresses[: self._n_inputs])
        outputs = self._outputs.packed(addresses[self._n_inputs :])
        _require(self._library.tdse_run(self._handle, inputs, outputs))

    def _time_runs(self, count: int, *addresses: int) -> bytes:
        return self._timed(self._library.tdse_time_runs, count, addresses, 1)

    def _time_stream(self, count: int, *addresses: int) -> bytes:
        return self._timed(self._library.tdse_time_stream, count, addresses, 1)

    def _profile(self, count: int, *addresses: int) -> bytes:
        import json

        regions = len(json.loads(self._description)["regions"])
        return self._timed(self._library.tdse_profile, count, addresses, regions)

    def _timed(self, function: Any, count: int, addresses: Sequence[int], each: int) -> bytes:
        if count < 0:
            raise RuntimeError(f"the count of runs is {count}")
        times_us = (c_double * (count * each))()
        inputs = self._inputs.packed(addresses)
        _require(function(self._handle, count, inputs, times_us))
        return bytes(times_us)

    def _take_trace(self) -> bytes:
        numbers, count = POINTER(c_double)(), c_size_t()
        _require(self._library.tdse_take_trace(self._handle, byref(numbers), byref(count)))
        return ctypes.string_at(numbers, count.value * ctypes.sizeof(c_double))


class _CStream:
    """Has the functions of a native stream, by name; closed when it is dropped."""

    def __init__(
        self, owner: CExecutor, model: int, inputs: _Addresses, outputs: _Addresses
    ) -> None:
        self._owner = owner
        self._library = runtime_library()
        self._inputs, self._outputs = inputs, outputs
        self._handle: int | None = self._library.tdse_stream_open(model)
        if self._handle is None:
            raise RuntimeError(_error())

    def __del__(self) -> None:
        if self._handle is not None:
            self._library.tdse_stream_close(self._handle)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        functions: dict[str, Callable[..., Any]] = {
            "push": self._push,
            "ready": lambda: _truth(self._library.tdse_stream_ready(self._handle)),
            "pop": self._pop,
            "cancel": lambda: _require(self._library.tdse_stream_cancel(self._handle)),
        }
        return functions[name]

    def _push(self, *addresses: int) -> bool:
        inputs = self._inputs.packed(addresses)
        return _truth(self._library.tdse_stream_push(self._handle, inputs))

    def _pop(self, *addresses: int) -> None:
        outputs = self._outputs.packed(addresses)
        _require(self._library.tdse_stream_pop(self._handle, outputs))


class _Addresses:
    """So many addresses as C takes them: the bytes of an array of pointers.

    Bytes are made in a quarter of the time that an array of ``ctypes`` takes.
    """

    def __init__(self, count: int) -> None:
        self._struct = Struct(f"@{count}P")
        self._count = count

    def packed(self, addresses: Sequence[int]) -> bytes:
        """The bytes.

        Raises:
            RuntimeError: they are more, or fewer.
        """
        if len(addresses) != self._count:
            raise RuntimeError(f"the executor takes {self._count} arrays, not {len(addresses)}")
        return self._struct.pack(*addresses)


def _require(status: int) -> None:
    if status != 0:
        raise RuntimeError(_error())


def _truth(status: int) -> bool:
    if status < 0:
        raise RuntimeError(_error())
    return status == 1


def _error() -> str:
    text: bytes = runtime_library().tdse_error()
    return text.decode(errors="replace")


class _Makers(threading.local):
    """What makes regions for the model that this thread prepares."""

    current: MakeRegion | None = None


_makers = _Makers()
# What runs each region that Python has made, by its number, which is a pointer to C++.
_regions: dict[int, Callable[..., Any]] = {}
_numbers = itertools.count(1)


def _make(
    kind: bytes, blob: int | None, size: int, threads: int, sizes: Any, count: int
) -> int | None:
    try:
        assert _makers.current is not None
        data = ctypes.string_at(blob, size) if blob else b""
        run = _makers.current(kind.decode(), data, threads, sizes[:count])
    # Whatever it is, C++ gets its text: an exception cannot pass through it.
    except Exception as error:
        _fail(error)
        return None
    number = next(_numbers)
    _regions[number] = run
    return number


def _run(region: int, addresses: Any, count: int) -> int:
    try:
        # Tensors without elements have no memory.
        _regions[region](*(address or 0 for address in addresses[:count]))
    except Exception as error:
        _fail(error)
        return -1
    return 0


def _drop(region: int) -> None:
    _regions.pop(region, None)


def _fail(error: Exception) -> None:
    text = str(error).strip() or type(error).__name__
    runtime_library().tdse_fail(" ".join(text.split()).encode())


# Kept as long as the process: C++ calls them.
_FUNCTIONS = _RegionFunctions(_Make(_make), _Run(_run), _Drop(_drop))
