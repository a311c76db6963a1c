"""Concatenation of tensors that are quantised alike, or not at all, as copies of blocks.

TVM computes each element of the result by asking which operand it comes from.
"""

from __future__ import annotations

import math
from functools import cache

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_window import int_attribute


def concat_axis(graph: Graph, op: Op) -> int | None:
    """The axis of a concatenation that is a copy, or None for any other operator."""
    if op.kind != "concatenation" or not graph.data:
        return None
    if op.attributes.get("fused_activation_function", "none") != "none":
        return None
    result = graph.tensors[op.outputs[0]]
    for operand in (graph.tensors[t] for t in op.inputs):
        if (
            operand.quantization != result.quantization
            or operand.dtype != result.dtype
            or operand.is_dynamic
            or operand.is_constant
        ):
            return None
    if result.is_dynamic or not result.size_bytes:
        return None
    return int_attribute(op, "axis") % len(result.shape)


@cache
def concat_kernel(shapes: tuple[tuple[int, ...], ...], axis: int, dtype: str) -> tvm.tirx.PrimFunc:
    """A kernel (operands, result) that joins tensors of ``shapes`` along ``axis``."""
    before, after = shapes[0][:axis], shapes[0][axis + 1 :]
    joined = (*before, sum(shape[axis] for shape in shapes), *after)
    rows, row = math.prod(before), math.prod(joined[axis:])
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("concat")
        operands = [T.arg(f"x{i}", T.Buffer(shape, dtype)) for i, shape in enumerate(shapes)]
        result = T.arg("y", T.Buffer(joined, dtype))
        T.func_attr({"tirx.noalias": True})
        flat = T.decl_buffer((rows * row,), dtype, data=result.data)
        start = 0
        for shape, operand in zip(shapes, operands, strict=True):
            block = math.prod(shape[axis:])
            source = T.decl_buffer((rows * block,), dtype, data=operand.data)
            with T.grid(rows, block) as (i, j):
                T.buffer_store(flat, source[i * block + j], [i * row + start + j])
            start += block
    return builder.get()
