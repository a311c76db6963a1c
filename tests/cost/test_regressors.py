"""Regressors and features are plain numbers for every workload."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdse.cost.features import FEATURE_NAMES, quantities
from tdse.cost.regressors import REGRESSORS, regressors_of
from tdse.graph.workload import TensorForm, Workload
from works import NAMED_KINDS, WORKS, drawn_works


def _demand_plain(works: Sequence[Workload]) -> None:
    sizes = quantities(works)
    assert sizes.kinds == tuple((work.kind, work.outputs[0].dtype) for work in works)
    for name, regressor in REGRESSORS.items():
        values = regressor(sizes)
        assert values.shape == (len(works),), name
        assert np.isfinite(values).all() and (values >= 0).all(), name
    assert sizes.features.shape == (len(works), len(FEATURE_NAMES))
    assert np.isfinite(sizes.features).all()


def test_random_operators() -> None:
    _demand_plain(drawn_works())


@given(works=st.lists(WORKS, max_size=5))
def test_any_numbers(works: list[Workload]) -> None:
    _demand_plain(works)


def test_every_feature_has_one_name() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)


@pytest.mark.parametrize("kind", ["", *NAMED_KINDS])
def test_a_kind_names_each_regressor_once(kind: str) -> None:
    names = regressors_of(kind)
    assert len(set(names)) == len(names)
    assert set(names) <= set(REGRESSORS)
    # Every operator takes a launch, so a sum is never without a constant.
    assert "launch" in names


def test_no_regressor_is_left_over() -> None:
    used = {name for kind in ("", *NAMED_KINDS) for name in regressors_of(kind)}
    assert used == set(REGRESSORS)


def test_what_one_workload_has_does_not_depend_on_the_others() -> None:
    works = drawn_works()
    together = quantities(works)
    for i in range(0, len(works), 10):
        alone = quantities([works[i]])
        assert np.array_equal(together.features[i], alone.features[0])
        assert np.array_equal(together.take([i]).features, alone.features)
        for regressor in REGRESSORS.values():
            assert regressor(together)[i] == regressor(alone)[0]


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
    sizes = quantities([work])
    assert (sizes.rows[0], sizes["columns"][0], sizes.depth[0], sizes.window[0]) == (20, 4, 36, 6)
    assert (sizes["height"][0], sizes["width"][0], sizes["input_channels"][0]) == (5, 4, 6)
    assert (sizes["kernel_height"][0], sizes["kernel_width"][0], sizes["stride"][0]) == (3, 2, 2)
    assert REGRESSORS["launch"](sizes)[0] == 1.0
    assert REGRESSORS["macs"](sizes)[0] == 2880.0


def test_mediapipe_s_transposed_convolution_is_read_as_one() -> None:
    data = TensorForm((1, 8, 9, 4), "float32")
    weights = TensorForm((6, 2, 2, 4), "float32", is_constant=True)
    bias = TensorForm((6,), "float32", is_constant=True)
    shape = TensorForm((4,), "int32", is_constant=True)
    result = (TensorForm((1, 16, 18, 6), "float32"),)
    sizes = 4608, 408, 1152, 6912
    custom = Workload("convolution2d_transpose_bias", (data, weights, bias), result, {}, *sizes)
    own = Workload("transpose_conv2d", (shape, weights, data), result, {"stride_h": 2}, *sizes)
    both = quantities([custom, own])
    assert both.kinds[0] == both.kinds[1] == ("transpose_conv2d", "float32")
    for name in ("kind", "macs", "kernel_height", "stride", "columns", "input_channels"):
        first, second = both[name]
        assert first == second, name
    assert both["stride"][0] == 2
