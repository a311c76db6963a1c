"""Logistic in float32.

TVM calls the C library's ``expf`` for each element. Here powers are a polynomial, which LLVM
computes vector by vector, of numbers that are not positive, so that none is too large::

    e = power(-|x|);  y = (1 if x >= 0 else e) / (1 + e)
"""

from __future__ import annotations

import math
from functools import cache

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import bounds_of_call
from .llvm_softmax import power

# An iteration makes so many elements, or fewer at the end.
_BLOCK = 1024
# Elements that are worth dividing: each takes as long as many of most kernels'.
_WORTH_DIVIDING = 4_000


def logistic_shape(graph: Graph, op: Op) -> tuple[int, ...] | None:
    """The shape of a logistic that is built here, or None for any other operator."""
    if op.kind != "logistic" or not graph.data:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_float = x.dtype == y.dtype == "float32" and x.shape == y.shape
    if not is_float or graph.is_constant(x.index) or x.is_dynamic or not x.size_bytes:
        return None
    return x.shape


@cache
def logistic_kernel(shape: tuple[int, ...]) -> tvm.tirx.PrimFunc:
    """A kernel (input, output)."""
    size = math.prod(shape)
    block = min(_BLOCK, size)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("logistic")
        x = T.arg("x", T.Buffer(shape, "float32"))
        y = T.arg("y", T.Buffer(shape, "float32"))
        begin, end = bounds_of_call(-(-size // block), logistic_iterations(shape) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((size,), "float32", data=x.data)
        result = T.decl_buffer((size,), "float32", data=y.data)
        with T.serial(begin, end) as i:
            # The last block overlaps the one before it.
            first = T.bind(T.min(i * block, size - block))
            with T.serial(0, block) as j:
                value = source[first + j]
                share = power(T.min(value, T.float32(0) - value))
                above = T.Select(value < T.float32(0), share, T.float32(1))
                T.buffer_store(result, above / (T.float32(1) + share), [first + j])
    return builder.get()


def logistic_iterations(shape: tuple[int, ...]) -> int:
    """Those of the kernel's outer loop that threads may divide; 0 if it is not worth it."""
    size = math.prod(shape)
    return -(-size // _BLOCK) if size >= _WORTH_DIVIDING else 0
