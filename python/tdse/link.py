"""Writes runtime modules as shared libraries; the C++ compiler of this machine links them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tdse.errors import TdseError
from tdse.worker import find_program

_NAMES = ("g++", "clang++", "c++")


def find_linker() -> Path:
    """The compiler that ``CXX`` names, or the first one on ``PATH``.

    Raises:
        TdseError: there is none.
    """
    named = os.environ.get("CXX", "")
    if named and os.path.dirname(named) and not os.path.isabs(named):
        raise TdseError(
            "CXX names a compiler by a relative path", where=named, hint="give the whole path"
        )
    for name in [named] if named else _NAMES:
        found = find_program(name)
        if found is not None:
            return found
    raise TdseError(
        "there is no C++ compiler to link with",
        where=f"CXX={named}" if named else "PATH",
        why=f"neither {', '.join(_NAMES)} is found" if not named else "no such program",
        hint="install one, for example with apt-get install g++, or name one with CXX",
    )


def write_library(module: Any, path: Path) -> None:
    """Write a TVM runtime module, with all that it imports, as the shared library ``path``.

    Raises:
        TdseError: there is no compiler, or it cannot link.
    """
    from tvm.support import cc

    linker = str(find_linker())
    triple = cc.get_target_by_dump_machine(linker)
    try:
        fcompile = cc.cross_compiler(linker, get_target_triple=triple)
        module.export_library(str(path), fcompile=fcompile)
    except (OSError, RuntimeError, AssertionError) as error:
        raise TdseError(
            f"{path.name} cannot be linked",
            where=linker,
            why=str(error),
            hint="see whether the compiler works, and whether there is space for temporary files",
        ) from error
