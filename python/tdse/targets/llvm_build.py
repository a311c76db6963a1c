"""Compile kernels, equal ones once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import tvm
import tvm_ffi
from tvm.target import Target

from tdse.errors import TargetError

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

        What an earlier call compiled is not compiled again. From a new set there is at most one.

        Raises:
            TargetError: TVM cannot compile one of them.
        """
        wanted = list(dict.fromkeys(symbols))
        missing = {s: self._functions[s] for s in wanted if s not in self._library_of}
        if missing:
            library = _build(missing, target)
            self._library_of.update(dict.fromkeys(missing, library))
        libraries = {id(self._library_of[s]): self._library_of[s] for s in wanted}
        return tuple(libraries.values())

    def check(self, target: Target) -> None:
        """Compile all for ``target``, for no other purpose than to see whether it can be done.

        Raises:
            TargetError: TVM cannot compile one of the kernels.
        """
        _build(self._functions, target)


def _build(functions: dict[str, tvm.tirx.PrimFunc], target: Target) -> Any:
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in functions.items()}
    )
    # On a processor, the pass would move what own kernels hold in registers to the heap.
    config = {"tirx.disable_storage_rewrite": target.kind.name == "llvm"}
    try:
        with tvm.transform.PassContext(config=config):
            return tvm.tirx.build(module, target)
    except IMPORT_ERRORS as error:
        what = f"TVM cannot compile a kernel for {target.kind.name}"
        raise TargetError(what, why=reason_of(error)) from error
