"""Platforms: the devices that a model is placed on, and what connects them."""

from tdse.platform.discover import discover_devices, discover_host
from tdse.platform.load import load_platform, preset_names
from tdse.platform.model import Device, Link, Platform

__all__ = [
    "Device",
    "Link",
    "Platform",
    "discover_devices",
    "discover_host",
    "load_platform",
    "preset_names",
]
