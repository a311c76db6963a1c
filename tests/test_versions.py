"""Which versions of its libraries tdse accepts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import pytest

from tdse import versions
from tdse.errors import VersionError

GOOD = {
    "apache-tvm": "0.27.0.post1",
    "apache-tvm-ffi": "0.1.14.post1",
    "ai-edge-litert": "2.3.0",
}


def installed(**changes: str) -> Callable[[str], str]:
    """Versions of an environment; ``apache_tvm="0.28.0"`` changes one, ``""`` removes it."""
    found = {**GOOD, **{name.replace("_", "-"): version for name, version in changes.items()}}

    def version_of(distribution: str) -> str:
        if not found[distribution]:
            raise metadata.PackageNotFoundError(distribution)
        return found[distribution]

    return version_of


def test_this_environment() -> None:
    versions.check()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"apache_tvm": "0.27"},
        {"apache_tvm": "0.27.9+cpu"},
        {"apache_tvm_ffi": "0.1.14.post0"},
        {"ai_edge_litert": "2.3.9"},
    ],
)
def test_accepted(changes: dict[str, str]) -> None:
    versions.check(installed(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"apache_tvm_ffi": "0.1.15"},
            "apache-tvm-ffi 0.1.15 does not work with tdse: TVM 0.27 crashes with another one; "
            'pip install "apache-tvm-ffi>=0.1.14.post0,<0.1.15"',
        ),
        ({"apache_tvm_ffi": "0.1.14"}, "apache-tvm-ffi 0.1.14 does not work with tdse"),
        ({"apache_tvm_ffi": "0.1.15.post2"}, "apache-tvm-ffi 0.1.15.post2 does not work with tdse"),
        ({"apache_tvm": "0.28.0"}, "apache-tvm 0.28.0 does not work with tdse"),
        ({"apache_tvm": "0.26.1"}, "apache-tvm 0.26.1 does not work with tdse"),
        ({"ai_edge_litert": "2.4.0"}, "ai-edge-litert 2.4.0 does not work with tdse"),
        ({"ai_edge_litert": "unknown"}, "ai-edge-litert unknown does not work with tdse"),
        (
            {"ai_edge_litert": ""},
            'ai-edge-litert is not installed; pip install "ai-edge-litert>=2.3,<2.4"',
        ),
    ],
)
def test_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(VersionError) as error:
        versions.check(installed(**changes))
    assert str(error.value).startswith(message)
