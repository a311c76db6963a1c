"""Who wins a contest, on made-up times."""

from __future__ import annotations

import pytest

from tdse.contest import Contestant, _far_behind, _front, _hopeless, _is_settled, _winner, distinct
from tdse.graph.regions import Region
from tdse.measure.race import Lap, Result

ONE = (Region(0, "litert", (0, 1, 2)),)
THREE = (Region(0, "litert", (0,)), Region(1, "llvm", (1,)), Region(2, "litert", (2,)))

TWO_CORES = Contestant("litert x2", 2, ONE, 10.0, 10.0, power_w=6.0)
ONE_CORE = Contestant("litert x1", 1, ONE, 15.0, 15.0, power_w=3.0)
SPLIT = Contestant("placed x1", 1, THREE, 14.0, 14.0, power_w=3.5)


def _result(name: str, *medians_us: float) -> Result:
    return Result(name, tuple(Lap((median,) * 3, 0.0, 0.0, 0) for median in medians_us))


def _wins(**medians: tuple[float, ...]) -> str:
    contestants = [Contestant("whole", 1, ONE, 10.0, 10.0), Contestant("split", 1, THREE, 9.0, 9.0)]
    results = {name: _result(name, *medians[name]) for name in ("whole", "split")}
    return _winner(contestants, results, "latency").name


def test_the_fastest_wins() -> None:
    assert _wins(whole=(10.0, 10.1, 10.2), split=(5.0, 5.1, 5.2)) == "split"
    assert _wins(whole=(4.0, 4.1, 4.2), split=(5.0, 5.1, 5.2)) == "whole"


def test_a_tie_goes_to_the_simpler() -> None:
    assert _wins(whole=(10.0, 10.1, 10.2), split=(10.1, 10.0, 10.1)) == "whole"


def test_a_tie_of_litert_with_itself_goes_to_fewer_threads() -> None:
    results = {
        "litert x2": _result("litert x2", 10.0, 10.0, 10.1),
        "litert x1": _result("litert x1", 10.1, 10.0, 10.1),
    }
    assert _winner([TWO_CORES, ONE_CORE], results, "latency") is ONE_CORE


def test_noise_is_no_tie() -> None:
    # One launch of eight was odd, but the medians are far apart.
    assert _wins(whole=(*[10.0] * 7, 4.0), split=(5.0,) * 8) == "split"


def test_equal_contestants_are_timed_once_under_the_plain_name() -> None:
    found = distinct(
        [Contestant("placed x1 #1", 1, ONE, 1.0, 1.0), Contestant("litert x1", 1, ONE, 1.0, 1.0)]
    )
    assert [c.name for c in found] == ["litert x1"]
    other_threads = [Contestant("a", 1, THREE, 1.0, 1.0), Contestant("b", 2, THREE, 1.0, 1.0)]
    assert distinct(other_threads) == other_threads


def test_only_a_single_other_target_can_be_far_behind() -> None:
    llvm = (Region(0, "llvm", (0, 1, 2)),)
    best = Contestant("placed x2", 1, THREE, 10.0, 10.0)

    def why(contestant: Contestant) -> str:
        return _far_behind(contestant, [best, contestant], ["latency"])

    assert "6.0 times" in why(Contestant("llvm x1", 1, llvm, 60.0, 60.0))
    assert why(Contestant("llvm x1", 1, llvm, 30.0, 30.0)) == ""
    assert why(Contestant("litert x1", 1, ONE, 60.0, 60.0)) == ""
    assert why(Contestant("placed", 1, THREE, 60.0, 60.0)) == ""


def test_the_first_launch_ends_the_race_for_another_target_that_is_hopeless() -> None:
    contestants = [
        Contestant("litert x1", 1, ONE, 10.0, 10.0, power_w=1.0),
        Contestant("llvm x1", 1, (Region(0, "llvm", (0, 1, 2)),), 10.0, 10.0, power_w=0.3),
        Contestant("placed x1", 1, THREE, 10.0, 10.0, power_w=1.0),
    ]
    results = {"litert x1": 25.0, "llvm x1": 25.0, "placed x1": 10.0}
    raced = {name: _result(name, us) for name, us in results.items()}
    assert _hopeless(contestants, raced, ["latency"]) == {
        "llvm x1": "its latency was 2.5 times that of the best"
    }
    # It takes the least energy.
    assert _hopeless(contestants, raced, ["latency", "energy"]) == {}


def test_what_is_not_surely_faster_than_litert_does_not_win() -> None:
    contestants = [TWO_CORES, SPLIT]

    def judged(*medians_us: float) -> tuple[bool, str]:
        results = {
            "litert x2": _result("litert x2", *(10.0 for _ in medians_us)),
            "placed x1": _result("placed x1", *medians_us),
        }
        winner = _winner(contestants, results, "latency").name
        return _is_settled(contestants, results, "latency"), winner

    assert judged(9.0, 9.1, 9.2) == (True, "placed x1")
    assert judged(9.0, 9.1, 10.5) == (False, "litert x2")
    # More launches settle it.
    assert judged(9.0, 9.1, 10.5, 9.0, 9.1, 9.0, 9.1, 9.0) == (True, "placed x1")
    assert judged(11.0, 11.0, 11.0) == (True, "litert x2")


