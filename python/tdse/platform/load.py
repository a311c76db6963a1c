"""Load a platform by what a user writes: ``host``, the name of a preset, or a file."""

from __future__ import annotations

import difflib
import os
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from tdse.errors import PlatformError, UsageError
from tdse.faults import faults_of
from tdse.platform.discover import discover_devices
from tdse.platform.model import Platform

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FORM = "see the presets for the form of a platform file"


def load_platform(text: str) -> Platform:
    """The platform that ``text`` names.

    Args:
        text: ``host``, a preset's name, or the path of a ``.toml`` file.

    Raises:
        UsageError: it is none of these.
        PlatformError: the file cannot be read or is wrong; all faults are told at once.
    """
    if text == "host":
        return discover_devices()
    if text in preset_names():
        preset = resources.files(__package__) / "presets" / f"{text}.toml"
        return _parse(preset.read_bytes(), f"preset {text}", "preset")
    if not (text.endswith(".toml") or os.sep in text):
        known = ["host", *preset_names()]
        near = difflib.get_close_matches(text, known, n=1)
        raise UsageError(
            f"there is no platform {text}",
            hint=(f"did you mean {near[0]}? " if near else "")
            + f"choose one of {', '.join(known)}, or a .toml file",
        )
    try:
        data = Path(text).read_bytes()
    except (OSError, ValueError) as error:
        raise PlatformError(
            "cannot read the platform file",
            where=text,
            why=getattr(error, "strerror", None) or str(error),
            hint=f"give a .toml file, or one of host, {', '.join(preset_names())}",
        ) from error
    return _parse(data, text, "file")


@cache
def preset_names() -> tuple[str, ...]:
    """Names of the platforms that come with tdse."""
    folder = resources.files(__package__) / "presets"
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in folder.iterdir()
            if entry.name.endswith(".toml")
        )
    )


def _parse(data: bytes, where: str, source: Literal["preset", "file"]) -> Platform:
    try:
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlatformError("not a TOML file", where=where, why=str(error), hint=_FORM) from error
    if "source" in table:
        raise PlatformError(
            "wrong platform file",
            where=where,
            why="source: is set by tdse",
            hint="remove the key",
        )
    try:
        return Platform.model_validate({**table, "source": source})
    except ValidationError as error:
        raise PlatformError(
            "wrong platform file",
            where=where,
            why="; ".join(faults_of(error, Platform)),
            hint=_FORM,
        ) from error
