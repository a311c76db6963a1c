"""Named physical quantities of a workload, of which a flydel is a sum.

Quantities of hardware that are assumed: vectors of up to 16 float32 (AVX-512; narrower ones divide
it), register tiles of 16 channels, and caches of 32 KiB and 1 MiB for each core, as most x86-64 and
Arm application cores of the last years have them. They only place the knees of the sums; rates are
fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tdse.cost.features import Sizes, sizes_of
from tdse.graph.workload import Workload

_TILE = 16
_NEAR_BYTES = 32 << 10
_FAR_BYTES = 1 << 20

Regressor = Callable[[Workload, Sizes], float]


def _tiles(size: int, tile: int = _TILE) -> int:
    return -(-size // tile)


def _tiled_macs(work: Workload, sizes: Sizes) -> float:
    return sizes.rows * _tiles(sizes.columns) * _TILE * _tiles(sizes.depth, 4) * 4


def _window(sizes: Sizes) -> int:
    return sizes.kernel_height * sizes.kernel_width


def _tiled_taps(sizes: Sizes) -> float:
    return sizes.rows * _tiles(sizes.columns) * _TILE * _window(sizes)


def _beyond(work: Workload, cache: int) -> float:
    return max(0.0, work.input_bytes + work.output_bytes + work.parameter_bytes - cache)


# What each name means; units are counts of operations, elements or bytes.
REGRESSORS: Mapping[str, Regressor] = {
    "launch": lambda work, sizes: 1.0,
    "macs": lambda work, sizes: work.macs,
    "tiled_macs": _tiled_macs,
    "window_macs": lambda work, sizes: _tiled_macs(work, sizes) if _window(sizes) > 1 else 0.0,
    "strided_macs": lambda work, sizes: _tiled_macs(work, sizes) if sizes.stride > 1 else 0.0,
    "rows": lambda work, sizes: sizes.rows,
    "row_tiles": lambda work, sizes: sizes.rows * _tiles(sizes.columns),
    "window_rows": lambda work, sizes: sizes.rows * _window(sizes) if _window(sizes) > 1 else 0.0,
    "taps_small": lambda work, sizes: _tiled_taps(sizes) if _window(sizes) <= 9 else 0.0,
    "taps_middle": lambda work, sizes: _tiled_taps(sizes) if 9 < _window(sizes) <= 25 else 0.0,
    "taps_large": lambda work, sizes: _tiled_taps(sizes) if _window(sizes) > 25 else 0.0,
    "strided_taps": lambda work, sizes: _tiled_taps(sizes) if sizes.stride > 1 else 0.0,
    "input_bytes": lambda work, sizes: work.input_bytes,
    "output_bytes": lambda work, sizes: work.output_bytes,
    "parameter_bytes": lambda work, sizes: work.parameter_bytes,
    "bytes_beyond_l1": lambda work, sizes: _beyond(work, _NEAR_BYTES),
    "bytes_beyond_l2": lambda work, sizes: _beyond(work, _FAR_BYTES),
    "elements": lambda work, sizes: work.outputs[0].elements,
    "requantized_elements": lambda work, sizes: (
        work.outputs[0].elements if _is_requantized(work) else 0.0
    ),
    "narrow_elements": lambda work, sizes: (
        work.outputs[0].elements if sizes.columns % _TILE else 0.0
    ),
    "broadcast_elements": lambda work, sizes: (
        work.outputs[0].elements if _is_broadcast(work) else 0.0
    ),
    "window_elements": lambda work, sizes: work.outputs[0].elements * _window(sizes),
    "input_elements": lambda work, sizes: sum(
        form.elements for form in work.inputs if form is not None and not form.is_constant
    ),
    "input_rows": lambda work, sizes: sum(
        form.elements / max(1, form.shape[-1] if form.shape else 1)
        for form in work.inputs
        if form is not None and not form.is_constant
    ),
}

_COMMON = ("launch", "input_bytes", "output_bytes", "bytes_beyond_l1", "bytes_beyond_l2")
_MATRIX = ("launch", "macs", "tiled_macs", "parameter_bytes", "input_bytes", "output_bytes")
_ELEMENTWISE = (
    *_COMMON, "rows", "narrow_elements", "requantized_elements", "broadcast_elements", "input_rows",
)  # fmt: skip

# At most ten for each kind; fitting drops what does not help. Kind "" stands for all.
OF_KIND: Mapping[str, tuple[str, ...]] = {
    "": (
        "launch", "macs", "tiled_macs", "window_rows", "rows", "elements", "input_bytes",
        "output_bytes", "parameter_bytes", "bytes_beyond_l2",
    ),
    "conv2d": (
        "launch", "macs", "tiled_macs", "window_macs", "row_tiles", "window_rows", "input_bytes",
        "output_bytes", "parameter_bytes", "bytes_beyond_l2",
    ),
    "transpose_conv2d": (*_MATRIX, "row_tiles", "rows", "bytes_beyond_l2"),
    "fully_connected": (*_MATRIX, "bytes_beyond_l1", "bytes_beyond_l2"),
    "batch_matmul": (*_MATRIX, "rows", "row_tiles", "bytes_beyond_l2"),
    "depthwise_conv2d": (
        "launch", "taps_small", "taps_middle", "taps_large", "row_tiles", "rows", "strided_taps",
        "input_bytes", "output_bytes", "bytes_beyond_l2",
    ),
    "average_pool2d": (*_COMMON, "window_elements", "rows", "row_tiles", "window_rows"),
    "max_pool2d": (*_COMMON, "window_elements", "rows", "row_tiles", "window_rows"),
    "mean": (*_COMMON, "input_elements", "input_rows", "elements", "requantized_elements"),
    "softmax": (*_COMMON, "input_elements", "rows"),
    "concatenation": (*_COMMON, "rows", "input_rows", "requantized_elements", "narrow_elements"),
}  # fmt: skip


def regressors_of(kind: str) -> tuple[str, ...]:
    """Names of the regressors of an operator kind, at most ten."""
    return OF_KIND.get(kind, _ELEMENTWISE)


def regressor_row(work: Workload, kind: str) -> tuple[float, ...]:
    """The regressors of a workload, in the order of ``regressors_of`` the kind."""
    sizes = sizes_of(work)
    return tuple(float(REGRESSORS[name](work, sizes)) for name in regressors_of(kind))


def _is_requantized(work: Workload) -> bool:
    first = next((form for form in work.inputs if form is not None), work.outputs[0])
    return first.quantization != work.outputs[0].quantization


def _is_broadcast(work: Workload) -> bool:
    elements = work.outputs[0].elements
    given = [form for form in work.inputs[:2] if form is not None]
    return len(given) > 1 and any(form.elements < elements for form in given)
