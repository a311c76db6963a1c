"""The doors into TVM, of which that is tested whose TVM is installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tdse.doors import DOORS

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(
    scope="session",
    params=[door for door in DOORS if not door.why_not()],
    ids=lambda door: door.name,
)
def door(request: pytest.FixtureRequest) -> Any:
    """What a script that uses the door does: ``relax_door`` or ``relay_door``, the same names."""
    return importlib.import_module(f"{request.param.name}_door")
