"""Maximum over windows in float32, a vector of channels at a time.

Before, as TVM has it, and after::

    for pixel, channel: for k: y = max(y, x[pixel + k, channel] if it lies within the image)
    for pixel: for channels: y = max(x[near(pixel + k), channels] for all k)

``near`` is the place itself, or the nearest one within the image: where a window reaches beyond the
border, it holds that place anyway, and a maximum does not mind to see it twice.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .llvm_arithmetic import (
    STEPS_BESIDE,
    bounds_of_call,
    channel_vector,
    float_lanes,
    is_worth_dividing,
    span,
)
from .llvm_isa import Isa
from .llvm_pool import Pool


@cache
def float_pool_kernel(shape: Pool, isa: Isa) -> tvm.tirx.PrimFunc:
    """A kernel (input, output)."""
    h, w, c = shape.height, shape.width, shape.channels
    (kh, kw), (sh, sw), (top, left) = shape.window, shape.stride, shape.padding
    oh, ow = shape.output
    lanes = float_lanes(isa, c)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("pool")
        x = T.arg("x", T.Buffer((1, h, w, c), "float32"))
        y = T.arg("y", T.Buffer((1, oh, ow, c), "float32"))
        begin, end = bounds_of_call(oh, float_pool_iterations(shape, isa) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((h * w * c,), "float32", data=x.data)
        result = T.decl_buffer((oh * ow * c,), "float32", data=y.data)
        with T.serial(begin, end) as row:
            lines = [T.bind(_near(row * sh - top + k, h) * (w * c)) for k in range(kh)]
            with T.serial(0, ow) as column:
                places = [T.bind(_near(column * sw - left + k, w) * c) for k in range(kw)]
                with T.serial(0, -(-c // lanes)) as v:
                    at = channel_vector(v, c, lanes)
                    largest: Any = None
                    for line in lines:
                        for place in places:
                            value = source[span(line + place + at, lanes)]
                            largest = value if largest is None else T.max(largest, value)
                    start = (row * ow + column) * c + at
                    T.buffer_store(result, largest, [span(start, lanes)])
    return builder.get()


def float_pool_iterations(shape: Pool, isa: Isa) -> int:
    """Those of the kernel's outermost loop that threads may divide; 0 if it is not worth it."""
    vectors = math.prod(shape.output) * shape.channels / float_lanes(isa, shape.channels)
    steps = vectors * (math.prod(shape.window) + STEPS_BESIDE)
    return shape.output[0] if is_worth_dividing(steps) else 0


def _near(place: Any, size: int) -> Any:
    return T.max(T.min(place, size - 1), 0)
