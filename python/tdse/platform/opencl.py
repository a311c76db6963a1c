"""OpenCL devices of this machine, asked of the system's OpenCL library; none where there is none.

The order is that of ``cpp/opencl/device.cc``, so that the numbers mean the same to both.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tdse.platform.model import Device

LIBRARY = "libOpenCL.so.1"
TARGET = "opencl"

# Constants of the OpenCL specification (Khronos), CL/cl.h.
_SUCCESS = 0
_PLATFORM_NOT_FOUND = -1001
_DEVICE_TYPE_CPU = 1 << 1
_DEVICE_TYPE_ALL = 0xFFFFFFFF
_DEVICE_TYPE = 0x1000
_DEVICE_MAX_COMPUTE_UNITS = 0x1002
_DEVICE_GLOBAL_MEM_SIZE = 0x101F
_DEVICE_NAME = 0x102B
_DRIVER_VERSION = 0x102D
_DEVICE_VERSION = 0x102F


@dataclass(frozen=True)
class OpenclDevice:
    """What a driver says of a device.

    Attributes:
        name: of the device.
        versions: of OpenCL and of the driver, as they are written there.
        is_cpu: it is the processor that this runs on.
        compute_units: that work side by side.
        memory_bytes: of its global memory.
    """

    name: str
    versions: tuple[str, str]
    is_cpu: bool
    compute_units: int
    memory_bytes: int

    @property
    def identity(self) -> str:
        """Digest of what must be equal for two times on it to be comparable."""
        text = "\n".join((self.name, *self.versions, str(self.compute_units)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Opencl:
    """What was found.

    Attributes:
        devices: those that are no CPUs first, else in the order of the drivers.
        missing: why there is none, empty if there are some.
    """

    devices: tuple[OpenclDevice, ...]
    missing: str = ""


@cache
def find_opencl(library: str = LIBRARY) -> Opencl:
    """Open the system's OpenCL library and ask its drivers for their devices.

    Args:
        library: name of the library.
    """
    try:
        opencl = ctypes.CDLL(library)
    except OSError as error:
        return Opencl((), f"OpenCL is not installed: {library} cannot be opened ({error})")
    try:
        found = [_describe(opencl, device) for device in _device_ids(opencl)]
    except (AttributeError, OSError) as error:
        return Opencl((), f"{library} does not serve: {error}")
    if not found:
        return Opencl((), "OpenCL is installed, but no driver offers a device")
    return Opencl(tuple(sorted(found, key=lambda device: device.is_cpu)))


def opencl_devices(found: Opencl) -> tuple[Device, ...]:
    """Devices for a platform.

    One that is the processor itself would compete with the CPU's own targets for the same cores,
    so its target is only used where it is asked for.
    """
    return tuple(
        Device(
            name=f"opencl{number}",
            targets=(target_name(number),),
            cores=max(1, device.compute_units),
            model_name=device.name,
            memory_bytes=device.memory_bytes or None,
            on_request=device.is_cpu,
        )
        for number, device in enumerate(found.devices)
    )


def target_name(number: int) -> str:
    """The target of an OpenCL device: ``opencl``, ``opencl:1``, ``opencl:2``, ..."""
    return TARGET if number == 0 else f"{TARGET}:{number}"


def target_number(target: str) -> int | None:
    """The device that a target is for; None if it is no target for OpenCL."""
    name, _, number = target.partition(":")
    if name != TARGET or (target != name and not number.isdecimal()):
        return None
    return int(number or 0)


def target_identity(target: str) -> str:
    """What tells the device of a target from others that had its number; empty for other targets.

    Times on it are comparable only with those on a device of the same identity.
    """
    number = target_number(target)
    if number is None:
        return ""
    devices = find_opencl().devices
    return devices[number].identity if number < len(devices) else "missing"


def _device_ids(opencl: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    count = ctypes.c_uint()
    status = opencl.clGetPlatformIDs(0, None, ctypes.byref(count))
    if status == _PLATFORM_NOT_FOUND:
        return
    if status != _SUCCESS:
        raise OSError(f"clGetPlatformIDs failed with {status}")
    platforms = (ctypes.c_void_p * count.value)()
    opencl.clGetPlatformIDs(count, platforms, None)
    every = ctypes.c_uint64(_DEVICE_TYPE_ALL)
    for platform in platforms:
        # A platform whose hardware is not there has none, or refuses to say.
        handle = ctypes.c_void_p(platform)
        if opencl.clGetDeviceIDs(handle, every, 0, None, ctypes.byref(count)) != _SUCCESS:
            continue
        devices = (ctypes.c_void_p * count.value)()
        if opencl.clGetDeviceIDs(handle, every, count, devices, None) == _SUCCESS:
            yield from (ctypes.c_void_p(device) for device in devices)


def _describe(opencl: ctypes.CDLL, device: ctypes.c_void_p) -> OpenclDevice:
    def number(what: int, kind: type[ctypes.c_uint] | type[ctypes.c_uint64]) -> int:
        value = kind()
        opencl.clGetDeviceInfo(
            device,
            what,
            ctypes.c_size_t(ctypes.sizeof(value)),
            ctypes.byref(value),
            None,
        )
        return int(value.value)

    def text(what: int) -> str:
        size = ctypes.c_size_t()
        opencl.clGetDeviceInfo(device, what, ctypes.c_size_t(0), None, ctypes.byref(size))
        value = ctypes.create_string_buffer(max(1, size.value))
        opencl.clGetDeviceInfo(device, what, size, value, None)
        return value.value.decode("utf-8", "replace").strip()

    return OpenclDevice(
        name=text(_DEVICE_NAME),
        versions=(text(_DEVICE_VERSION), text(_DRIVER_VERSION)),
        is_cpu=bool(number(_DEVICE_TYPE, ctypes.c_uint64) & _DEVICE_TYPE_CPU),
        compute_units=number(_DEVICE_MAX_COMPUTE_UNITS, ctypes.c_uint),
        memory_bytes=number(_DEVICE_GLOBAL_MEM_SIZE, ctypes.c_uint64),
    )
