"""Softmax of 8-bit tensors over the last axis, as LiteRT does it.

There are only 256 distances of an element from the largest of its row, so powers are looked up::

    before:  for i: s += expf(dequantized(x[i]) - m);  for i: y[i] = quantized(expf(...) / s)
    after:   for i: s += table[255 - m + x[i]];  for i: y[i] = round(table[255 - m + x[i]] * share)

Powers are in float32 as they are in LiteRT, and are summed in the same order, since the result
would not be the same to the bit otherwise.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import register


def byte_softmax_shape(graph: Graph, op: Op) -> tuple[int, ...] | None:
    """The shape of a softmax that is built here, or None for any other operator."""
    if op.kind != "softmax" or not graph.data or not isinstance(op.attributes.get("beta"), float):
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if not x.is_8_bit or x.dtype != y.dtype or x.shape != y.shape or not x.shape:
        return None
    if x.quantization is None or y.quantization is None or graph.is_constant(x.index):
        return None
    return None if x.is_dynamic or not x.size_bytes else x.shape


def byte_softmax_arguments(graph: Graph, op: Op) -> tuple[npt.NDArray[np.float32], ...]:
    """The constants of the kernel: powers of all distances, 255 first, and the result's scale."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    beta = op.attributes["beta"]
    assert x.quantization is not None and y.quantization is not None and isinstance(beta, float)
    step = np.float32(x.quantization.scales[0]) * np.float32(beta)
    distances = np.arange(255, -1, -1, dtype=np.float32)
    # Rounded once, as the C library's powers are; numpy's in float32 are a little off.
    powers = np.exp((-step * distances).astype(np.float64)).astype(np.float32)
    return powers, np.array([y.quantization.scales[0]], np.float32)


@cache
def byte_softmax_kernel(shape: tuple[int, ...], dtype: str) -> tvm.tirx.PrimFunc:
    """A kernel (input, constants of ``byte_softmax_arguments``, output)."""
    size, count = math.prod(shape), shape[-1]
    limits = np.iinfo(dtype)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("softmax")
        x = T.arg("x", T.Buffer(shape, dtype))
        powers = T.arg("powers", T.Buffer((256,), "float32"))
        scale = T.arg("scale", T.Buffer((1,), "float32"))
        y = T.arg("y", T.Buffer(shape, dtype))
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((size,), dtype, data=x.data)
        result = T.decl_buffer((size,), dtype, data=y.data)
        with T.serial(0, size // count) as row:
            start = T.bind(row * count)
            largest, total = register(1, dtype), register(1, "float32")
            T.buffer_store(largest, source[start], [0])
            with T.serial(0, count) as i:
                T.buffer_store(largest, T.max(largest[0], source[start + i]), [0])
            first = T.bind(T.int32(255) - T.Cast("int32", largest[0]))
            T.buffer_store(total, T.float32(0), [0])
            with T.serial(0, count) as i:
                power = powers[first + T.Cast("int32", source[start + i])]
                T.buffer_store(total, total[0] + power, [0])
            share = T.bind(T.float32(1) / (total[0] * scale[0]))
            with T.serial(0, count) as i:
                value = T.bind(powers[first + T.Cast("int32", source[start + i])] * share)
                # Halves are rounded up.
                whole = T.bind(T.Cast("int32", value))
                is_up = value - T.Cast("float32", whole) >= T.float32(0.5)
                stored = whole + T.Cast("int32", is_up) + T.int32(int(limits.min))
                least = T.min(stored, T.int32(int(limits.max)))
                T.buffer_store(result, T.Cast(dtype, least), [start + i])
    return builder.get()
