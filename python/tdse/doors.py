"""The doors into TVM, of which the installed TVM decides: Relax's (0.27) or Relay's (0.8 to 0.19).

The rest of tdse imports without any TVM.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tdse.errors import VersionError
from tdse.versions import parse

_VERSION = re.compile("^__version__ .*?[\"'](.+?)[\"']", re.MULTILINE)


@dataclass(frozen=True)
class Door:
    """A package of tdse for one of TVM's intermediate representations.

    Attributes:
        name: of the package in ``tdse``, and of the representation.
        at_least: lowest version of TVM that it works with, as text.
        below: first version that is too high, as text.
        install: what to do where there is no such TVM.
    """

    name: str
    at_least: str
    below: str
    install: str

    def why_not(self) -> str:
        """Why the TVM that Python would import is not one for this door; empty if it is."""
        package = _package()
        if package is None:
            return "no TVM is installed"
        versions = tvm_versions()
        if len(versions) > 1:
            return f"{package} has files of TVM {' and of TVM '.join(versions)}"
        if not parse(self.at_least) <= parse(tvm_version()) < parse(self.below):
            return f"the TVM in {package} is {tvm_version() or 'of an unknown version'}"
        if not (package / self.name).is_dir():
            return f"the TVM in {package} is {tvm_version()} without tvm.{self.name}"
        return ""

    def demand(self) -> None:
        """Refuse to work with another TVM.

        Raises:
            VersionError: says which TVM there is, and which door is for it.
        """
        why = self.why_not()
        if not why:
            return
        fitting = [f"use tdse.{door.name}" for door in DOORS if not door.why_not()]
        raise VersionError(
            f"tdse.{self.name} needs TVM {self.at_least} or later, below {self.below}",
            why=why,
            hint=", or ".join([*fitting, self.advice()]),
        )

    def advice(self) -> str:
        """How to get a TVM for this door; beside another, it would overwrite files of that one."""
        if _package() is None:
            return self.install
        return f"in a Python environment of its own, {self.install}"


RELAX = Door("relax", "0.27", "0.28", 'pip install "apache-tvm>=0.27,<0.28"')
RELAY = Door("relay", "0.8", "0.20", "install a TVM 0.8 to 0.19 that is built with Relay")
DOORS = (RELAX, RELAY)


def tvm_version() -> str:
    """The version of the TVM that Python would import; empty if there is none. Nothing is imported.

    Of two that were installed over each other, the newer one's.
    """
    return next(iter(tvm_versions()), "")


def _package() -> Path | None:
    """Where the TVM is that Python would import."""
    spec = importlib.util.find_spec("tvm")
    return Path(spec.origin).parent if spec and spec.origin else None


@cache
def tvm_versions() -> tuple[str, ...]:
    """What the files of TVM say that it is: two versions where two were installed over each other.

    Its files are asked, not pip, which does not know what of each is left.
    """
    package = _package()
    if package is None:
        return ()
    files = [package / name for name in ("_version.py", "_ffi/libinfo.py", "libinfo.py")]
    texts = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    return tuple(dict.fromkeys(found[1] for found in map(_VERSION.search, texts) if found))