COPIES = (Region(0, "litert", (0, 1, 2), (0, 1)),)
SPLIT_COPIES = tuple(Region(r.index, r.device, r.ops, (0, 1)) for r in THREE)


@pytest.mark.parametrize(
    ("threads_us", "copies_us", "split_us", "winner"),
    [
        # Copies and threads take about the same: copies need the second core less.
        ((10.0, 10.1, 10.2), (10.3, 10.4, 10.5), (20.0, 20.0, 20.0), "litert x1 on 2 lanes"),
        # Threads are faster by more than that.
        ((10.0, 10.1, 10.2), (11.3, 11.4, 11.5), (20.0, 20.0, 20.0), "litert x2"),
        # What is placed beats calls, but not surely what copies of LiteRT do.
        ((15.0, 15.1, 15.2), (10.3, 10.4, 10.5), (9.9, 10.0, 10.6), "litert x1 on 2 lanes"),
        ((15.0, 15.1, 15.2), (10.3, 10.4, 10.5), (9.0, 9.1, 9.2), "placed x1 on 2 lanes"),
    ],
)
def test_a_stream_is_raced_against_copies_of_litert(
    threads_us: tuple[float, ...],
    copies_us: tuple[float, ...],
    split_us: tuple[float, ...],
    winner: str,
) -> None:
    contestants = [
        TWO_CORES,
        Contestant("litert x1 on 2 lanes", 1, COPIES, 15.0, 10.0),
        Contestant("placed x1 on 2 lanes", 1, SPLIT_COPIES, 15.0, 10.0),
    ]
    medians = zip(contestants, (threads_us, copies_us, split_us), strict=True)
    results = {one.name: _result(one.name, *times_us) for one, times_us in medians}
    assert _winner(contestants, results, "throughput").name == winner


def test_without_litert_the_best_wins() -> None:
    other = Contestant("other", 1, THREE, 10.0, 10.0)
    results = {"placed x1": _result("placed x1", 9.0, 12.0), "other": _result("other", 20.0, 20.0)}
    assert _is_settled([SPLIT, other], results, "latency")
    assert _winner([SPLIT, other], results, "latency") is SPLIT


def test_what_is_slow_may_take_little_energy() -> None:
    fast = Contestant("placed x2", 2, THREE, 10.0, 10.0, power_w=5.0)
    slow = Contestant("llvm x1", 1, (Region(0, "llvm", (0, 1, 2)),), 60.0, 60.0, power_w=2.0)
    assert "6.0 times as long" in _far_behind(slow, [fast, slow], ["throughput"])
    assert _far_behind(slow, [fast, slow], ["energy"]) == ""
    assert _far_behind(slow, [fast, slow], ["latency", "energy"]) == ""
    # 2 W for 60 us in 60 us, against 5 W for 10 us in 10 us.
    assert "at least 14.4 times" in _far_behind(slow, [fast, slow], ["edp"])


MEDIANS_US = {"litert x2": 10.0, "litert x1": 16.0, "placed x1": 16.5}


@pytest.mark.parametrize(
    ("goal", "winner"),
    # Times 10, 16 and 16.5 us; energies 60, 48 and 57.75 uJ; products 600, 768 and 953.
    [
        ("latency", "litert x2"),
        ("throughput", "litert x2"),
        ("energy", "litert x1"),
        ("edp", "litert x2"),
    ],
)
def test_the_winner_is_chosen_by_the_objective(goal: str, winner: str) -> None:
    results = {name: _result(name, us, us, us) for name, us in MEDIANS_US.items()}
    assert _winner([TWO_CORES, ONE_CORE, SPLIT], results, goal).name == winner


def test_the_front_is_of_measured_times() -> None:
    results = {name: _result(name, us, us, us) for name, us in MEDIANS_US.items()}
    contestants = [SPLIT, ONE_CORE, TWO_CORES]
    front = _front(contestants, results, ("latency", "energy"))
    assert [one.name for one in front] == ["litert x2", "litert x1"]
    results["placed x1"] = _result("placed x1", 13.0, 13.0, 13.0)
    # Now it takes 45.5 uJ and less time than litert x1.
    front = _front(contestants, results, ("latency", "energy"))
    assert [one.name for one in front] == ["litert x2", "placed x1"]


def test_energy_is_power_times_time() -> None:
    assert TWO_CORES.energy_mj(1000.0) == pytest.approx(6.0)
    assert Contestant("litert x1", 1, ONE, 1.0, 1.0).energy_mj(1000.0) is None
