"""Convolutions as products of matrices, tile by tile in registers.

Before, in short, with the window's elements of a pixel as one sum::

    for pixel, filter: for k: y[pixel, filter] += x[pixel, k] * w[filter, k]

After, with tiles of some pixels and some vectors of filters, whose sums never leave registers::

    for pixels, filters:
        for k: for p: a = broadcast(x[pixels + p, k]); for v: sum[p, v] += a * w[k, filters + v]
        y[pixels, filters] = stored(sum)

Here k is a word of four bytes, of two int16 or of one float32 (``llvm_arithmetic``). The padding of
an image is made once, in a copy; an image without any is read where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .llvm_arithmetic import (
    Arithmetic,
    divided,
    multiply_add,
    register,
    requantized,
    worthwhile_threads,
)
from .llvm_conv import Conv, Tiles, word_starts
from .llvm_isa import Isa

# Weights of a tile are read again for all pixels where an image of so many bytes stays in the
# first-level cache with them; else pixels are read again for all weights.
_SMALL_IMAGE_BYTES = 24 * 1024

# Cycles of a modelled core, for a choice between tiles: until a sum can be added to again, and of
# what is done for each vector of outputs, and for each tile.
_LATENCY, _STORE, _TILE = 5.0, 8.0, 20.0

# Loops of so few words are unrolled.
_FEW_WORDS = 4

# Tiles have at most so many vectors of filters.
_MOST_VECTORS = 8


@cache
def choose_tiles(shape: Conv, how: Arithmetic, isa: Isa) -> Tiles:
    """The tiles that take the fewest cycles on a modelled core, which does an addition in each."""
    all_vectors = -(-shape.filters // how.lanes)
    words = _words(shape, how)
    row = shape.output[1]

    def cycles(tiles: Tiles) -> float:
        sums = tiles.pixels * tiles.vectors
        step = max(sums, tiles.pixels + tiles.vectors, _LATENCY)
        return (
            -(-row // tiles.pixels) * tiles.count * (words * (step + 0.5) + sums * _STORE + _TILE)
        )

    candidates = [
        Tiles(pixels, vectors, -(-all_vectors // vectors))
        for vectors in range(1, min(all_vectors, _MOST_VECTORS) + 1)
        for pixels in range(1, row + 1)
        # Beside the sums there are the weights of a step, and a value of a pixel.
        if pixels * vectors + (vectors if pixels > 1 else 1) + 1 <= isa.registers - 1
    ]
    return min(candidates, key=lambda tiles: (cycles(tiles), tiles.count))


@cache
def conv_kernel(
    shape: Conv, how: Arithmetic, tiles: Tiles, isa: Isa, threads: int
) -> tvm.tirx.PrimFunc:
    """A kernel of input, the constants of ``conv_arguments``, and output.

    Quantisation is in the arguments, so that operators of equal shapes share a kernel.
    """
    is_float = how.taps == 1
    products = math.prod(shape.made) * math.prod(shape.runs)
    threads = worthwhile_threads(products, how, threads)
    sum_type = "float32" if is_float else "int32"
    columns = tiles.count * tiles.vectors * how.lanes
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("conv")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        weights = T.arg("weights", T.Buffer((_words(shape, how) * columns,), sum_type))
        bias = T.arg("bias", T.Buffer((columns,), sum_type))
        if not is_float:
            factors = T.arg("factors", T.Buffer((columns,), "float32"))
            zeros = T.arg("zeros", T.Buffer((2,), "int32"))
        limits = T.arg("limits", T.Buffer((2,), "float32"))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        T.func_attr({"tirx.noalias": True})
        image = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        if _needs_copy(shape, how):
            image = _padded(
                shape, how, image, T.int32(0) if is_float else T.bind(zeros[0]), threads
            )
        low, high = T.bind(limits[0]), T.bind(limits[1])

        def stored(total: Any, at: Any) -> Any:
            if is_float:
                # The sum comes second: of a comparison with NaN, that is what is taken.
                limited = T.min(T.Broadcast(high, how.lanes), total)
                return T.max(T.Broadcast(low, how.lanes), limited)
            scale = factors[T.Ramp(at, 1, how.lanes)]
            return requantized(total, scale, (low, high, zero_out), how.lanes, shape.dtype)

        zero_out = None if is_float else T.bind(zeros[1])
        oh, blocks = shape.output[0], -(-shape.output[1] // tiles.pixels)
        outer, inner = oh * blocks, tiles.count
        by_tile = math.prod(shape.padded) * shape.channels * _bytes(how) <= _SMALL_IMAGE_BYTES
        first, second = (inner, outer) if by_tile else (outer, inner)
        with divided(first, threads) as i, T.serial(0, second) as j:
            block, tile = (j, i) if by_tile else (i, j)
            _tile(shape, how, tiles, isa, (image, weights, bias, result), stored, block, tile)
    return builder.get()


def _tile(
    shape: Conv,
    how: Arithmetic,
    tiles: Tiles,
    isa: Isa,
    buffers: tuple[Any, Any, Any, Any],
    stored: Callable[[Any, Any], Any],
    block: Any,
    tile: Any,
) -> None:
    """The outputs of some pixels and vectors of filters."""
    image, weights, bias, result = buffers
    lanes, filters, (sh, sw), (dh, dw) = how.lanes, shape.filters, shape.stride, shape.dilation
    ow, c, pitch = shape.output[1], shape.channels, shape.padded[1] * shape.channels
    blocks = -(-ow // tiles.pixels)
    row = T.bind(block // blocks)
    column = T.bind(T.min(block % blocks * tiles.pixels, ow - tiles.pixels))
    first = T.bind(row * (sh * pitch) + column * (sw * c))
    lane = tile * (tiles.vectors * lanes)
    whole = T.Ramp(0, 1, lanes)
    sums = [
        [register(lanes, bias.dtype) for _ in range(tiles.vectors)] for _ in range(tiles.pixels)
    ]
    for of_pixel in sums:
        for v, total in enumerate(of_pixel):
            T.buffer_store(total, bias[T.Ramp(lane + v * lanes, 1, lanes)], [whole])
    rows, columns, length = shape.runs
    words = len(word_starts(length, how.taps))
    loop = T.unroll if rows * columns * words <= _FEW_WORDS else T.serial
    with loop(0, rows) as ky, loop(0, columns) as kx, loop(0, words) as k:
        step = ((tile * rows + ky) * columns + kx) * words + k
        factors = [
            T.bind(weights[T.Ramp((step * tiles.vectors + v) * lanes, 1, lanes)])
            for v in range(tiles.vectors)
        ]
        last = max(0, length - how.taps)
        within = T.min(k * how.taps, last) if length % how.taps else k * how.taps
        start = T.bind(first + ky * (dh * pitch) + kx * (dw * c) + within)
        for p, of_pixel in enumerate(sums):
            values = T.bind(_broadcast_word(image, start + p * (sw * c), how, shape.dtype))
            for total, factor in zip(of_pixel, factors, strict=True):
                added = multiply_add(total[whole], values, factor, how, isa)
                T.buffer_store(total, added, [whole])
    all_vectors = -(-filters // lanes)
    vector = T.bind(T.min(tile * tiles.vectors, all_vectors - tiles.vectors))
    for p, of_pixel in enumerate(sums):
        at = (row * ow + column + p) * filters
        for v, total in enumerate(of_pixel):
            value = stored(total[whole], lane + v * lanes)
            if filters < lanes:
                _store_some(result, at, value, filters, lanes)
            else:
                start = (vector + v) * lanes
                start = T.min(start, filters - lanes) if filters % lanes else start
                T.buffer_store(result, value, [T.Ramp(at + start, 1, lanes)])


def _store_some(result: Any, at: Any, value: Any, count: int, lanes: int) -> None:
    """Store the first ``count`` lanes of a vector."""
    kept = register(lanes, result.dtype)
    T.buffer_store(kept, value, [T.Ramp(0, 1, lanes)])
    with T.serial(0, count) as i:
        T.buffer_store(result, kept[i], [at + i])


def _broadcast_word(image: Any, at: Any, how: Arithmetic, dtype: str) -> Any:
    """The word of neighbouring values that begins at ``at``, in all lanes of a vector."""
    if how.taps == 1:
        return T.Broadcast(image[at], how.lanes)
    word = T.reinterpret("int32", image[T.Ramp(at, 1, how.taps)])
    if how.shift(dtype):
        # Of the scalar: LLVM 22 does not come to an end where vectors for vpdpbusd are flipped.
        word = T.bitwise_xor(word, T.int32(0x80808080 - (1 << 32)))
    return T.Broadcast(word, how.lanes)


def _needs_copy(shape: Conv, how: Arithmetic) -> bool:
    """Whether pixels cannot be read where they are: for padding, type, or words beyond the end."""
    return shape.padded != (shape.height, shape.width) or how.taps == 2 or shape.runs[2] < how.taps


def _padded(shape: Conv, how: Arithmetic, image: Any, zero: Any, threads: int) -> Any:
    """A copy of an image with its padding; for words of two values, as int16 without offset."""
    (rows, columns), (top, left) = shape.padded, shape.padding
    h, w, c = shape.height, shape.width, shape.channels
    pitch = columns * c
    value = "int16" if how.taps == 2 else shape.dtype
    fill = T.Cast(value, T.int32(0) if how.taps == 2 else zero)
    copy = T.alloc_buffer((rows * pitch + how.taps,), value)

    def prepared(stored: Any) -> Any:
        return T.Cast(value, T.Cast("int32", stored) - zero) if how.taps == 2 else stored

    def filled(row: Any, start: int, end: int) -> None:
        if start < end:
            with T.serial(0, end - start) as i:
                T.buffer_store(copy, fill, [row * pitch + start + i])

    if top:
        filled(T.int32(0), 0, top * pitch)
    with divided(h, threads) as r:
        filled(top + r, 0, left * c)
        with T.serial(0, w * c) as i:
            at = (top + r) * pitch + left * c + i
            T.buffer_store(copy, prepared(image[r * (w * c) + i]), [at])
        filled(top + r, (left + w) * c, pitch)
    # Words may reach beyond the last value.
    filled(T.int32(top + h), 0, (rows - top - h) * pitch + how.taps)
    return copy


def _words(shape: Conv, how: Arithmetic) -> int:
    """Words of a window."""
    rows, columns, length = shape.runs
    return rows * columns * len(word_starts(length, how.taps))


def _bytes(how: Arithmetic) -> int:
    return 4 // how.taps
