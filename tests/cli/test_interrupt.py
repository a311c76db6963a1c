"""Ctrl-C: the first keeps the best so far, the second ends everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tdse.measure.deadline import Deadline, Stop

pytestmark = pytest.mark.tvm


def _interrupted(model: Path, out: Path, cache: Path, times: int) -> tuple[int, str]:
    """Status and error output of a compilation that is interrupted while it measures."""
    words = [str(model), "-o", str(out), "--threads", "1", "--budget", "200", "--verbose"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tdse.cli.tdsec", *words],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # As a terminal has it, where Ctrl-C is for all processes of the group.
        process_group=0,
    )
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if "measuring" in line:
            break
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        told.append(process.stderr.readline())
    told += process.stderr
    return process.wait(), "".join(told)


def test_the_first_keeps_the_best_so_far(tiny_conv_int8: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, told = _interrupted(tiny_conv_int8, out, tmp_path, 1)
    assert status == 0, told
    assert "ending early with what is known by now; Ctrl-C again writes nothing" in told
    assert "ended early: written is the best of what was timed" in told
    metadata = json.loads((out / "metadata.json").read_text())
    timed = [row for row in metadata["contest"] if "measured_us" in row]
    # What users run today is always among them, in one launch instead of three.
    assert ["litert"] in [row["targets"] for row in timed]
    assert {len(row["launch_medians_us"]) for row in timed} == {1}


def test_the_second_writes_nothing(tiny_conv_int8: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, told = _interrupted(tiny_conv_int8, out, tmp_path, 2)
    assert status == 1
    assert told.endswith("tdsec: stopped; no result was written, what was measured is kept\n")
    assert not out.exists()


def test_a_wish_ends_a_deadline_that_is_far() -> None:
    stop = Stop()
    deadline = Deadline(float("inf"), stop.file)
    assert not deadline.is_over
    stop.ask()
    assert deadline.is_over
    assert not Deadline(float("inf")).is_over
    assert Deadline(0.0).is_over
