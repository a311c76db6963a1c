"""Energy of runs, from a sensor of the machine where there is one that may be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# A counter of 32 bits of 15 uJ wraps after some minutes at 200 W; it is looked at more often.
_POLL_S = 0.05
# Chips that measure the supply of a whole board, by the names of their hwmon drivers.
_BOARD_MONITORS = frozenset({"ina209", "ina219", "ina226", "ina230", "ina231", "ina238", "ina2xx"})


class Meter(Protocol):
    """Tells energy since it was made."""

    def joules(self) -> float:
        """Joules since the meter was made; to be called again within a minute."""
        ...


@dataclass(frozen=True)
class EnergyReading:
    """Measured energy of runs.

    Attributes:
        total_mj: millijoules of one run, all that the sensor sees.
        above_idle_mj: of that, what the run adds to an idle machine.
        idle_w: watts while nothing ran, before and after.
        runs: number of runs.
    """

    total_mj: float
    above_idle_mj: float
    idle_w: float
    runs: int


def find_meter(root: Path = Path("/")) -> Meter | None:
    """A meter of this machine's processors or of its board, or None.

    Intel's and AMD's processors count energy (RAPL); the kernel shows it to root alone unless told
    otherwise. Some boards have a power monitor.

    Args:
        root: where ``sys`` is found.
    """
    counters = [
        zone
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        # Zones inside a package count part of what it counts; the platform's counts all of it.
        if zone.name.count(":") == 1 and _text(zone / "name").startswith("package")
    ]
    if counters and all(_number(zone / "energy_uj") is not None for zone in counters):
        return CounterMeter(counters)
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        source = chip / "power1_input"
        if _text(chip / "name") in _BOARD_MONITORS and _number(source) is not None:
            return PowerMeter(source)
    return None


class CounterMeter:
    """Counters of microjoules that begin again at 0 after ``max_energy_range_uj``.

    Args:
        zones: directories with ``energy_uj``.
    """

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") or 0 for zone in zones]
        self._last = [_number(zone / "energy_uj") or 0 for zone in zones]
        self._sum_uj = 0

    def joules(self) -> float:
        """See ``Meter``."""
        for index, zone in enumerate(self._zones):
            now = _number(zone / "energy_uj")
            if now is None:
                continue
            step = now - self._last[index]
            self._sum_uj += step if step >= 0 else step + self._ranges[index] + 1
            self._last[index] = now
        return self._sum_uj / 1e6


class PowerMeter:
    """A reading of microwatts, added up over the time between calls (trapezoids).

    Args:
        source: the file with the reading.
        clock: seconds.
    """

    def __init__(self, source: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._time, self._watts, self._sum = clock(), self._read(0.0), 0.0

    def joules(self) -> float:
        """See ``Meter``."""
        now, watts = self._clock(), self._read(self._watts)
        self._sum += (now - self._time) * (watts + self._watts) / 2
        self._time, self._watts = now, watts
        return self._sum

    def _read(self, otherwise: float) -> float:
        reading = _number(self._source)
        return otherwise if reading is None else reading / 1e6


def measure_energy(
    run: Callable[[], object], meter: Meter, *, seconds: float, idle_s: float = 1.0
) -> EnergyReading:
    """Run for some seconds, between two idle times.

    Args:
        run: one run.
        meter: of ``find_meter``.
        seconds: how long to run; at least one run is made.
        idle_s: how long to look at the idle machine, before and after each.
    """
    run()
    idle_w = [_idle_watts(meter, idle_s)]
    runs = 0
    with _Polled(meter) as polled:
        begin = time.perf_counter()
        while not runs or time.perf_counter() - begin < seconds:
            run()
            runs += 1
        elapsed = time.perf_counter() - begin
        total = polled.joules()
    idle_w.append(_idle_watts(meter, idle_s))
    idle = sum(idle_w) / 2
    return EnergyReading(
        total_mj=total / runs * 1e3,
        above_idle_mj=max(0.0, total - idle * elapsed) / runs * 1e3,
        idle_w=idle,
        runs=runs,
    )


class _Polled:
    """Reads a meter often enough while the main thread runs."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> _Polled:
        self._start = self._meter.joules()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def joules(self) -> float:
        """Since the block began."""
        with self._lock:
            return self._meter.joules() - self._start

    def _poll(self) -> None:
        while not self._done.wait(_POLL_S):
            with self._lock:
                self._meter.joules()


def _idle_watts(meter: Meter, seconds: float) -> float:
    with _Polled(meter) as polled:
        begin = time.perf_counter()
        time.sleep(seconds)
        return polled.joules() / (time.perf_counter() - begin)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """A small file of the kernel; empty where it is not there or may not be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
