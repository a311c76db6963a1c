"""Which tiles a convolution may have, the best by a model of a core first."""

from __future__ import annotations

import math
from functools import cache

from .llvm_arithmetic import Arithmetic
from .llvm_conv import Conv, Tiles, word_starts
from .llvm_isa import Isa

# Weights of a tile are read again for all pixels where an image of so many bytes stays in the
# first-level cache with them; else pixels are read again for all weights.
_SMALL_IMAGE_BYTES = 24 * 1024

# Cycles of a modelled core, for a choice between tiles: until a sum can be added to again, and of
# what is done for each vector of outputs, and for each tile.
_LATENCY, _STORE, _TILE = 5.0, 8.0, 20.0

# Float weights that are more than a first-level cache come from the next one, a vector in so many
# cycles: a 1x1 convolution of 320 channels to 320 with stride 2 did 22 products a nanosecond in
# tiles of a pixel and 8 vectors, and 38 of 4 pixels and 2.
_NEAR_WEIGHT_BYTES, _FAR_LOAD = 32 * 1024, 2.0

# Tiles have at most so many vectors of filters.
_MOST_VECTORS = 8

# Words whose code may stand one after the other, what is usually best first.
_UNROLLED = (1, 2, 4)
# Of float32 and one vector: left to itself, LLVM writes out several words, and may keep sums on the
# stack between them. With AVX2, seven 1x1 convolutions did 20 to 37 products a nanosecond so, and
# 37 to 39 where four words stand one after the other already.
_UNROLLED_ALONE = (4, 2, 1)


@cache
def choose_tiles(shape: Conv, how: Arithmetic, isa: Isa) -> Tiles:
    """The tiles that take the fewest cycles on a modelled core, which does an addition in each."""
    return ranked_tiles(shape, how, isa)[0]


def ranked_tiles(shape: Conv, how: Arithmetic, isa: Isa) -> list[Tiles]:
    """All tiles that fit the registers, the one with the fewest modelled cycles first.

    Tiles of one size follow each other: of two orders of loops, and with other parts unrolled,
    which the model does not tell apart.
    """
    all_vectors = -(-shape.filters // how.lanes)
    words = shape.words(how.taps)
    row = shape.output[1]
    # In float32, where a value of a pixel is multiplied once only, the sum goes on in that value's
    # register. With more sums than half of the registers they go through the stack: with AVX2, a
    # 1x1 convolution to 40 filters did 19 products a nanosecond in tiles of 13 pixels and a vector,
    # 27 of 9, and 39 of 8.
    is_float = how.taps == 1
    most_alone = isa.registers // 2 if is_float else row
    weight_bytes = all_vectors * how.lanes * words * 4
    is_far = is_float and weight_bytes > _NEAR_WEIGHT_BYTES

    def cycles(tiles: Tiles) -> float:
        sums = tiles.pixels * tiles.vectors
        loads = tiles.pixels + tiles.vectors * (_FAR_LOAD if is_far else 1.0)
        step = max(sums, loads, _LATENCY)
        return (
            -(-row // tiles.pixels) * tiles.count * (words * (step + 0.5) + sums * _STORE + _TILE)
        )

    sizes = [
        Tiles(pixels, vectors, -(-all_vectors // vectors))
        for vectors in range(1, min(all_vectors, _MOST_VECTORS) + 1)
        for pixels in range(1, min(row, most_alone if vectors == 1 else row) + 1)
        # Beside the sums there are the weights of a step, and a value of a pixel.
        if pixels * vectors + (vectors if pixels > 1 else 1) + 1 <= isa.registers - 1
    ]
    sizes.sort(key=lambda tiles: (cycles(tiles), tiles.count))
    image_bytes = math.prod(shape.padded) * shape.channels * 4 // how.taps
    is_small = image_bytes <= _SMALL_IMAGE_BYTES
    of_run = len(word_starts(shape.runs[2], how.taps))
    return [
        Tiles(size.pixels, size.vectors, size.count, by_tile, unrolled)
        for size in sizes
        for unrolled in (_UNROLLED_ALONE if is_float and size.vectors == 1 else _UNROLLED)
        if of_run % unrolled == 0
        for by_tile in (is_small, not is_small)
    ]
