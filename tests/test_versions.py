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
    "tdse": "0.1.0",
    "tdse-runtime": "",
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


def test_two_distributions_of_one_package() -> None:
    with pytest.raises(VersionError) as error:
        versions.check(installed(tdse_runtime="0.1.0"))
    assert str(error.value) == (
        "tdse 0.1.0 and tdse-runtime 0.1.0 are both installed: the first has all that is in the "
        "second; pip uninstall tdse-runtime tdse, then install one of them"
    )


def test_without_the_compiler_artefacts_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "has_compiler", lambda: False)
    versions.check(installed(apache_tvm="", apache_tvm_ffi="", ai_edge_litert=""))
    with pytest.raises(VersionError, match=r"ai-edge-litert 2\.4 does not work with tdse"):
        versions.check(installed(apache_tvm="", ai_edge_litert="2.4"))


def test_what_is_missing() -> None:
    found = versions.missing(
        {"ai-edge-litert": "2.3", "apache-tvm": "0.27"}, installed(apache_tvm="")
    )
    assert found == ["apache-tvm"]
    assert versions.install_command(found) == 'pip install "apache-tvm>=0.27,<0.28"'
