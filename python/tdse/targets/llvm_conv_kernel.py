"""Convolutions as products of matrices, tile by tile in registers.

Before, in short, with the window's elements of a pixel as one sum::

    for pixel, filter: for k: y[pixel, filter] += x[pixel, k] * w[filter, k]

After, with tiles of some pixels and some vectors of filters, whose sums never leave registers::

    for pixels, filters:
        for k: for p: a = broadcast(x[pixels + p, k]); for v: sum[p, v] += a * w[k, filters + v]
        y[pixels, filters] = stored(sum)

Here k is a word of four bytes, of two int16 or of one float32 (``llvm_arithmetic``). The padding of
an image is made once, in a copy, by a kernel of its own; an image without any is read where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .llvm_arithmetic import (
    VECTORS_TOGETHER,
    Arithmetic,
    bounds_of_call,
    is_worth_dividing,
    lanes_of,
    multiply_add,
    register,
    requantized,
)
from .llvm_conv import Conv, Tiles, word_starts
from .llvm_isa import Isa
from .llvm_lower import Local

_Item = TypeVar("_Item")

# Loops of so few words are unrolled.
_FEW_WORDS = 4

# Where tiles follow each other in a loop of their own, LLVM keeps what so few words of their pixels
# hold in registers for all of them, of which there are then too few for the sums: in float32, 1x1
# convolutions of 4 and 8 channels did 13 to 29 products a nanosecond so, and 31 to 44 in one loop
# of both. With 12 channels or more, a loop of their own does up to 5 % more.
_SHARED_WORDS = 8

# An image without padding, whose pixels follow each other, is copied in at most so many rows.
_MOST_ROWS = 64


@cache
def conv_kernel(shape: Conv, how: Arithmetic, tiles: Tiles, isa: Isa) -> tvm.tirx.PrimFunc:
    """A kernel of image, the constants of ``conv_arguments``, and output.

    The image is the input, or what ``padding_kernel`` makes of it. Quantisation is in the
    arguments, so that operators of equal shapes share a kernel.
    """
    is_float = how.taps == 1
    sum_type = "float32" if is_float else "int32"
    columns = tiles.count * tiles.vectors * how.lanes
    copied = padded_image(shape, how)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("conv")
        given = copied or Local(shape.dtype, shape.given)
        x = T.arg("x", T.Buffer(given.shape, given.dtype))
        values = shape.words(how.taps) * columns * how.taps
        weights = T.arg("weights", T.Buffer((values,), how.weights))
        bias = T.arg("bias", T.Buffer((columns,), sum_type))
        if not is_float:
            factors = T.arg("factors", T.Buffer((columns,), "float32"))
            zeros = T.arg("zeros", T.Buffer((2,), "int32"))
        limits = T.arg("limits", T.Buffer((2,), "float32"))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        blocks, (outer, inner) = _blocks(shape, tiles), _loops(shape, how, tiles)
        begin, end = bounds_of_call(outer, conv_iterations(shape, how, tiles) > 0)
        T.func_attr({"tirx.noalias": True})
        image = x if copied else T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        low, high = T.bind(limits[0]), T.bind(limits[1])

        def stored(totals: Sequence[Any], at: Sequence[Any]) -> Any:
            if is_float:
                # The sum comes second: of a comparison with NaN, that is what is taken.
                limited = T.min(T.Broadcast(high, how.lanes), totals[0])
                return T.max(T.Broadcast(low, how.lanes), limited)
            scales = [factors[T.Ramp(start, 1, how.lanes)] for start in at]
            return requantized(totals, scales, (low, high, zero_out), how.lanes, shape.dtype)

        zero_out = None if is_float else T.bind(zeros[1])
        with T.serial(begin, end) as i, T.serial(0, inner) as j:
            by_block = (i, j) if inner > 1 else (i // tiles.count, i % tiles.count)
            block, tile = (i % blocks, i // blocks) if tiles.by_tile else by_block
            _tile(shape, how, tiles, isa, (image, weights, bias, result), stored, block, tile)
    return builder.get()


def conv_iterations(shape: Conv, how: Arithmetic, tiles: Tiles) -> int:
    """Those of the kernel's outermost loop that threads may divide; 0 if it is not worth it."""
    return _loops(shape, how, tiles)[0] if _is_divided(shape, how) else 0


