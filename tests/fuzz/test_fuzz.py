"""Thousands of damaged models: each a clean error or a right result, no crash and no hang."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from examiner import (
    CRASHED,
    FAULT,
    HUNG,
    READ_LIMIT_S,
    REFUSED_BY_LITERT,
    RIGHT,
    RUN_LIMIT_S,
    WRONG,
    read,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutant

import tdse
from litert_reference import random_inputs, run_litert
from tdse.errors import TdseError
from tdse.measure.accuracy import difference

pytestmark = pytest.mark.tvm

# More, for a longer run: TDSE_FUZZ=20000.
COUNT = int(os.environ.get("TDSE_FUZZ", "2000"))
SEED = 1
PROCESSES = 2
# Models of each outcome that go the whole way through the command, and its seconds for each.
SAMPLES = {RIGHT: 4, REFUSED_BY_LITERT: 2, CRASHED: 2, HUNG: 1}
COMMAND_LIMIT_S = 30


@dataclass(frozen=True)
class Examined:
    """A mutant and what became of it."""

    number: int
    data: bytes
    outcome: str
    why: str
    seconds: float


@pytest.fixture(scope="module")
def examined() -> list[Examined]:
    """All mutants, examined in several processes."""
    mutants = [mutant(Random(f"{SEED}/{number}")) for number in range(COUNT)]
    found: list[Examined] = []
    threads = [
        threading.Thread(target=_examine, args=(mutants, part, found)) for part in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, key=lambda case: case.number)


def _examine(mutants: Sequence[bytes], part: int, found: list[Examined]) -> None:
    """Examine every ``PROCESSES``-th mutant from ``part`` on."""
    numbers = range(part, len(mutants), PROCESSES)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "examiner.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    for number in numbers:
        process.stdin.write(struct.pack("<I", len(mutants[number])) + mutants[number])
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            found.append(Examined(number, mutants[number], FAULT, "the examiner ended", 0.0))
            break
        outcome, why, seconds = json.loads(line)
        found.append(Examined(number, mutants[number], outcome, why, seconds))
    process.stdin.close()
    process.wait()


def test_each_is_a_clean_error_or_a_right_result(
    examined: list[Examined], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = Counter(case.outcome for case in examined)
    with capsys.disabled():
        print(f"\n{len(examined)} mutants: {dict(outcomes)}")
    faults = [case for case in examined if case.outcome in (FAULT, WRONG)]
    for case in faults:
        (tmp_path / f"{case.number}.tflite").write_bytes(case.data)
    assert not faults, "\n".join(
        f"{tmp_path}/{case.number}.tflite: {case.outcome}: {case.why}" for case in faults
    )
    assert len(examined) >= COUNT
    assert max(case.seconds for case in examined) < READ_LIMIT_S + RUN_LIMIT_S
    # Enough get through for the results to say something.
    assert outcomes[RIGHT] > COUNT / 10


def test_the_command_gives_a_clean_error_or_a_right_result(
    examined: list[Examined], tmp_path: Path
) -> None:
    random = Random(SEED)
    chosen: list[Examined] = []
    for outcome, count in SAMPLES.items():
        cases = [case for case in examined if case.outcome == outcome]
        chosen += random.sample(cases, min(count, len(cases)))
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(lambda case: _compile(case, tmp_path), chosen))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_reading_and_cutting_raise_only_clean_errors(random: Random) -> None:
    """The same changes, but hypothesis chooses them, and shrinks one that breaks the reader."""
    try:
        read(mutant(random))
    except TdseError as error:
        assert error.why


def _compile(case: Examined, directory: Path) -> None:
    """Run the command on a mutant, half of them with all targets; demand what is right for it."""
    model, out = directory / f"{case.number}.tflite", directory / str(case.number)
    model.write_bytes(case.data)
    targets = [] if case.number % 2 else ["--targets", "litert"]
    process = subprocess.run(
        [sys.executable, "-m", "tdse.cli.tdsec", model, "-o", out, "--budget", "1", *targets],
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(directory / f"{case.number}.cache")},
    )
    said = f"{model}: {case.outcome}: {process.stderr}"
    if case.outcome != RIGHT:
        assert process.returncode == 1, said
        assert re.fullmatch(r"tdsec: error: .+\n", process.stderr), said
        assert not out.exists(), said
        return
    assert process.returncode == 0, said
    inputs = random_inputs(case.data, seed=3)
    gap = difference(tdse.load(out).run(inputs), run_litert(case.data, inputs))
    assert gap.is_exact if targets else gap.is_allowed, f"{model}: {gap}"
