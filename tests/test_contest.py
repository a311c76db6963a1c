"""Who wins a contest, on made-up times."""

from __future__ import annotations

from tdse.contest import Contestant, _hopeless, _winner, distinct
from tdse.graph.regions import Region
from tdse.measure.race import Lap, Result

ONE = (Region(0, "litert", (0, 1, 2)),)
THREE = (Region(0, "litert", (0,)), Region(1, "llvm", (1,)), Region(2, "litert", (2,)))


def _result(name: str, *medians_us: float) -> Result:
    return Result(name, tuple(Lap((median,) * 3, 0.0, 0.0, 0) for median in medians_us))


def _wins(**medians: tuple[float, ...]) -> str:
    contestants = [Contestant("whole", 1, ONE, 10.0), Contestant("split", 1, THREE, 9.0)]
    results = {name: _result(name, *medians[name]) for name in ("whole", "split")}
    return _winner(contestants, results).name


def test_the_fastest_wins() -> None:
    assert _wins(whole=(10.0, 10.1, 10.2), split=(5.0, 5.1, 5.2)) == "split"
    assert _wins(whole=(4.0, 4.1, 4.2), split=(5.0, 5.1, 5.2)) == "whole"


def test_a_tie_goes_to_the_simpler() -> None:
    assert _wins(whole=(10.0, 10.1, 10.2), split=(10.1, 10.0, 10.1)) == "whole"


def test_noise_is_no_tie() -> None:
    # The intervals overlap, as one launch was slow, but the medians are far apart.
    assert _wins(whole=(10.0, 10.0, 4.0), split=(5.0, 5.0, 5.0)) == "split"


def test_equal_contestants_are_timed_once_under_the_plain_name() -> None:
    found = distinct(
        [Contestant("placed x1 #1", 1, ONE, 1.0), Contestant("litert x1", 1, ONE, 1.0)]
    )
    assert [c.name for c in found] == ["litert x1"]
    other_threads = [Contestant("a", 1, THREE, 1.0), Contestant("b", 2, THREE, 1.0)]
    assert distinct(other_threads) == other_threads


def test_only_a_single_other_target_can_be_hopeless() -> None:
    llvm = (Region(0, "llvm", (0, 1, 2)),)
    assert "3.0 times" in _hopeless(Contestant("llvm x1", 1, llvm, 30.0), 10.0)
    assert _hopeless(Contestant("llvm x1", 1, llvm, 15.0), 10.0) == ""
    assert _hopeless(Contestant("litert x1", 1, ONE, 30.0), 10.0) == ""
    assert _hopeless(Contestant("placed", 1, THREE, 30.0), 10.0) == ""