def _is_divided(shape: Conv, how: Arithmetic) -> bool:
    vectors = -(-shape.filters // how.lanes)
    return is_worth_dividing(math.prod(shape.output) * vectors * shape.words(how.taps))


@cache
def padding_kernel(shape: Conv, how: Arithmetic) -> tvm.tirx.PrimFunc:
    """A kernel that copies an image with its padding; for words of two values, as int16 without
    offset.

    Its arguments are the input; the zero points of ``conv_arguments``, unless it is float32; and
    the ``padded_image``.
    """
    h, w, c, (top, left) = shape.height, shape.width, shape.channels, shape.padding
    rows, columns = _rows(shape)
    pitch = columns * c
    copied = padded_image(shape, how)
    assert copied is not None
    value = copied.dtype
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("padding")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        zeros = T.arg("zeros", T.Buffer((2,), "int32")) if how.taps > 1 else None
        copy = T.arg("copy", T.Buffer(copied.shape, value))
        begin, end = bounds_of_call(rows, padding_iterations(shape, how) > 0)
        T.func_attr({"tirx.noalias": True})
        image = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        zero = T.int32(0) if zeros is None else T.bind(zeros[0])
        fill = T.Cast(value, T.int32(0) if how.taps == 2 else zero)

        def filled(start: Any, count: int) -> None:
            if count > 0:
                with T.serial(0, count) as i:
                    T.buffer_store(copy, fill, [start + i])

        def copied_values(start: Any, to: Any, count: int) -> None:
            with T.serial(0, count) as i:
                stored = image[start + i]
                if how.taps == 2:
                    stored = T.Cast(value, T.Cast("int32", stored) - zero)
                T.buffer_store(copy, stored, [to + i])

        with T.serial(begin, end) as row:
            if shape.padded == (h, w):
                # The last row overlaps the one before it.
                start = T.bind(T.min(row * pitch, h * w * c - pitch))
                copied_values(start, start, pitch)
            else:
                with T.If(T.And(row >= top, row < top + h)):
                    with T.Then():
                        filled(row * pitch, left * c)
                        copied_values((row - top) * (w * c), row * pitch + left * c, w * c)
                        filled(row * pitch + (left + w) * c, (columns - left - w) * c)
                    with T.Else():
                        filled(row * pitch, pitch)
            # Words may reach beyond the last value.
            with T.If(row == rows - 1), T.Then():
                filled(math.prod(shape.padded) * c, how.taps)
    return builder.get()


def padding_iterations(shape: Conv, how: Arithmetic) -> int:
    """As ``conv_iterations``, of the padding.

    A thread should find most of what it reads in its own cache, so the copy is divided wherever
    the convolution is. Where the second of two threads had to fetch its half of 58,000 values from
    the first one's, a convolution took 42 us at some times and 64 at others.
    """
    rows, _ = _rows(shape)
    return rows if _is_divided(shape, how) else 0


def _rows(shape: Conv) -> tuple[int, int]:
    """Rows and columns of the copy.

    Of an image without padding, any do, so that even one of a single row can be divided.
    """
    pixels = shape.height * shape.width
    if shape.padded != (shape.height, shape.width):
        return shape.padded
    columns = -(-pixels // _MOST_ROWS)
    return -(-pixels // columns), columns


def padded_image(shape: Conv, how: Arithmetic) -> Local | None:
    """What the kernel reads in place of the input; None if pixels can be read where they are.

    They cannot for padding, for their type, or where words reach beyond the end.
    """
    is_whole = shape.padded == (shape.height, shape.width) and shape.runs[2] >= how.taps
    if is_whole and how.taps != 2:
        return None
    values = math.prod(shape.padded) * shape.channels + how.taps
    return Local("int16" if how.taps == 2 else shape.dtype, (values,))


def _blocks(shape: Conv, tiles: Tiles) -> int:
    """Blocks of neighbouring pixels."""
    return shape.output[0] * -(-shape.output[1] // tiles.pixels)


def _loops(shape: Conv, how: Arithmetic, tiles: Tiles) -> tuple[int, int]:
    """Iterations of the outer and the inner loop: of blocks of pixels and tiles of filters.

    Tiles are few, so where they come first both are one loop, of which threads take equal shares.
    """
    blocks = _blocks(shape, tiles)
    is_one = tiles.by_tile or shape.words(how.taps) <= _SHARED_WORDS
    return (tiles.count * blocks, 1) if is_one else (blocks, tiles.count)


def _tile(
    shape: Conv,
    how: Arithmetic,
    tiles: Tiles,
    isa: Isa,
    buffers: tuple[Any, Any, Any, Any],
    stored: Callable[[Sequence[Any], Sequence[Any]], Any],
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
    turns = words // tiles.unrolled
    with (
        loop(0, rows) as ky,
        loop(0, columns) as kx,
        loop(0, turns) as turn,
        T.unroll(0, tiles.unrolled) as part,
    ):
        k = turn * tiles.unrolled + part
        step = ((tile * rows + ky) * columns + kx) * words + k
        factors = [
            T.bind(_words(weights, (step * tiles.vectors + v) * lanes, how))
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
    # Neighbouring vectors of filters are stored as one, unless the last overlaps the one before it.
    together = 1 if how.taps == 1 else VECTORS_TOGETHER
    width = 1 if filters % lanes else math.gcd(tiles.vectors, together)
    runs = [(p, v) for p in range(tiles.pixels) for v in range(0, tiles.vectors, width)]
    for some in _groups(runs, together // width):
        vectors = [(p, v + i) for p, v in some for i in range(width)]
        values = stored(
            [sums[p][v][whole] for p, v in vectors], [lane + v * lanes for _, v in vectors]
        )
        values = T.bind(values)
        for i, (p, v) in enumerate(some):
            step = width * lanes
            value = values if len(some) == 1 else lanes_of([values], i * step, (i + 1) * step)
            at = (row * ow + column + p) * filters
            if filters < lanes:
                _store_some(result, at, value, filters, lanes)
            else:
                start = (vector + v) * lanes
                start = T.min(start, filters - lanes) if filters % lanes else start
                T.buffer_store(result, value, [T.Ramp(at + start, 1, step)])


def _groups(items: list[_Item], most: int) -> Iterator[list[_Item]]:
    """Items in groups of ``most``, a power of two, and of smaller powers at the end."""
    while items:
        while most > len(items):
            most //= 2
        yield items[:most]
        items = items[most:]


def _store_some(result: Any, at: Any, value: Any, count: int, lanes: int) -> None:
    """Store the first ``count`` lanes of a vector."""
    kept = register(lanes, result.dtype)
    T.buffer_store(kept, value, [T.Ramp(0, 1, lanes)])
    with T.serial(0, count) as i:
        T.buffer_store(result, kept[i], [at + i])


def _words(weights: Any, at: Any, how: Arithmetic) -> Any:
    """A vector of words of weights, the first of which is the one of number ``at``."""
    values = how.taps * how.lanes
    kept = weights[T.Ramp(at * how.taps, 1, values)]
    if how.taps == 1:
        return kept
    if how.taps == 2:
        kept = T.Cast(f"int16x{values}", kept)
    return T.reinterpret(f"int32x{how.lanes}", kept)


def _broadcast_word(image: Any, at: Any, how: Arithmetic, dtype: str) -> Any:
    """The word of neighbouring values that begins at ``at``, in all lanes of a vector."""
    if how.taps == 1:
        return T.Broadcast(image[at], how.lanes)
    word = T.reinterpret("int32", image[T.Ramp(at, 1, how.taps)])
    if how.shift(dtype):
        # Of the scalar: LLVM 22 does not come to an end where vectors for vpdpbusd are flipped.
        word = T.bitwise_xor(word, T.int32(0x80808080 - (1 << 32)))
    return T.Broadcast(word, how.lanes)
