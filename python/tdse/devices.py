"""What a platform offers, and which of its targets can be used on this machine."""

from __future__ import annotations

from typing import Any

from tdse.errors import TdseError
from tdse.link import find_linker
from tdse.platform import load_platform
from tdse.targets import get_target
from tdse.targets.base import Support, target_code


def describe_devices(platform: str = "host") -> dict[str, Any]:
    """Devices, their targets, and why a target is not available.

    Raises:
        PlatformError, UsageError: the platform is not known or its file is wrong.
    """
    found = load_platform(platform)
    devices = []
    for device in found.devices:
        targets = []
        for name in device.targets:
            support = _support(name)
            targets.append(
                {
                    "name": name,
                    "available": support.ok,
                    "reason": support.reason,
                    "code": target_code(name),
                }
            )
        devices.append(
            {
                "name": device.name,
                "model_name": device.model_name,
                "cores": device.cores,
                "memory_bytes": device.memory_bytes,
                "triple": device.triple,
                "features": list(device.features),
                "targets": targets,
                "emulated": None if device.emulated is None else device.emulated.model_dump(),
                "dataflow": None if device.dataflow is None else device.dataflow.model_dump(),
                "edgetpu": None if device.edgetpu is None else device.edgetpu.model_dump(),
            }
        )
    return {
        "platform": found.name,
        "source": found.source,
        "devices": devices,
        "linker": _linker(),
    }


def _support(target: str) -> Support:
    """Whether a target can be used here; one that not even its TVM is there for cannot."""
    try:
        return get_target(target).available()
    except TdseError as error:
        return Support(False, str(error))


def _linker() -> str:
    try:
        return str(find_linker())
    except TdseError:
        return ""
