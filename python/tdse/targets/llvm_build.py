"""Compile kernels with LLVM, equal ones once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tvm
import tvm_ffi
from tvm.target import Target

from tdse.errors import TargetError

from .llvm_import import IMPORT_ERRORS, reason_of
from .llvm_isa import Isa


class KernelSet:
    """Kernels, equal ones once, and the libraries that they were compiled into."""

    def __init__(self) -> None:
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
        symbol = f"tdse_{digest:016x}" + (f"_{len(symbols)}" if symbols else "")
        symbols.append(symbol)
        self._functions[symbol] = function
        return symbol

    def build(self, symbols: Iterable[str], isa: Isa) -> tuple[Any, ...]:
        """TVM runtime modules that together have a function for each of ``symbols``.

        What an earlier call compiled is not compiled again. From a new set there is at most one.

        Raises:
            TargetError: LLVM cannot compile one of them.
        """
        wanted = list(dict.fromkeys(symbols))
        missing = {s: self._functions[s] for s in wanted if s not in self._library_of}
        if missing:
            library = _build(missing, isa.target)
            self._library_of.update(dict.fromkeys(missing, library))
        libraries = {id(self._library_of[s]): self._library_of[s] for s in wanted}
        return tuple(libraries.values())

    def check(self, isa: Isa) -> None:
        """Generate code without optimising it.

        Raises:
            TargetError: LLVM cannot compile one of the kernels.
        """
        options = dict(isa.target.attrs)
        _build(self._functions, Target({"kind": "llvm", **options, "opt-level": 0}))


def _build(functions: dict[str, tvm.tirx.PrimFunc], target: Target) -> Any:
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in functions.items()}
    )
    try:
        return tvm.tirx.build(module, target)
    except IMPORT_ERRORS as error:
        raise TargetError("LLVM cannot compile a kernel", why=reason_of(error)) from error
