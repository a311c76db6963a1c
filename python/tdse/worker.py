"""How this process starts another one that runs a module of tdse."""

from __future__ import annotations

import os
import sys


def worker_command(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module``; with -P, none of the working directory's files is code."""
    return [sys.executable, "-P", "-m", module, *arguments]


def worker_environment() -> dict[str, str]:
    """The environment, with the places where this process finds modules."""
    places = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    found = dict.fromkeys(place for place in places if os.path.isabs(place))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
