"""Objectives by name, and the power figures that they need."""

from __future__ import annotations

import pytest

from tdse.cli.tdsec import main
from tdse.errors import PlatformError, UsageError
from tdse.goals import GOALS, active_w, demand_power, goals_of, idle_w
from tdse.place import Options
from tdse.platform import Device, Platform

BARE = Device(name="cpu", targets=("litert",), cores=4)
KNOWN = Device(name="cpu", targets=("litert",), cores=4, idle_w=1.5, active_w_per_core=0.8)


def _platform(device: Device) -> Platform:
    return Platform(name="board", source="file", devices=(device,))


def test_an_unknown_objective_is_refused_with_the_known_ones() -> None:
    assert goals_of("pareto") == ("latency", "energy")
    with pytest.raises(UsageError) as caught:
        Options(objective="speed")
    assert str(caught.value) == (
        "objective 'speed' is not known; choose latency, throughput, energy, edp, pareto"
    )


def test_the_help_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "|".join(GOALS) in capsys.readouterr().out


@pytest.mark.parametrize("objective", ["energy", "edp", "pareto"])
def test_energy_needs_power_figures(objective: str) -> None:
    demand_power(_platform(KNOWN), objective, ["litert"])
    with pytest.raises(PlatformError) as caught:
        demand_power(_platform(BARE), objective, ["litert"])
    assert str(caught.value) == (
        f"platform board: the objective {objective} needs the energy of a run, which is not "
        "known: device cpu has no power figures to model it from; set active_w_per_core, and "
        "idle_w, of the device in a platform file, and give that with --platform"
    )


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_times_need_none(objective: str) -> None:
    demand_power(_platform(BARE), objective, ["litert"])


def test_power_is_that_of_busy_cores() -> None:
    assert active_w(KNOWN, 3) == pytest.approx(2.4)
    # No more cores can be busy than there are.
    assert active_w(KNOWN, 8) == pytest.approx(3.2)
    assert (active_w(BARE, 2), idle_w(BARE), idle_w(KNOWN)) == (0.0, 0.0, 1.5)
