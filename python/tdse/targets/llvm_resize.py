"""Bilinear resizing as LiteRT's XNNPACK does it, of 8-bit tensors in integers.

Of these, shares of the four neighbours have 11 bits::

    before:  for y, x, c: z[y, x, c] = quantized(bilinear(dequantized(image), y, x, c))
    after:   for y, x, c: t = (a << 11) + (b - a) * h[x];  u = (d << 11) + (e - d) * h[x]
                          z[y, x, c] = int8((t << 11) + (u - t) * v[y] + half >> 22)

In float32 there is neither a shift nor a half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import ELEMENTS_WORTH_DIVIDING, bounds_of_call, channel_vector, span

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
    if (x.dtype, x.quantization) != (y.dtype, y.quantization):
        return None
    if x.dtype != "float32" and (not x.is_8_bit or x.quantization is None):
        return None
    if x.is_dynamic or y.is_dynamic or not (x.size_bytes and y.size_bytes):
        return None
    if len(x.shape) != 4 or graph.is_constant(x.index):
        return None
    return Resize(x.shape, y.shape, x.dtype)


def resize_arguments(op: Op, shape: Resize) -> tuple[npt.NDArray[Any], ...]:
    """The constants of the kernel: of rows, and then of columns, the first and the second neighbour
    of each, and the second's share.
    """
    aligned = bool(op.attributes.get("align_corners"))
    centred = bool(op.attributes.get("half_pixel_centers"))
    constants: list[npt.NDArray[Any]] = []
    for axis in (1, 2):
        given, made = shape.given[axis], shape.made[axis]
        neighbours, share = _samples(given, made, aligned=aligned, centred=centred)
        if shape.dtype != "float32":
            share = np.rint(share * np.float32(1 << _BITS)).astype(np.int32)
        constants += [neighbours, share]
    return tuple(constants)


def _samples(
    given: int, made: int, *, aligned: bool, centred: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Both neighbours of each of ``made`` places, and the second's share, in float32."""
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(given) / np.float32(made)
    if aligned and made > 1:
        scale = np.float32(given - one) / np.float32(made - one)
    places = np.arange(made, dtype=np.float32)
    places = (places + half) * scale - half if centred else places * scale
    places = np.clip(places, np.float32(0), np.float32(given - 1))
    first = places.astype(np.int32)
    share = places - first.astype(np.float32)
    return np.stack([first, np.minimum(first + 1, given - 1)]), share


@cache
def resize_kernel(shape: Resize) -> tvm.tirx.PrimFunc:
    """A kernel (input, constants of ``resize_arguments``, output)."""
    (count, h, w, c), (_, oh, ow, _) = shape.given, shape.made
    lanes = min(_LANES, c)
    share_type = "float32" if shape.dtype == "float32" else "int32"
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("resize")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        rows = T.arg("rows", T.Buffer((2, oh), "int32"))
        row_shares = T.arg("row_shares", T.Buffer((oh,), share_type))
        columns = T.arg("columns", T.Buffer((2, ow), "int32"))
        column_shares = T.arg("column_shares", T.Buffer((ow,), share_type))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        begin, end = bounds_of_call(count * oh, resize_iterations(shape) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        with T.serial(begin, end) as row:
            n, i = T.bind(row // oh), T.bind(row % oh)
            lines = [T.bind((n * h + rows[k, i]) * (w * c)) for k in (0, 1)]
            down = T.bind(row_shares[i])
            with T.serial(0, ow) as j:
                places = [T.bind(columns[k, j] * c) for k in (0, 1)]
                across = T.bind(column_shares[j])
                with T.serial(0, -(-c // lanes)) as v:
                    at = channel_vector(v, c, lanes)
                    pairs = [
                        [source[span(line + place + at, lanes)] for place in places]
                        for line in lines
                    ]
                    made = _mixed(pairs, across, down, lanes, shape.dtype)
                    T.buffer_store(result, made, [span((row * ow + j) * c + at, lanes)])
    return builder.get()


def resize_iterations(shape: Resize) -> int:
    """Those of the kernel's outer loop that threads may divide; 0 if it is not worth it."""
    return math.prod(shape.made[:2]) if math.prod(shape.made) >= ELEMENTS_WORTH_DIVIDING else 0


def _mixed(pairs: Sequence[Sequence[Any]], across: Any, down: Any, lanes: int, dtype: str) -> Any:
    """What lies between two neighbours of each of two rows."""
    if dtype == "float32":
        if lanes > 1:
            across, down = T.Broadcast(across, lanes), T.Broadcast(down, lanes)
        upper, lower = (a + (b - a) * across for a, b in pairs)
        return upper + (lower - upper) * down
    upper, lower = (_between(_wide(a, lanes), _wide(b, lanes), across, lanes) for a, b in pairs)
    total = _between(upper, lower, down, lanes) + _all(1 << (2 * _BITS - 1), lanes)
    kind = f"{dtype}x{lanes}" if lanes > 1 else dtype
    return T.Cast(kind, T.shift_right(total, _all(2 * _BITS, lanes)))


def _between(first: Any, second: Any, share: Any, lanes: int) -> Any:
    share = T.Broadcast(share, lanes) if lanes > 1 else share
    return T.shift_left(first, _all(_BITS, lanes)) + (second - first) * share


def _wide(value: Any, lanes: int) -> Any:
    return T.Cast(f"int32x{lanes}" if lanes > 1 else "int32", value)


def _all(value: int, lanes: int) -> Any:
    return T.Broadcast(T.int32(value), lanes) if lanes > 1 else T.int32(value)
