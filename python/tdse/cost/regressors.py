"""Named physical quantities of workloads, of which a flydel is a sum.

Caches of 32 KiB and 1 MiB for each core are assumed, as most x86-64 and Arm application cores of
the last years have them, and tiles as ``features`` says. These only place the knees of the sums;
rates are fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from tdse.cost.features import NARROW, TILE, Floats, Quantities

_NEAR_BYTES = 32 << 10
_FAR_BYTES = 1 << 20

# Positions of the windows for which XNNPACK's depthwise kernels are unrolled.
_UNROLLED = (3, 4, 9, 25)
# XNNPACK joins at most so many operands, and splits into at most so many results.
_MOST_JOINED = 5
_MOST_RESULTS = 4

Regressor = Callable[[Quantities], Floats]


def _tiles(sizes: Floats, tile: int) -> Floats:
    tiles: Floats = np.ceil(sizes / tile)
    return tiles


def _tiled_macs(q: Quantities) -> Floats:
    return q.rows * _tiles(q["columns"], TILE) * TILE * _tiles(q.depth, 4) * 4


def _padded_results(q: Quantities) -> Floats:
    """Elements of the result, with whole tiles of 8 channels."""
    return q.rows * _tiles(q["columns"], NARROW) * NARROW


def _narrow_macs(q: Quantities) -> Floats:
    """Multiply-accumulates with whole tiles of 8 channels; kernels of bytes take 8 inputs each."""
    of_bytes = q.window * _tiles(q.depth / q.window, NARROW) * NARROW
    depth = np.where(q["element_bytes"] == 1, of_bytes, q.depth)
    return _padded_results(q) * depth


def _tiled_taps(q: Quantities) -> Floats:
    return _padded_results(q) * _unrolled_window(q)


def _unrolled_window(q: Quantities) -> Floats:
    """The window, rounded up to the next one that XNNPACK has a kernel for; larger ones as are."""
    window = q.window
    rounded: Floats = window.copy()
    for below, taps in pairwise((0, *_UNROLLED)):
        rounded[(window > below) & (window <= taps)] = taps
    return rounded


def _taps(q: Quantities) -> Floats:
    return q["output_elements"] * q.window


def _beyond(sizes: Floats, cache: int) -> Floats:
    return np.maximum(0.0, sizes - cache)


def _row_weights(q: Quantities) -> Floats:
    """Bytes of weights that each row of the result is computed from."""
    weights: Floats = q["element_bytes"] * q.depth * q["columns"]
    return weights


def _share_beyond_l1(q: Quantities, element_bytes: Floats) -> Floats:
    """Whether weights and inputs of each position of a depthwise result are more than a cache.

    They are read in the same order for each position, so then hardly any of them is still there.
    """
    position_bytes = 2.0 * q.window * q["columns"] * element_bytes
    share: Floats = np.clip(4.0 * (position_bytes / _NEAR_BYTES - 1.0), 0.0, 1.0)
    return share


def _joined_rows(q: Quantities) -> Floats:
    """Rows that are copied one by one; operands not joined along the last dimension are whole."""
    rows: Floats = q["input_rows"] * (q["input_channels"] != q["columns"])
    return rows


def _crossed_inputs(q: Quantities) -> Floats:
    """Inputs among which is chosen along another dimension than the last one."""
    is_crossed = (q["input_rows"] != q["output_elements"]) & (q["input_channels"] > 1)
    inputs: Floats = q["input_elements"] * is_crossed
    return inputs


# What each name means; units are counts of operations, elements or bytes.
REGRESSORS: Mapping[str, Regressor] = {
    "launch": lambda q: np.ones(len(q)),
    "macs": lambda q: q["macs"],
    "tiled_macs": _tiled_macs,
    "narrow_macs": _narrow_macs,
    "pointwise_macs": lambda q: _narrow_macs(q) * (q.window == 1),
    "window_macs": lambda q: _tiled_macs(q) * (q.window > 1),
    "rows": lambda q: q.rows,
    "row_tiles": lambda q: q.rows * _tiles(q["columns"], TILE),
    "row_depths": lambda q: q.rows * q.depth,
    "window_rows": lambda q: q.rows * q.window * (q.window > 1),
    "single_macs": lambda q: q.rows * q.depth * (q["columns"] % 4),
    "weights_beyond_l1": lambda q: q.rows * _beyond(_row_weights(q), _NEAR_BYTES),
    "weights_beyond_l2": lambda q: q.rows * _beyond(_row_weights(q), _FAR_BYTES),
    "taps_beyond_l1": lambda q: (
        _tiled_taps(q) * _share_beyond_l1(q, q["element_bytes"]) * (q.window <= _UNROLLED[-1])
    ),
    "large_taps_beyond_l1": lambda q: (
        _taps(q) * _share_beyond_l1(q, q["element_bytes"]) * (q.window > _UNROLLED[-1])
    ),
    # ``llvm`` keeps bytes of weights and inputs as int16.
    "wide_taps_beyond_l1": lambda q: (
        _taps(q) * _share_beyond_l1(q, np.full(len(q), 2.0)) * (q["element_bytes"] == 1)
    ),
    "padded_bytes": lambda q: q["input_bytes"] * q["is_padded"] * (q.window > 1),
    "taps_small": lambda q: _tiled_taps(q) * (q.window <= 9),
    "taps_middle": lambda q: _tiled_taps(q) * ((q.window > 9) & (q.window <= _UNROLLED[-1])),
    "taps_large": lambda q: _taps(q) * (q.window > _UNROLLED[-1]),
    "tap_rows": lambda q: q.rows * _unrolled_window(q),
    "vector_taps": lambda q: _padded_results(q) * q.window,
    # ``llvm`` multiplies two neighbouring bytes by one instruction.
    "paired_taps": lambda q: (
        q["output_elements"] * q["kernel_height"] * _tiles(q["kernel_width"], 2) * 2
    ),
    "strided_inputs": lambda q: q["input_bytes"] * (q["stride"] > 1),
    "dilated_taps": lambda q: _taps(q) * (q["dilation"] > 1),
    "strided_results": lambda q: _padded_results(q) * (q["stride"] > 1),
    "strided_taps": lambda q: _tiled_taps(q) * (q["stride"] > 1),
    "single_taps": lambda q: q.rows * q.window * (q["columns"] % 4),
    "input_bytes": lambda q: q["input_bytes"],
    "output_bytes": lambda q: q["output_bytes"],
    "parameter_bytes": lambda q: q["parameter_bytes"],
    "bytes_beyond_l1": lambda q: _beyond(q.traffic, _NEAR_BYTES),
    "bytes_beyond_l2": lambda q: _beyond(q.traffic, _FAR_BYTES),
    "elements": lambda q: q["output_elements"],
    "elements_beyond_16k": lambda q: _beyond(q["output_elements"], 16 << 10),
    "requantized_elements": lambda q: q["output_elements"] * q["is_requantized"],
    "requantized_beyond_16k": lambda q: (
        _beyond(q["output_elements"], 16 << 10) * q["is_requantized"]
    ),
    "narrow_elements": lambda q: q["output_elements"] * (q["columns"] % TILE > 0),
    "broadcast_elements": lambda q: q["output_elements"] * q["is_broadcast"],
    "broadcast_rows": lambda q: q.rows * q["is_broadcast"] * (1.0 - q["has_scalar"]),
    "far_elements": lambda q: q["output_elements"] * q["has_far_scales"],
    "far_rows": lambda q: q.rows * q["has_far_scales"],
    "scalar_elements": lambda q: q["output_elements"] * q["has_scalar"],
    "activated_elements": lambda q: q["output_elements"] * q["is_activated"],
    "window_elements": lambda q: q["output_elements"] * q.window,
    "input_elements": lambda q: q["input_elements"],
    "input_rows": lambda q: q["input_rows"],
    "joined_rows": _joined_rows,
    "joined_rows_of_many": lambda q: _joined_rows(q) * (q["operands"] > _MOST_JOINED),
    "left_inputs": lambda q: q["input_rows"] * (q["input_channels"] % TILE),
    "crossed_inputs": _crossed_inputs,
    "result_rows": lambda q: q.rows * q["results"],
    "result_rows_of_many": lambda q: q.rows * q["results"] * (q["results"] > _MOST_RESULTS),
}

_COMMON = ("launch", "input_bytes", "output_bytes", "bytes_beyond_l1", "bytes_beyond_l2")
_MATRIX = ("launch", "macs", "tiled_macs", "parameter_bytes", "input_bytes", "output_bytes")
_ELEMENTWISE = (
    *_COMMON, "rows", "narrow_elements", "requantized_elements", "broadcast_elements", "input_rows",
    "elements_beyond_16k", "broadcast_rows", "scalar_elements", "activated_elements",
    "requantized_beyond_16k", "result_rows", "result_rows_of_many", "far_elements", "far_rows",
)  # fmt: skip
_POOL = (*_COMMON, "window_elements", "rows", "row_tiles", "window_rows")

# What may matter to each kind; a fit keeps the ten that matter most. Kind "" stands for all.
_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "": (
        "launch", "macs", "tiled_macs", "window_rows", "rows", "elements", "input_bytes",
        "output_bytes", "parameter_bytes", "bytes_beyond_l2",
    ),
    "conv2d": (
        "launch", "macs", "tiled_macs", "narrow_macs", "pointwise_macs", "window_macs",
        "row_tiles", "window_rows", "input_bytes", "output_bytes", "parameter_bytes",
        "bytes_beyond_l2", "row_depths", "single_macs", "weights_beyond_l1", "weights_beyond_l2",
        "padded_bytes",
    ),
    "transpose_conv2d": (*_MATRIX, "row_tiles", "rows", "bytes_beyond_l2"),
    "fully_connected": (*_MATRIX, "bytes_beyond_l1", "bytes_beyond_l2"),
    "batch_matmul": (*_MATRIX, "rows", "row_tiles", "bytes_beyond_l2"),
    # All weights are read for each of the rows, which are steps.
    "unidirectional_sequence_lstm": (
        "launch", "macs", "rows", "elements", "parameter_bytes", "weights_beyond_l1",
        "weights_beyond_l2",
    ),
    "depthwise_conv2d": (
        "launch", "tap_rows", "vector_taps", "paired_taps", "strided_inputs", "dilated_taps",
        "large_taps_beyond_l1", "taps_small", "taps_middle", "taps_large", "row_tiles", "rows",
        "strided_taps", "input_bytes", "output_bytes", "bytes_beyond_l2", "padded_bytes",
        "single_taps", "taps_beyond_l1", "strided_results", "wide_taps_beyond_l1",
    ),
    "average_pool2d": _POOL,
    "max_pool2d": _POOL,
    "mean": (*_COMMON, "input_elements", "input_rows", "elements", "requantized_elements"),
    "arg_max": (
        "launch", "input_bytes", "input_elements", "input_rows", "left_inputs", "crossed_inputs",
    ),
    "softmax": (*_COMMON, "input_elements", "rows"),
    "concatenation": (
        *_COMMON, "rows", "requantized_elements", "narrow_elements", "joined_rows",
        "joined_rows_of_many",
    ),
}  # fmt: skip


def regressors_of(kind: str) -> tuple[str, ...]:
    """Names of the regressors that a flydel of an operator kind chooses from."""
    return _OF_KIND.get(kind, _ELEMENTWISE)
