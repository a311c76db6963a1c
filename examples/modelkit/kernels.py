"""The arithmetic of a network in plain numpy, on float64 arrays in NHWC layout."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def conv2d(x: Array, weights: Array, stride: int, padding: str) -> Array:
    """Convolves ``x`` [n, h, w, in] with ``weights`` [out, kh, kw, in]."""
    _, rows, columns, _ = weights.shape
    return np.asarray(
        sum(
            patch @ weights[:, i, j, :].T
            for i, j, patch in _patches(x, (rows, columns), stride, padding)
        )
    )


def depthwise_conv2d(x: Array, weights: Array, stride: int, padding: str) -> Array:
    """Convolves each channel of ``x`` [n, h, w, c] with its own of ``weights`` [1, kh, kw, c]."""
    _, rows, columns, _ = weights.shape
    return np.asarray(
        sum(
            patch * weights[0, i, j]
            for i, j, patch in _patches(x, (rows, columns), stride, padding)
        )
    )


def max_pool2d(x: Array, size: int, stride: int, padding: str) -> Array:
    """The largest of each window of ``x`` [n, h, w, c]."""
    windows = _patches(x, (size, size), stride, padding, fill=-np.inf)
    return np.asarray(np.maximum.reduce([patch for _, _, patch in windows]))


def average_pool2d(x: Array, size: int, stride: int, padding: str) -> Array:
    """The mean of each window of ``x`` [n, h, w, c]; what is padded does not count."""
    inside = np.ones_like(x)
    total = sum(patch for _, _, patch in _patches(x, (size, size), stride, padding))
    count = sum(patch for _, _, patch in _patches(inside, (size, size), stride, padding))
    return np.asarray(total / count)


def hard_swish(x: Array) -> Array:
    """``x * relu6(x + 3) / 6``."""
    return x * np.clip(x + 3.0, 0.0, 6.0) / 6.0


def softmax(x: Array) -> Array:
    """Softmax along the last dimension."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def activate(x: Array, activation: str) -> Array:
    """Applies a fused activation: ``none``, ``relu`` or ``relu6``."""
    if activation == "none":
        return x
    return np.clip(x, 0.0, 6.0 if activation == "relu6" else np.inf)


def _patches(
    x: Array, kernel: tuple[int, int], stride: int, padding: str, fill: float = 0.0
) -> Iterator[tuple[int, int, Array]]:
    """For each place in the kernel, the elements of ``x`` that it meets, [n, oh, ow, c]."""
    pads, sizes = [(0, 0)], []
    for length, window in zip(x.shape[1:3], kernel, strict=True):
        output = -(-length // stride) if padding == "same" else (length - window) // stride + 1
        total = max((output - 1) * stride + window - length, 0) if padding == "same" else 0
        pads.append((total // 2, total - total // 2))
        sizes.append(output)
    padded = np.pad(x, [*pads, (0, 0)], constant_values=fill)
    height, width = (stride * (size - 1) + 1 for size in sizes)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield i, j, padded[:, i : i + height : stride, j : j + width : stride]
