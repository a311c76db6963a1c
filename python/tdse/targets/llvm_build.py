"""Compile kernels, equal ones once; those for this CPU once for all processes of a user."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm.target import Target

from tdse.errors import TargetError
from tdse.link import join_objects, link_object
from tdse.runtime import native

from .kernel_cache import COMPILED
from .tvm_errors import IMPORT_ERRORS, reason_of


class KernelSet:
    """Kernels, equal ones once, and the libraries that they were compiled into.

    Args:
        name: of the target; kernels of two targets may be linked into one library, and must not
            have the same symbol.
    """

    def __init__(self, name: str) -> None:
        self._prefix = "tdse_" + re.sub(r"\W", "_", name)
        self._functions: dict[str, tvm.tirx.PrimFunc] = {}
        self._library_of: dict[str, Any] = {}
        self._symbols: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._functions)

    def add(self, function: tvm.tirx.PrimFunc) -> str:
        """Take up a kernel and return its symbol; equal kernels have the same one."""
        digest = tvm_ffi.structural_hash(function) % (1 << 64)
        symbols = self._symbols.setdefault(digest, [])
        for symbol in symbols:
            if tvm_ffi.structural_equal(self._functions[symbol], function):
                return symbol
        symbol = f"{self._prefix}_{digest:016x}" + (f"_{len(symbols)}" if symbols else "")
        symbols.append(symbol)
        self._functions[symbol] = function
        return symbol

    def build(self, symbols: Iterable[str], target: Target) -> tuple[Any, ...]:
        """TVM runtime modules that together have a function for each of ``symbols``.

        What an earlier call compiled is not compiled again, nor, for this CPU, what is in the
        user's cache. From a new set there is at most one.

        Raises:
            TargetError: TVM cannot compile one of them.
            TdseError: they cannot be linked.
        """
        wanted = list(dict.fromkeys(symbols))
        missing = {s: self._functions[s] for s in wanted if s not in self._library_of}
        if missing:
            # Without a triple it is this machine's processor, which can load what is linked here.
            is_here = target.kind.name == "llvm" and "mtriple" not in target.attrs
            library = _linked(missing, target) if is_here else compile_kernels(missing, target)
            self._library_of.update(dict.fromkeys(missing, library))
        libraries = {id(self._library_of[s]): self._library_of[s] for s in wanted}
        return tuple(libraries.values())

    def check(self, target: Target) -> None:
        """Compile all for ``target``, for no other purpose than to see whether it can be done.

        Raises:
            TargetError: TVM cannot compile one of the kernels.
        """
        compile_kernels(self._functions, target)


def compile_kernels(functions: Mapping[str, tvm.tirx.PrimFunc], target: Target) -> Any:
    """A module of TVM's of kernels by their symbols.

    Raises:
        TargetError: TVM cannot compile one of them.
    """
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in functions.items()}
    )
    config = _config(target)
    try:
        with tvm.transform.PassContext(config=config):
            return tvm.tirx.build(module, target)
    except IMPORT_ERRORS as error:
        what = f"TVM cannot compile a kernel for {target.kind.name}"
        raise TargetError(what, why=reason_of(error)) from error


def _linked(functions: Mapping[str, tvm.tirx.PrimFunc], target: Target) -> Any:
    """Kernels, each an object file of its own, in one module that can be run and exported.

    Raises:
        TargetError: TVM cannot compile one of them.
        TdseError: they cannot be linked.
    """
    compiled: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory(prefix="tdse-kernels-") as scratch:
        directory = Path(scratch)
        objects = []
        for symbol, function in functions.items():
            path = directory / f"{symbol}.o"
            key = _key(symbol, function, target)
            kept = COMPILED.find(key)
            if kept is None:
                compile_kernels({symbol: function}, target).write_to_file(str(path), "o")
                compiled.append((key, path.read_bytes()))
            else:
                path.write_bytes(kept)
            objects.append(path)
        if compiled:
            COMPILED.keep(compiled)
        joined, library = directory / "joined.o", directory / "kernels.so"
        join_objects(objects, joined)
        link_object(joined, library)
        native.register()
        create = tvm_ffi.get_global_func("tdse.kernels_create")
        return create(joined.read_bytes(), native.load_library(library))


def _key(symbol: str, function: tvm.tirx.PrimFunc, target: Target) -> str:
    """Digest of all that the object file of a kernel depends on."""
    parts = [
        symbol,
        tvm.ir.save_json(function),
        str(target),
        json.dumps(_config(target)),
        _compiler(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _compiler() -> str:
    names = ("apache-tvm", "apache-tvm-ffi")
    return " ".join(f"{name} {metadata.version(name)}" for name in names)


def _config(target: Target) -> dict[str, bool]:
    is_cpu = target.kind.name == "llvm"
    return {
        # On a processor, the pass would move what own kernels hold in registers to the heap.
        "tirx.disable_storage_rewrite": is_cpu,
        # The plan is checked once, when it is loaded. To check arguments at each call, a kernel
        # would need a function of TVM's runtime, which boards are without; what launches kernels
        # on a device is in the same library.
        "tirx.disable_assert": True,
    }
