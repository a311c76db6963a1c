"""Only what is timed in quiet moments counts, on a machine that is made up.

Its clock goes on with what runs on it, and each core is disturbed at moments that the test says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from tdse.errors import TargetError
from tdse.measure.conditions import Conditions
from tdse.measure.records import RecordStore
from tdse.measure.references import References
from tdse.measure.timing import QUIET, Reference, Timing, time_model
from tdse.runtime.model import Model

# By how much a core is slower at a moment in seconds: (core, moment) to a factor.
Disturbance = Callable[[int, float], float]
REFERENCE_US = 100.0
PATIENCE_S = 2.0


class Machine:
    """A clock, cores, and what disturbs them."""

    def __init__(self, cores: int, disturbance: Disturbance) -> None:
        self.now_s = 0.0
        # What the thread itself had of the time.
        self.own_s = 0.0
        self.all = set(range(cores))
        self.allowed = set(self.all)
        self.used: list[set[int]] = []
        self._disturbance = disturbance

    def sched_getaffinity(self, process: int) -> set[int]:
        return self.allowed

    def sched_setaffinity(self, process: int, cores: Collection[int]) -> None:
        self.allowed = set(cores)

    def monotonic(self) -> float:
        return self.now_s

    def perf_counter(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.own_s

    def run_us(self, quiet_us: float, suffers: float) -> float:
        """Run something that takes ``quiet_us`` at best; a disturbance is worse for some."""
        self.used.append(self.allowed)
        time_us = quiet_us * (1 + suffers * (self.factor() - 1))
        self.now_s += time_us / 1e6
        self.own_s += time_us / 1e6
        return time_us

    def factor(self) -> float:
        return self._disturbance(min(self.allowed), self.now_s)


class FakeModel:
    """Takes the same time on each run but for the machine's disturbances."""

    uses_device = False

    def __init__(self, machine: Machine, quiet_us: float, suffers: float = 1.0) -> None:
        self.runs = 0
        self._machine = machine
        self._quiet_us = quiet_us
        self._suffers = suffers

    def time_runs(self, inputs: object, count: int) -> npt.NDArray[np.float64]:
        self.runs += count
        return np.array([self._machine.run_us(self._quiet_us, self._suffers) for _ in range(count)])


