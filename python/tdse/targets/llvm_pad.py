"""Padding, row by row as copies.

TVM asks of each element whether it lies within the input. Here a *row* is all that follows each
other in memory from the last padded dimension on: one copy, with what is before and after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import ELEMENTS_WORTH_DIVIDING, bounds_of_call
from .llvm_constants import constant_operand

_DTYPES = ("float32", "int8", "uint8")


@dataclass(frozen=True)
class Pad:
    """Geometry of a padding; a row is all that is not counted by ``rows``.

    Attributes:
        given: shape of the input.
        made: shape of the output.
        before: elements before each dimension's first.
        dtype: of both.
        fill: what is put around: 0, or the zero point.
    """

    given: tuple[int, ...]
    made: tuple[int, ...]
    before: tuple[int, ...]
    dtype: str
    fill: int

    @property
    def axis(self) -> int:
        """The last dimension that is padded."""
        return max(i for i, (a, b) in enumerate(zip(self.given, self.made, strict=True)) if a != b)

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return math.prod(self.made[: self.axis])


def pad_of(graph: Graph, op: Op) -> Pad | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind != "pad" or not graph.data or len(op.inputs) != 2:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if (
        not graph.is_constant(op.inputs[1])
        or graph.is_constant(op.inputs[0])
        or x.is_dynamic
        or y.is_dynamic
        or not (x.size_bytes and y.size_bytes)
        or x.dtype not in _DTYPES
        or (x.dtype, x.quantization) != (y.dtype, y.quantization)
        or (x.is_8_bit and x.quantization is None)
        or x.shape == y.shape
    ):
        return None
    paddings = constant_operand(graph, op, 1).astype(np.int64)
    fill = 0 if x.quantization is None else x.quantization.zero_points[0]
    return Pad(x.shape, y.shape, tuple(int(n) for n in paddings[:, 0]), x.dtype, fill)


@cache
def pad_kernel(shape: Pad) -> tvm.tirx.PrimFunc:
    """A kernel (input, output)."""
    axis = shape.axis
    inner = math.prod(shape.given[axis + 1 :])
    before, length = shape.before[axis] * inner, shape.given[axis] * inner
    row = shape.made[axis] * inner
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("pad")
        x = T.arg("x", T.Buffer(shape.given, shape.dtype))
        y = T.arg("y", T.Buffer(shape.made, shape.dtype))
        begin, end = bounds_of_call(shape.rows, pad_iterations(shape) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((math.prod(shape.given),), shape.dtype, data=x.data)
        result = T.decl_buffer((math.prod(shape.made),), shape.dtype, data=y.data)
        fill = T.Cast(shape.dtype, T.int32(shape.fill))

        def filled(start: Any, count: int) -> None:
            if count:
                with T.serial(0, count) as i:
                    T.buffer_store(result, fill, [start + i])

        with T.serial(begin, end) as r:
            within, given_row = _source_row(shape, r)
            with T.If(within):
                with T.Then():
                    filled(r * row, before)
                    with T.serial(0, length) as i:
                        value = source[given_row * length + i]
                        T.buffer_store(result, value, [r * row + before + i])
                    filled(r * row + before + length, row - before - length)
                with T.Else():
                    filled(r * row, row)
    return builder.get()


def pad_iterations(shape: Pad) -> int:
    """Those of the kernel's outer loop that threads may divide; 0 if it is not worth it."""
    return shape.rows if math.prod(shape.made) >= ELEMENTS_WORTH_DIVIDING else 0


def _source_row(shape: Pad, row: Any) -> tuple[Any, Any]:
    """Whether a row of the output has one of the input, and which."""
    within, found, left = T.bool(True), T.int32(0), row
    for axis in range(shape.axis):
        of_axis = math.prod(shape.made[axis + 1 : shape.axis])
        place = left // of_axis - shape.before[axis]
        left = left % of_axis
        size = shape.given[axis]
        within = T.And(within, T.And(place >= 0, place < size))
        found = found * size + place
    return within, found
