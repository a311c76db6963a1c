"""Softmax in float32 over the last axis.

TVM sums one element after the other, and calls the C library's ``expf`` for each. Here sums and
maxima are kept in vectors, and powers are a polynomial, which LLVM computes vector by vector::

    before:  for i: s += expf(x[i] - m)
    after:   for i: y[i] = power(x[i] - m);  for vectors v: S += y[v];  s = S[0] + S[1] + ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import float_arithmetic, register
from .llvm_isa import Isa

# Of e ** r for |r| <= ln(2) / 2: the terms of Taylor's series, which are off by less than 2e-7.
_TERMS = tuple(1.0 / math.factorial(i) for i in range(7))

# The natural logarithm of 2 as a number with few bits and what is missing, after Cody and Waite.
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6

# Below, e ** x is less than the least normal number.
_LEAST = -87.0


def softmax_shape(graph: Graph, op: Op, isa: Isa) -> tuple[int, ...] | None:
    """The shape of a softmax that is built here, or None for any other operator."""
    if op.kind != "softmax" or not graph.data or op.attributes.get("beta") != 1.0:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_float = x.dtype == y.dtype == "float32" and x.shape == y.shape
    if not is_float or x.is_constant or x.is_dynamic or not x.size_bytes:
        return None
    return x.shape if x.shape[-1] >= float_arithmetic(isa).lanes else None


@cache
def softmax_kernel(shape: tuple[int, ...], isa: Isa) -> tvm.tirx.PrimFunc:
    """A kernel (input, output)."""
    lanes, count = float_arithmetic(isa).lanes, shape[-1]
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("softmax")
        x = T.arg("x", T.Buffer(shape, "float32"))
        y = T.arg("y", T.Buffer(shape, "float32"))
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((math.prod(shape),), "float32", data=x.data)
        result = T.decl_buffer((math.prod(shape),), "float32", data=y.data)
        with T.serial(0, math.prod(shape[:-1])) as row:
            start = T.bind(row * count)
            largest = _reduced(source, start, count, lanes, T.max)
            with T.serial(0, count) as i:
                T.buffer_store(result, power(source[start + i] - largest), [start + i])
            total = _reduced(result, start, count, lanes, lambda a, b: a + b)
            share = T.bind(T.float32(1) / total)
            with T.serial(0, count) as i:
                T.buffer_store(result, result[start + i] * share, [start + i])
    return builder.get()


def _reduced(
    values: Any, start: Any, count: int, lanes: int, join: Callable[[Any, Any], Any]
) -> Any:
    """All of ``count`` values joined, of vectors first."""
    whole, one = T.Ramp(0, 1, lanes), register(1, "float32")
    several = register(lanes, "float32")
    T.buffer_store(several, values[T.Ramp(start, 1, lanes)], [whole])
    with T.serial(1, count // lanes) as v:
        joined = join(several[whole], values[T.Ramp(start + v * lanes, 1, lanes)])
        T.buffer_store(several, joined, [whole])
    T.buffer_store(one, several[0], [0])
    with T.serial(1, lanes) as i:
        T.buffer_store(one, join(one[0], several[i]), [0])
    with T.serial(0, count % lanes) as i:
        T.buffer_store(one, join(one[0], values[start + count // lanes * lanes + i]), [0])
    return T.bind(one[0])


def power(x: Any) -> Any:
    """e ** x for x <= 0; a NaN stays one."""
    x = T.Select(x < T.float32(_LEAST), T.float32(_LEAST), x)
    twos = T.nearbyint(x * T.float32(1 / math.log(2)))
    rest = x - twos * T.float32(_LN2_HIGH) - twos * T.float32(_LN2_LOW)
    value: Any = T.float32(_TERMS[-1])
    for term in reversed(_TERMS[:-1]):
        value = value * rest + T.float32(term)
    exponent = T.shift_left(T.Cast("int32", twos) + T.int32(127), T.int32(23))
    return value * T.reinterpret("float32", exponent)
