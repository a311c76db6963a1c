"""Conditions: what the kernel tells of a core, and what makes two machines the same."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from tdse.measure.conditions import Conditions, current_conditions

CONDITIONS = Conditions("cpu", 2, (0, 1), "", 0.5, (("tdse", "1"),))


def test_what_the_kernel_tells_of_the_core(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    scaling = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
    scaling.mkdir(parents=True)
    (scaling / "scaling_governor").write_text("ondemand\n")
    (scaling / "scaling_cur_freq").write_text("600000\n")
    (scaling / "cpuinfo_max_freq").write_text("1500000\n")
    found = current_conditions(tmp_path)
    assert found.governor == "ondemand"
    assert (found.frequency_mhz, found.max_frequency_mhz) == (600.0, 1500.0)


def test_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    found = current_conditions(tmp_path)
    assert (found.governor, found.frequency_mhz, found.max_frequency_mhz) == ("", None, None)


def test_what_varies_is_not_part_of_the_key() -> None:
    later = dataclasses.replace(
        CONDITIONS, affinity=(2, 3), load_average=3.0, frequency_mhz=600.0, max_frequency_mhz=1500.0
    )
    assert later.key == CONDITIONS.key


def test_the_key_is_that_of_earlier_versions() -> None:
    """With another one, all that was measured earlier would be lost."""
    assert CONDITIONS.key == "4f152f93cf40a873"
