"""Regions that an Edge TPU runs, through LiteRT's Python interpreter and libedgetpu."""

from __future__ import annotations

from typing import Any

from tdse.edgetpu.blob import Compiled
from tdse.edgetpu.delegate import demand_devices, demand_runs
from tdse.edgetpu.probe import FailedError, prepared
from tdse.errors import DelegateRefusedError, DelegateUnusedError

KIND = "edgetpu"


def edgetpu_interpreter(data: bytes) -> Any:
    """The interpreter of a region.

    Args:
        data: as ``Compiled.to_bytes`` made it.

    Raises:
        ArtefactError: it is damaged.
        TargetError: there is no Edge TPU that runs it, with the kind that says why.
    """
    region = Compiled.from_bytes(data)
    library = demand_devices(region.device + 1)
    demand_runs(library, region.compiled, region.device)
    try:
        return prepared(region.compiled, library, region.device)
    except FailedError as error:
        raise DelegateUnusedError(
            "libedgetpu takes none of the operators", where=library, why=str(error)
        ) from None
    except (ValueError, RuntimeError) as error:
        raise DelegateRefusedError("libedgetpu refuses", where=library, why=str(error)) from None
