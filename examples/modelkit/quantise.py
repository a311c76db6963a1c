"""Gives the tensors of a network their types: float32, or int8 by TFLite's quantisation spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelkit.kernels import Array
from modelkit.writer import Tensor

# Values taken from samples keep this many bits, so that the last bit of a float64 sum, which
# differs from one processor to another, does not change the model.
KEPT_BITS = 12


@dataclass(frozen=True)
class DraftTensor:
    """A tensor before its type is chosen.

    Attributes:
        role: what decides its type in an int8 model.
        data: value of a constant.
        axis: for ``weights``: the dimension with a scale for each index, or None for one scale.
        scaled_by: for ``bias``: the input and the weights whose scales it takes the product of.
    """

    name: str
    shape: tuple[int, ...]
    role: Literal["activation", "weights", "bias", "indices"]
    data: Array | None = None
    axis: int | None = None
    scaled_by: tuple[int, int] = (-1, -1)


def as_float32(tensor: DraftTensor) -> Tensor:
    """The tensor as a float32 network has it; indices are integers there too."""
    if tensor.role == "indices":
        return as_integers(tensor, tensor.data, "int32")
    data = None if tensor.data is None else tensor.data.astype(np.float32)
    return Tensor(tensor.name, tensor.shape, "float32", data)


def as_int8_weights(tensor: DraftTensor) -> Tensor:
    """Symmetric int8 with one scale for each index of the tensor's axis, or for all of it."""
    data = np.asarray(tensor.data)
    others = tuple(i for i in range(data.ndim) if i != tensor.axis)
    largest = np.abs(data).max(axis=others if tensor.axis is not None else None, keepdims=True)
    scales = rounded(largest / 127.0, up=True)
    axis = tensor.axis or 0
    values = tuple(float(scale) for scale in scales.ravel())
    return as_integers(tensor, data / scales, "int8", values, (0,) * len(values), axis)


def as_integers(
    tensor: DraftTensor,
    data: Array | None,
    dtype: str,
    scales: tuple[float, ...] = (),
    zero_points: tuple[int, ...] = (),
    axis: int = 0,
) -> Tensor:
    """A constant of an integer type; ``data`` holds what is stored, still to be rounded."""
    stored = np.round(np.asarray(data)).astype(dtype)
    return Tensor(tensor.name, tensor.shape, dtype, stored, scales, zero_points, axis)


def affine(low: float, high: float) -> tuple[float, int]:
    """The int8 scale and zero point for values from ``low`` <= 0 to ``high`` >= 0."""
    scale = float(rounded(np.array((high - low) / 255.0 or 1.0), up=True))
    return scale, int(np.clip(round(-128.0 - low / scale), -128, 127))


def rounded(values: Array, *, up: bool = False) -> Array:
    """Each value rounded, or rounded up, to ``KEPT_BITS`` bits: exact in float32 too."""
    mantissa, exponent = np.frexp(values)
    steps = mantissa * 2.0**KEPT_BITS
    # A value that lies on a step to within float64 noise stays on it.
    whole = np.ceil(steps - 1e-6) if up else np.round(steps)
    return np.asarray(np.ldexp(whole / 2.0**KEPT_BITS, exponent))
