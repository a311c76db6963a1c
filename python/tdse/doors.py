"""The doors into TVM, of which the installed TVM decides: Relax's (0.27) or Relay's (0.8 to 0.19).

The rest of tdse imports without any TVM.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from tdse.errors import VersionError
from tdse.versions import parse


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
        """Why the TVM that Python imports is not one for this door; empty if it is."""
        try:
            tvm: Any = importlib.import_module("tvm")
        except ImportError as error:
            return f"Python cannot import TVM: {error}"
        version = str(getattr(tvm, "__version__", "of an unknown version"))
        if parse(self.at_least) <= parse(version) < parse(self.below):
            return ""
        return f"Python imports TVM {version} from {getattr(tvm, '__file__', 'an unknown place')}"

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
