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
        spec = importlib.util.find_spec("tvm")
        if spec is None or not spec.origin:
            return "no TVM is installed"
        version = tvm_version()
        if parse(self.at_least) <= parse(version) < parse(self.below):
            return ""
        return f"the TVM in {Path(spec.origin).parent} is {version or 'of an unknown version'}"

    def demand(self) -> None:
        """Refuse to work with another TVM.

        Raises:
            VersionError: says which TVM there is, and which door is for it.
        """
        why = self.why_not()
        if not why:
            return
        fitting = [door.name for door in DOORS if not door.why_not()]
        raise VersionError(
            f"tdse.{self.name} needs TVM {self.at_least} or later, below {self.below}",
            why=why,
            hint=f"use tdse.{fitting[0]}, or {self.install}" if fitting else self.install,
        )


RELAX = Door("relax", "0.27", "0.28", 'pip install "apache-tvm>=0.27,<0.28"')
RELAY = Door("relay", "0.8", "0.20", "install a TVM 0.8 to 0.19 that is built with Relay")
DOORS = (RELAX, RELAY)


@cache
def tvm_version() -> str:
    """The version of the TVM that Python would import; empty if there is none. Nothing is imported.

    Its files are asked, not pip: two distributions may both have brought a package ``tvm``.
    """
    spec = importlib.util.find_spec("tvm")
    for name in ("_version.py", "_ffi/libinfo.py", "libinfo.py"):
        file = Path(spec.origin).parent / name if spec and spec.origin else None
        if file is not None and file.is_file():
            found = _VERSION.search(file.read_text(encoding="utf-8"))
            if found:
                return found[1]
    return ""
