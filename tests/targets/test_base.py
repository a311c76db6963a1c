"""The registry of targets, and targets that other packages add."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.targets import CompiledRegions, Support, Target, Variant, base, get_target, target_names


class OwnTarget:
    """A target as another package would write it."""

    name = "own"

    def available(self) -> Support:
        return Support(True)

    def variants(self, cores: int) -> tuple[Variant, ...]:
        return (Variant(self.name, cores),)

    def supports(self, graph: Graph, op_index: int) -> Support:
        return Support(False, "it runs nothing")

    def compile(self, graph: Graph, regions: Sequence[Region], threads: int) -> CompiledRegions:
        return CompiledRegions(())


def not_a_target() -> str:
    return "something else"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of another package: targets, something else, and what is not there."""
    package = ModuleType("package_of_targets")
    package.__spec__ = ModuleSpec(package.__name__, None)
    package.__dict__.update(OwnTarget=OwnTarget, not_a_target=not_a_target)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    values = {
        "own": "package_of_targets:OwnTarget",
        "odd": "package_of_targets:not_a_target",
        "gone": "no_such_package_of_targets.target:Target",
        "litert": "package_of_targets:OwnTarget",
    }
    points = [EntryPoint(name, value, base.ENTRY_POINTS) for name, value in values.items()]
    monkeypatch.setattr(base, "entry_points", lambda group: points)
    get_target.cache_clear()


def test_own_targets_are_known() -> None:
    assert target_names()[:2] == ("litert", "llvm")
    assert isinstance(get_target("litert"), Target)
    assert get_target("litert") is get_target("litert")


def test_unknown_target_is_told_with_the_known_ones() -> None:
    with pytest.raises(TargetError) as caught:
        get_target("litrt")
    assert str(caught.value) == (
        "there is no target 'litrt': the known ones are litert, llvm, opencl, cuda, edgetpu, "
        "openvino; did you mean litert?"
    )


def test_another_package_adds_a_target(installed: None) -> None:
    assert target_names() == ("litert", "llvm", "opencl", "cuda", "edgetpu", "gone", "odd", "own")
    assert get_target("own").variants(3) == (Variant("own", 3),)


def test_own_targets_cannot_be_replaced(installed: None) -> None:
    assert type(get_target("litert")).__name__ == "LitertTarget"


@pytest.mark.parametrize(
    ("name", "why"), [("odd", "does not give a Target"), ("gone", "no_such_package_of_targets")]
)
def test_a_broken_package_is_named(installed: None, name: str, why: str) -> None:
    assert base.target_code(name)
    with pytest.raises(TargetError, match=why):
        get_target(name)


def test_variants_are_printed_with_their_threads() -> None:
    assert str(Variant("litert", 2)) == "litert x2"
