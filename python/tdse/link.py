"""Writes runtime modules and kernels as libraries; a C++ compiler of this machine links them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdse.errors import TdseError
from tdse.platform import Device, discover_host
from tdse.worker import find_program

_NAMES = ("g++", "clang++", "c++")
_LINK_HINT = "see whether the compiler works, and whether there is space for temporary files"


def find_linker(processor: Device | None = None) -> Path:
    """The compiler that links for a processor.

    For this machine it is the one that ``CXX`` names, or the first one on ``PATH``. For another
    architecture it is the one on ``PATH`` whose name begins with the triple, as Debian's and GNU's
    are called.

    Args:
        processor: a platform's device that is not this machine's CPU; None for that.

    Raises:
        TdseError: there is none.
    """
    if processor is not None and processor.isa != discover_host().devices[0].isa:
        return _find_cross_linker(processor.triple)
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


def _find_cross_linker(triple: str) -> Path:
    # A triple may name the vendor as well: aarch64-unknown-linux-gnu.
    parts = triple.split("-")
    names = dict.fromkeys((f"{triple}-g++", f"{parts[0]}-{'-'.join(parts[-2:])}-g++"))
    for name in names:
        found = find_program(name)
        if found is not None:
            return found
    package = f"g++-{list(names)[-1].removesuffix('-g++')}".replace("_", "-")
    raise TdseError(
        f"there is no C++ compiler that links for {triple}",
        where="PATH",
        why=f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not found",
        hint=f"install one, on Debian with apt-get install {package}",
    )


def write_library(module: Any, path: Path, processor: Device | None = None) -> None:
    """Write a TVM runtime module, with all that it imports, as the shared library ``path``.

    Args:
        module: compiled for the processor.
        path: of the library.
        processor: a platform's device that is not this machine's CPU; None for that.

    Raises:
        TdseError: there is no compiler, or it cannot link.
    """
    from tvm.support import cc

    linker = str(find_linker(processor))
    triple = cc.get_target_by_dump_machine(linker)
    try:
        fcompile = cc.cross_compiler(linker, get_target_triple=triple)
        module.export_library(str(path), fcompile=fcompile)
    except (OSError, RuntimeError, AssertionError) as error:
        raise TdseError(
            f"{path.name} cannot be linked",
            where=linker,
            why=str(error),
            hint=_LINK_HINT,
        ) from error


def join_objects(objects: Sequence[Path], joined: Path) -> None:
    """Make one object file of several.

    Raises:
        TdseError: there is no compiler, or it cannot link.
    """
    _link(["-r", "-nostdlib", *map(str, objects)], joined)


def link_object(path: Path, library: Path) -> None:
    """Write an object file as a shared library.

    Raises:
        TdseError: there is no compiler, or it cannot link.
    """
    _link(["-shared", str(path)], library)


def _link(arguments: Sequence[str], result: Path) -> None:
    linker = str(find_linker())
    try:
        command = [linker, "-o", str(result), *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise TdseError(
            "compiled kernels cannot be linked",
            where=linker,
            why=said.strip().splitlines()[-1],
            hint=_LINK_HINT,
        ) from None
