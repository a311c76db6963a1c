"""A line that times lie on is found again, also where some of them are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.cost.links import fit_link
from tdse.measure.links import SIZES, measure_transfers, memory_copy

LATENCY = st.floats(0.05, 500)
BANDWIDTH = st.floats(1e7, 2e10)


@settings(deadline=None)
@given(LATENCY, BANDWIDTH)
def test_a_line_is_found(latency_us: float, bandwidth: float) -> None:
    fit = fit_link(SIZES, [latency_us + size / bandwidth * 1e6 for size in SIZES])
    assert fit.latency_us == pytest.approx(latency_us, rel=1e-3)
    assert fit.error < 1e-6
    assert fit.time_us(SIZES[-1]) == pytest.approx(latency_us + SIZES[-1] / bandwidth * 1e6)


@settings(deadline=None)
@given(LATENCY, BANDWIDTH, st.integers(0, len(SIZES) - 1), st.floats(2, 20))
def test_one_disturbed_time_hardly_matters(
    latency_us: float, bandwidth: float, which: int, factor: float
) -> None:
    times = [latency_us + size / bandwidth * 1e6 for size in SIZES]
    true = list(times)
    times[which] *= factor
    fit = fit_link(SIZES, times)
    for size, time_us in list(zip(SIZES, true, strict=True))[1:-1]:
        assert fit.time_us(size) == pytest.approx(time_us, rel=0.15)


def test_a_fit_gives_a_link() -> None:
    link = fit_link([64, 6400], [1.0, 1.0 + 6336 / 1e9 * 1e6]).link(("cpu", "tpu"), shared=True)
    assert link.between == ("cpu", "tpu")
    assert link.bandwidth_bytes_per_s == pytest.approx(1e9)
    assert link.latency_us == pytest.approx(1.0 - 0.064)
    assert link.shared


@pytest.mark.parametrize(("sizes", "times"), [([64], [1.0]), ([64, 64], [1, 1]), ([1, 2], [1, 0])])
def test_what_is_no_line_is_refused(sizes: list[int], times: list[float]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fit_link(sizes, times)


def test_copies_take_longer_the_more_is_copied() -> None:
    small, large = measure_transfers(memory_copy, [64, 8 << 20])
    assert 0 < small < large < 1e6
