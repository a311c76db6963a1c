"""Bilinear resizing of 8-bit tensors in integers, as LiteRT's XNNPACK does it.

Shares of the four neighbours have 11 bits::

    before:  for y, x, c: z[y, x, c] = quantized(bilinear(dequantized(image), y, x, c))
    after:   for y, x, c: t = (a << 11) + (b - a) * h[x];  u = (d << 11) + (e - d) * h[x]
                          z[y, x, c] = int8((t << 11) + (u - t) * v[y] + half >> 22)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

# Elements of a vector, where there are so many channels. Narrower registers take several.
_LANES = 16

# Bits of a share.
_BITS = 11


@dataclass(frozen=True)
class Resize:
    """Geometry of a resizing: shapes of input and output, [n, height, width, channels]."""

    given: tuple[int, ...]
    made: tuple[int, ...]
    dtype: str


def resize_of(graph: Graph, op: Op) -> Resize | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind != "resize_bilinear" or not graph.data:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if not x.is_8_bit or (x.dtype, x.quantization) != (y.dtype, y.quantization):
        return None
    if x.is_dynamic or y.is_dynamic or not (x.size_bytes and y.size_bytes):
        return None
    if len(x.shape) != 4 or x.quantization is None or graph.is_constant(x.index):
        return None
    return Resize(x.shape, y.shape, x.dtype)


def resize_arguments(op: Op, shape: Resize) -> tuple[npt.NDArray[np.int32], ...]:
    """The constants of the kernel: of rows, and of columns, the first and the second neighbour of
    each, and the second's share.
    """
    aligned = bool(op.attributes.get("align_corners"))
    centred = bool(op.attributes.get("half_pixel_centers"))
    return tuple(
        _samples(shape.given[axis], shape.made[axis], aligned=aligned, centred=centred)
        for axis in (1, 2)
    )


def _samples(given: int, made: int, *, aligned: bool, centred: bool) -> npt.NDArray[np.int32]:
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(given) / np.float32(made)
    if aligned and made > 1:
        scale = np.float32(given - one) / np.float32(made - one)
    places = np.arange(made, dtype=np.float32)
    places = (places + half) * scale - half if centred else places * scale
    places = np.clip(places, np.float32(0), np.float32(given - 1))
    first = places.astype(np.int32)
    share = np.rint((places - first.astype(np.float32)) * np.float32(1 << _BITS))
    return np.stack([first, np.minimum(first + 1, given - 1), share.astype(np.int32)])


@cache
def resize_kernel(shape: Resize) -> tvm.tirx.PrimFunc:
    """A kernel (input, constants of ``resize_arguments``, output)."""
    (count, h, w, c), (_, oh, ow, _) = shape.given, shape.made
    lanes = min(_LANES, c)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("resize")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        rows = T.arg("rows", T.Buffer((3, oh), "int32"))
        columns = T.arg("columns", T.Buffer((3, ow), "int32"))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        with T.grid(count, oh, ow) as (n, i, j):
            lines = [T.bind((n * h + rows[k, i]) * (w * c)) for k in (0, 1)]
            places = [T.bind(columns[k, j] * c) for k in (0, 1)]
            across, down = T.bind(columns[2, j]), T.bind(rows[2, i])

            def store(at: Any) -> None:
                """One vector of channels."""
                pairs = [
                    [_wide(source[_vector(line + place + at, lanes)], lanes) for place in places]
                    for line in lines
                ]
                upper, lower = (_between(a, b, across, lanes) for a, b in pairs)
                total = _between(upper, lower, down, lanes) + _all(1 << (2 * _BITS - 1), lanes)
                made = T.shift_right(total, _all(2 * _BITS, lanes))
                kind = f"{shape.dtype}x{lanes}" if lanes > 1 else shape.dtype
                start = ((n * oh + i) * ow + j) * c + at
                T.buffer_store(result, T.Cast(kind, made), [_vector(start, lanes)])

            with T.serial(0, c // lanes) as v:
                store(v * lanes)
            if c % lanes:
                # The last vector overlaps the one before it.
                store(T.int32(c - lanes))
    return builder.get()


def _between(first: Any, second: Any, share: Any, lanes: int) -> Any:
    share = T.Broadcast(share, lanes) if lanes > 1 else share
    return T.shift_left(first, _all(_BITS, lanes)) + (second - first) * share


def _wide(value: Any, lanes: int) -> Any:
    return T.Cast(f"int32x{lanes}" if lanes > 1 else "int32", value)


def _all(value: int, lanes: int) -> Any:
    return T.Broadcast(T.int32(value), lanes) if lanes > 1 else T.int32(value)


def _vector(start: Any, lanes: int) -> Any:
    return T.Ramp(start, 1, lanes) if lanes > 1 else start
