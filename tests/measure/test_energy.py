"""Energy is read from a tree of files as the kernel shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdse.cost.energy import Energy, energy_of
from tdse.measure.energy import PowerMeter, find_meter, measure_energy
from tdse.platform import Device


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")
    return path


def rapl(root: Path, zone: str, name: str, energy_uj: int) -> Path:
    directory = root / "sys/class/powercap" / zone
    write(directory / "name", name)
    write(directory / "max_energy_range_uj", 999_999)
    return write(directory / "energy_uj", energy_uj)


def test_without_a_sensor_there_is_no_meter(tmp_path: Path) -> None:
    assert find_meter(tmp_path) is None


def test_packages_are_added_and_what_they_contain_is_not(tmp_path: Path) -> None:
    first = rapl(tmp_path, "intel-rapl:0", "package-0", 100)
    second = rapl(tmp_path, "intel-rapl:1", "package-1", 200)
    inner = rapl(tmp_path, "intel-rapl:0:0", "core", 50)
    whole = rapl(tmp_path, "intel-rapl:2", "psys", 0)
    meter = find_meter(tmp_path)
    assert meter is not None
    for file, value in ((first, 100_100), (second, 300_200), (inner, 90_000), (whole, 900_000)):
        write(file, value)
    assert meter.joules() == pytest.approx(0.4)


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    file = rapl(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = find_meter(tmp_path)
    assert meter is not None
    write(file, 100_000)
    assert meter.joules() == pytest.approx(0.2)
    write(file, 50_000)
    assert meter.joules() == pytest.approx(0.2 + 0.95)


def test_a_counter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    file = rapl(tmp_path, "intel-rapl:0", "package-0", 1)
    # Reading a directory fails for root as well.
    file.unlink()
    file.mkdir()
    assert find_meter(tmp_path) is None


def test_power_is_added_up_over_time(tmp_path: Path) -> None:
    source = write(tmp_path / "power1_input", 2_000_000)
    moments = iter([0.0, 1.0, 3.0])
    meter = PowerMeter(source, lambda: next(moments))
    write(source, 4_000_000)
    assert meter.joules() == pytest.approx(3.0)
    assert meter.joules() == pytest.approx(11.0)


def test_only_monitors_of_the_supply_are_used(tmp_path: Path) -> None:
    hwmon = tmp_path / "sys/class/hwmon"
    write(hwmon / "hwmon0/name", "amdgpu")
    write(hwmon / "hwmon0/power1_input", 5_000_000)
    assert find_meter(tmp_path) is None
    write(hwmon / "hwmon1/name", "ina226")
    write(hwmon / "hwmon1/power1_input", 5_000_000)
    assert isinstance(find_meter(tmp_path), PowerMeter)


class Steady:
    """Counts a millijoule for each look and ten for each run."""

    def __init__(self) -> None:
        self.energy = 0.0

    def joules(self) -> float:
        return self.energy

    def run(self) -> None:
        self.energy += 0.010


def test_energy_of_a_run() -> None:
    meter = Steady()
    reading = measure_energy(meter.run, meter, seconds=0.0, idle_s=0.001)
    assert reading.runs == 1
    assert reading.idle_w == 0.0
    assert reading.total_mj == pytest.approx(10.0)
    assert reading.above_idle_mj == pytest.approx(10.0)


def test_every_figure_has_its_source() -> None:
    plain = Device(name="cpu", targets=("litert",))
    assert energy_of(plain, 1000.0, 2) is None
    assert energy_of(plain, 1000.0, 2, measured_mj=1.5) == Energy(1.5, "measured")
    known = Device(name="cpu", targets=("litert",), active_w_per_core=0.5)
    modelled = energy_of(known, 3000.0, 2)
    assert modelled == Energy(3.0, "modelled")
    assert str(modelled) == "3 mJ (modelled)"
