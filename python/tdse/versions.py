"""Whether the installed libraries are of versions that tdse works with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

from tdse.errors import VersionError

Version = tuple[int, ...]


@dataclass(frozen=True)
class Requirement:
    """A distribution that must be of a version in ``[at_least, below)``.

    Attributes:
        distribution: its name, as pip knows it.
        at_least: lowest version, as text.
        below: first version that is too high, as text.
        reason: what goes wrong with another version.
        may_be_missing: whether tdse is of use without it.
        same: how many leading numbers of two versions must be equal for what was compiled with one
            to run with the other.
    """

    distribution: str
    at_least: str
    below: str
    reason: str
    same: int
    may_be_missing: bool = False

    @property
    def specifier(self) -> str:
        """For pip, for example ``apache-tvm>=0.27,<0.28``."""
        return f"{self.distribution}>={self.at_least},<{self.below}"


REQUIREMENTS = (
    Requirement("apache-tvm", "0.27", "0.28", "its interfaces change with every release", 2, True),
    # With 0.1.15, ConvertLayout and MetaSchedule end the process with a segmentation fault.
    Requirement("apache-tvm-ffi", "0.1.14.post0", "0.1.15", "TVM 0.27 crashes with another one", 3),
    Requirement("ai-edge-litert", "2.3", "2.4", "the C interface that tdse calls has changed", 2),
)


def check(version_of: Callable[[str], str] = metadata.version) -> None:
    """Raise unless every library that tdse links or calls by its ABI has a version that fits.

    Only the installed metadata are read; no library is imported. TVM itself may be missing: what
    needs it says so (``doors``).

    Args:
        version_of: the version of a distribution; raises ``PackageNotFoundError`` if it is missing.

    Raises:
        VersionError: a library is missing or does not fit; names the command that installs it.
    """
    for requirement in REQUIREMENTS:
        hint = f'pip install "{requirement.specifier}"'
        try:
            installed = version_of(requirement.distribution)
        except metadata.PackageNotFoundError:
            if requirement.may_be_missing:
                continue
            raise VersionError(f"{requirement.distribution} is not installed", hint=hint) from None
        if not _fits(installed, requirement):
            raise VersionError(
                f"{requirement.distribution} {installed} does not work with tdse",
                why=requirement.reason,
                hint=hint,
            )


def misfits(
    made_with: Mapping[str, str], version_of: Callable[[str], str] = metadata.version
) -> list[str]:
    """Libraries here with which something compiled with others does not run, one text each.

    Args:
        made_with: versions it was compiled with, by distribution.
        version_of: the installed version of a distribution.
    """
    texts = []
    for requirement in REQUIREMENTS:
        name, same = requirement.distribution, requirement.same
        made = made_with[name]
        try:
            here = version_of(name)
        except metadata.PackageNotFoundError:
            texts.append(f"it was made with {name} {made}, which is not installed")
            continue
        if parse(made)[:same] != parse(here)[:same]:
            texts.append(f"it was made with {name} {made}, installed is {here}")
    return texts


def is_newer(version: str, other: str) -> bool:
    """``version`` is of a later minor release than ``other``."""
    return parse(version)[:2] > parse(other)[:2]


def _fits(installed: str, requirement: Requirement) -> bool:
    version = parse(installed)
    return parse(requirement.at_least) <= version < parse(requirement.below)


def parse(text: str) -> Version:
    """``0.1.14.post1+cpu`` as ``(0, 1, 14, 0, 1)``: four numbers, then the post-release or -1.

    Pre-releases count as their release: they have its interfaces.
    """
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release.group().split(".")] if release else []
    post = re.search(r"\.post(\d+)", text)
    return (*(numbers + [0] * 4)[:4], int(post.group(1)) if post else -1)