class FailingModel:
    """Fails after the first runs."""

    uses_device = False

    def __init__(self) -> None:
        self.left = 1

    def time_runs(self, inputs: object, count: int) -> npt.NDArray[np.float64]:
        self.left -= 1
        if self.left < 0:
            raise TargetError("it cannot run")
        return np.full(count, 5000.0)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Makes a machine on which time passes for the timing discipline."""

    def make(cores: int, disturbance: Disturbance) -> Machine:
        machine = Machine(cores, disturbance)
        monkeypatch.setattr("tdse.measure.timing.time", machine)
        monkeypatch.setattr(
            "tdse.measure.timing.os",
            SimpleNamespace(
                sched_getaffinity=machine.sched_getaffinity,
                sched_setaffinity=machine.sched_setaffinity,
            ),
        )
        return machine

    return make


Start = Callable[[int, Disturbance], Machine]


def _reference(machine: Machine, *, threads: int = 1, best_us: float = math.inf) -> Reference:
    return Reference(_model(FakeModel(machine, REFERENCE_US)), [], threads, best_us)


def _model(fake: Any) -> Model:
    return cast(Model, fake)


def _time(machine: Machine, fake: FakeModel, **given: Any) -> Timing:
    return time_model(_model(fake), [], _reference(machine, **given), patience_s=PATIENCE_S)


def _never(core: int, now_s: float) -> float:
    return 1.0


def _always(core: int, now_s: float) -> float:
    return 1.5


def _in_turns(core: int, now_s: float) -> float:
    """Disturbed for two thirds of the time, in stretches that are longer than a block."""
    return 1.0 if now_s % 0.12 < 0.04 else 1.4


def test_a_quiet_machine(start: Start) -> None:
    found = _time(machine := start(2, _never), FakeModel(machine, 250.0))
    assert found.median_us == pytest.approx(250.0)
    assert found.spread_us == pytest.approx(0.0)
    assert found.contention == 1.0
    assert found.is_quiet
    assert found.runs >= 3


@pytest.mark.parametrize("suffers", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("quiet_us", [20.0, 250.0, 3000.0])
def test_only_undisturbed_blocks_count(start: Start, quiet_us: float, suffers: float) -> None:
    machine = start(1, _in_turns)
    found = _time(machine, FakeModel(machine, quiet_us, suffers))
    # Not one run that counts was disturbed, however little or much the operator suffers.
    assert found.median_us == pytest.approx(quiet_us)
    assert found.spread_us == pytest.approx(0.0)
    assert found.is_quiet


def test_a_block_that_a_disturbance_begins_in_does_not_count(start: Start) -> None:
    """The first block begins quiet and ends disturbed."""
    machine = start(1, lambda core, now_s: 2.0 if noise[0] <= now_s < noise[1] else 1.0)
    noise = [math.inf, math.inf]
    reference = _reference(machine)
    fake = FakeModel(machine, 1000.0)
    noise[:] = [machine.now_s + 0.004, machine.now_s + 0.1]
    found = time_model(_model(fake), [], reference, patience_s=PATIENCE_S)
    assert found.median_us == pytest.approx(1000.0)
    assert found.spread_us == pytest.approx(0.0)
    assert machine.now_s > noise[1]


def test_a_quiet_core_is_found(start: Start) -> None:
    machine = start(4, lambda core, now_s: 1.0 if core == 2 else 1.6)
    fake = FakeModel(machine, 250.0)
    reference = _reference(machine)
    began = machine.now_s
    found = time_model(_model(fake), [], reference, patience_s=PATIENCE_S)
    assert found.median_us == pytest.approx(250.0)
    assert found.is_quiet
    assert machine.now_s - began < 0.2 * PATIENCE_S


def test_several_threads_use_all_cores(start: Start) -> None:
    machine = start(4, _in_turns)
    _time(machine, FakeModel(machine, 250.0), threads=2)
    assert all(cores == machine.all for cores in machine.used)


def test_a_machine_that_is_never_quiet(start: Start) -> None:
    machine = start(2, _always)
    # Its best is known from an earlier day.
    reference = _reference(machine, best_us=REFERENCE_US)
    began = machine.now_s
    fake = FakeModel(machine, 200.0)
    found = time_model(_model(fake), [], reference, patience_s=PATIENCE_S)
    assert PATIENCE_S <= machine.now_s - began < PATIENCE_S + 0.1
    assert found.contention == pytest.approx(1.5)
    assert not found.is_quiet
    assert found.median_us == pytest.approx(300.0)
    assert found.runs >= 1


def test_the_least_disturbed_block_is_taken(start: Start) -> None:
    machine = start(1, lambda core, now_s: 1.2 if now_s % 0.5 < 0.1 else 1.8)
    reference = _reference(machine, best_us=REFERENCE_US)
    found = time_model(_model(FakeModel(machine, 200.0)), [], reference, patience_s=PATIENCE_S)
    assert found.contention <= 1.8
    assert not found.is_quiet
    # Operator and reference were disturbed alike.
    assert found.median_us == pytest.approx(200.0 * found.contention)


@pytest.mark.parametrize("quiet_us", [30_000.0, 200_000.0])
def test_slow_models_run_few_times(start: Start, quiet_us: float) -> None:
    machine = start(2, _never)
    fake = FakeModel(machine, quiet_us)
    found = _time(machine, fake)
    assert found.median_us == pytest.approx(quiet_us)
    assert fake.runs <= 12


def test_fast_models_run_often(start: Start) -> None:
    machine = start(2, _never)
    fake = FakeModel(machine, 0.5)
    assert _time(machine, fake).runs >= 1000
    assert fake.runs < 10_000


@pytest.mark.parametrize("disturbance", [_never, _in_turns, _always])
@pytest.mark.parametrize("threads", [1, 2])
def test_all_cores_may_be_used_afterwards(
    start: Start, disturbance: Disturbance, threads: int
) -> None:
    machine = start(3, disturbance)
    reference = _reference(machine, threads=threads, best_us=REFERENCE_US)
    assert machine.allowed == machine.all
    time_model(_model(FakeModel(machine, 250.0)), [], reference, patience_s=0.1)
    assert machine.allowed == machine.all


def test_all_cores_may_be_used_after_a_failure(start: Start) -> None:
    machine = start(3, _always)
    reference = _reference(machine, best_us=REFERENCE_US)
    with pytest.raises(TargetError):
        time_model(_model(FailingModel()), [], reference, patience_s=0.1)
    assert machine.allowed == machine.all
    with pytest.raises(TargetError):
        Reference(_model(FailingModel()), [], 1, math.inf)
    assert machine.allowed == machine.all


def test_the_best_of_a_reference_never_rises(start: Start) -> None:
    noisy = start(1, _always)
    assert _reference(noisy).best_us == pytest.approx(1.5 * REFERENCE_US)
    assert _reference(noisy, best_us=REFERENCE_US).best_us == REFERENCE_US
    # It falls where the machine is quieter than it was ever seen.
    assert _reference(start(1, _never), best_us=130.0).best_us == pytest.approx(REFERENCE_US)


def test_a_reference_beside_a_neighbour_finds_its_best_in_the_pauses(start: Start) -> None:
    assert _reference(start(1, _in_turns)).best_us == pytest.approx(REFERENCE_US)


def test_a_reading_below_the_best_is_no_contention(start: Start) -> None:
    assert _reference(start(1, _never)).contention() == 1.0


def test_what_counts_as_quiet() -> None:
    assert Timing(1.0, 0.0, 1, QUIET).is_quiet
    assert not Timing(1.0, 0.0, 1, QUIET + 0.01).is_quiet


def test_the_reference_of_this_machine_is_remembered(tmp_path: Path) -> None:
    """With LiteRT, on the real machine."""
    cores = os.sched_getaffinity(0)
    conditions = Conditions("cpu", 2, (0, 1), "", 0.5, ())
    store = RecordStore(conditions, tmp_path / "r.sqlite")
    assert store.best_reference_us(1) == math.inf
    references = References(store)
    reference = references.of(1)
    assert references.of(1) is reference
    assert 0 < reference.best_us == store.best_reference_us(1) < math.inf
    store.add_reference(1, 2 * reference.best_us)
    assert store.best_reference_us(1) == reference.best_us
    store.add_reference(1, 0.5 * reference.best_us)
    assert store.best_reference_us(1) == 0.5 * reference.best_us
    assert References(store).of(1).best_us <= 0.5 * reference.best_us
    assert os.sched_getaffinity(0) == cores


class PreemptedModel(FakeModel):
    """Loses the core to another process for as long again, in its first blocks."""

    def time_runs(self, inputs: object, count: int) -> npt.NDArray[np.float64]:
        times = super().time_runs(inputs, count)
        if self.runs < 20:
            self._machine.now_s += float(times.sum()) / 1e6
            times = times * 2
        return times


def test_blocks_that_others_take_time_of_do_not_count(start: Start) -> None:
    machine = start(1, _never)
    timing = _time(machine, PreemptedModel(machine, 1000.0))
    assert timing.median_us == pytest.approx(1000.0)
    assert timing.is_quiet


class WaitingModel(PreemptedModel):
    """Waits for a device, which takes no time of the core either."""

    uses_device = True


def test_waiting_for_a_device_is_no_disturbance(start: Start) -> None:
    machine = start(1, _never)
    model = WaitingModel(machine, 1000.0)
    timing = _time(machine, model)
    assert timing.is_quiet
    # Blocks in which the core did nothing count as well.
    assert timing.spread_us == pytest.approx(1000.0)
