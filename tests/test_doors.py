"""Which door into TVM there is, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from tdse.doors import RELAX, RELAY, Door
from tdse.errors import VersionError


def import_tvm(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python import a TVM of a version."""
    tvm = ModuleType("tvm")
    tvm.__version__ = version  # type: ignore[attr-defined]
    tvm.__file__ = "/somewhere/tvm/__init__.py"
    monkeypatch.setitem(sys.modules, "tvm", tvm)


@pytest.mark.parametrize(
    ("version", "fitting"),
    [("0.27.0.post1", RELAX), ("0.16.dev0", RELAY), ("0.8.0", RELAY), ("0.19.0", RELAY)],
)
def test_the_door_follows_from_tvm(
    version: str, fitting: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_tvm(version, monkeypatch)
    fitting.demand()
    other = RELAY if fitting is RELAX else RELAX
    with pytest.raises(VersionError) as caught:
        other.demand()
    assert f"Python imports TVM {version} from /somewhere/tvm" in str(caught.value)
    assert f"use tdse.{fitting.name}" in caught.value.hint


def test_between_the_doors_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import_tvm("0.22.0", monkeypatch)
    with pytest.raises(VersionError, match=r"needs TVM 0.27 or later, below 0.28: .*TVM 0.22.0"):
        RELAX.demand()


# A process that cannot import a package, as where it is not installed.
_WITHOUT = """
import sys
for name in ("tvm", "tvm_ffi"):
    sys.modules[name] = None
import tdse
from tdse.errors import VersionError
"""


def test_the_core_imports_without_tvm() -> None:
    script = f"""{_WITHOUT}
import tdse.graph.reader, tdse.place, tdse.pipeline, tdse.emulation.emulate, tdse.cli.tdsec
try:
    tdse.relax
except VersionError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    why = "tdse.relax needs TVM 0.27 or later, below 0.28: Python cannot import"
    assert done.stdout.startswith(why)
