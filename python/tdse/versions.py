"""Whether the installed libraries are of versions that tdse works with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

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


# What regions of a kind need; those of kernels on the CPU need nothing.
_LITERT = ("ai-edge-litert",)
_NEEDS_OF_KIND = {
    "litert": _LITERT,
    "litert_interpreter": _LITERT,
    "edgetpu": _LITERT,
    "emulated": _LITERT,
    "tvm": (),
}
_NEEDS_OF_OTHERS = ("apache-tvm", "apache-tvm-ffi")

COMPILER, RUNTIME = "tdse", "tdse-runtime"


def has_compiler() -> bool:
    """Whether this is all of tdse; what runs on boards, ``tdse-runtime``, is without a compiler."""
    return (Path(__file__).parent / "pipeline.py").is_file()


def demand_compiler() -> None:
    """Refuse what needs more than ``tdse-runtime`` has.

    Raises:
        VersionError: the compiler is not installed.
    """
    if not has_compiler():
        raise VersionError(
            "this needs the compiler",
            why=f"{RUNTIME}, which is installed, only runs and times artefacts",
            hint=f"pip uninstall {RUNTIME}, then pip install {COMPILER}",
        )


def own_distribution() -> str:
    """The name of the distribution that this is of."""
    return COMPILER if has_compiler() else RUNTIME


def needs_of(kinds: Iterable[str]) -> dict[str, str]:
    """Distributions that artefacts with regions of these kinds need, with the versions here."""
    names = {name for kind in kinds for name in _NEEDS_OF_KIND.get(kind, _NEEDS_OF_OTHERS)}
    return {name: metadata.version(name) for name in sorted(names)}


def check(version_of: Callable[[str], str] = metadata.version) -> None:
    """Raise unless every library that tdse links or calls by its ABI has a version that fits.

    Only the installed metadata are read; no library is imported. TVM itself may be missing: what
    needs it says so (``doors``). Without the compiler, each may be missing: artefacts say what they
    need.

    Args:
        version_of: the version of a distribution; raises ``PackageNotFoundError`` if it is missing.

    Raises:
        VersionError: a library is missing or does not fit; names the command that installs it.
    """
    is_whole = has_compiler()
    _demand_one(version_of)
    for requirement in REQUIREMENTS:
        hint = install_command([requirement.distribution])
        try:
            installed = version_of(requirement.distribution)
        except metadata.PackageNotFoundError:
            if requirement.may_be_missing or not is_whole:
                continue
            raise VersionError(f"{requirement.distribution} is not installed", hint=hint) from None
        if not _fits(installed, requirement):
            raise VersionError(
                f"{requirement.distribution} {installed} does not work with tdse",
                why=requirement.reason,
                hint=hint,
            )


def _demand_one(version_of: Callable[[str], str]) -> None:
    """Both distributions bring a package ``tdse``: one would overwrite files of the other."""
    try:
        found = [f"{name} {version_of(name)}" for name in (COMPILER, RUNTIME)]
    except metadata.PackageNotFoundError:
        return
    raise VersionError(
        f"{' and '.join(found)} are both installed",
        why="the first has all that is in the second",
        hint=f"pip uninstall {RUNTIME} {COMPILER}, then install one of them",
    )


def install_command(names: Sequence[str]) -> str:
    """What installs these distributions in versions that tdse works with."""
    known = {requirement.distribution: requirement.specifier for requirement in REQUIREMENTS}
    return "pip install " + " ".join(f'"{known.get(name, name)}"' for name in names)


def missing(needs: Iterable[str], version_of: Callable[[str], str] = metadata.version) -> list[str]:
    """Those of ``needs`` that are not installed."""
    return [name for name in needs if not _is_installed(name, version_of)]


def _is_installed(name: str, version_of: Callable[[str], str]) -> bool:
    try:
        version_of(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def misfits(
    made_with: Mapping[str, str], version_of: Callable[[str], str] = metadata.version
) -> list[str]:
    """Libraries here with which something compiled with others does not run, one text each.

    Args:
        made_with: versions it was compiled with, by distribution; all are installed.
        version_of: the installed version of a distribution.
    """
    same = {requirement.distribution: requirement.same for requirement in REQUIREMENTS}
    texts = []
    for name, made in made_with.items():
        here, count = version_of(name), same.get(name, 2)
        if parse(made)[:count] != parse(here)[:count]:
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
