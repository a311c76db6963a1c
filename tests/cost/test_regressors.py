"""Regressors and features are plain numbers for every workload."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdse.cost.features import FEATURE_NAMES, features, sizes_of
from tdse.cost.regressors import OF_KIND, REGRESSORS, regressor_row, regressors_of
from tdse.graph.workload import TensorForm, Workload
from works import NAMED_KINDS, WORKS, drawn_works

KINDS = sorted({*OF_KIND, *NAMED_KINDS})


def _demand_plain(work: Workload, kind: str) -> None:
    row = dict(zip(regressors_of(kind), regressor_row(work, kind), strict=True))
    assert all(math.isfinite(value) and value >= 0 for value in row.values()), row


def test_regressors_of_random_operators() -> None:
    for work in drawn_works():
        _demand_plain(work, work.kind)
        _demand_plain(work, "")
        assert any(value > 0 for value in regressor_row(work, work.kind))


@given(work=WORKS, kind=st.sampled_from(KINDS))
def test_regressors_of_any_numbers(work: Workload, kind: str) -> None:
    _demand_plain(work, kind)


@given(work=WORKS)
def test_features_of_any_numbers(work: Workload) -> None:
    row = dict(zip(FEATURE_NAMES, features(work), strict=True))
    assert all(math.isfinite(value) for value in row.values()), row
    assert sum(value for name, value in row.items() if name == f"is_{work.kind}") <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_names_each_regressor_once(kind: str) -> None:
    names = regressors_of(kind)
    assert len(set(names)) == len(names)
    assert set(names) <= set(REGRESSORS)
    # Every operator takes a launch, so a sum is never without a constant.
    assert "launch" in names


def test_no_regressor_is_left_over() -> None:
    assert {name for kind in KINDS for name in regressors_of(kind)} == set(REGRESSORS)


def test_the_loops_of_a_convolution_by_hand() -> None:
    work = Workload(
        "conv2d",
        (
            TensorForm((1, 9, 7, 6), "int8"),
            TensorForm((4, 3, 2, 6), "int8", is_constant=True),
            TensorForm((4,), "int32", is_constant=True),
        ),
        (TensorForm((1, 5, 4, 4), "int8"),),
        {"stride_h": 2, "stride_w": 2, "padding": "same"},
        5 * 4 * 4 * 3 * 2 * 6,
        4 * 3 * 2 * 6 + 16,
        9 * 7 * 6,
        5 * 4 * 4,
    )
    sizes = sizes_of(work)
    assert (sizes.rows, sizes.columns, sizes.depth) == (20, 4, 36)
    assert (sizes.height, sizes.width, sizes.input_channels) == (5, 4, 6)
    assert (sizes.kernel_height, sizes.kernel_width, sizes.stride) == (3, 2, 2)
    values = dict(zip(regressors_of("conv2d"), regressor_row(work, "conv2d"), strict=True))
    assert (values["launch"], values["macs"]) == (1.0, 2880.0)
