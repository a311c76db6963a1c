"""Kernels of PReLU in float32, with a slope for each channel.

TVM's importer writes down a slope for each element; to read these takes longer than all else, where
they do not stay in a core's own cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tdse.graph.model import Graph, Op

from .llvm_arithmetic import ELEMENTS_WORTH_DIVIDING, bounds_of_call, float_arithmetic
from .llvm_constants import constant_operand, has_constant_parameters
from .llvm_isa import Isa

# An iteration makes at least so many elements, where there are as many.
_LEAST_BLOCK = 64


@dataclass(frozen=True)
class Prelu:
    """Geometry of a PReLU.

    Attributes:
        shape: of input and output; channels last, of each of which there is a slope.
        lanes: elements of a vector.
        block: elements that an iteration makes: whole vectors, and all channels equally often.
    """

    shape: tuple[int, ...]
    lanes: int
    block: int


def prelu_of(graph: Graph, op: Op, isa: Isa) -> Prelu | None:
    """The geometry of an operator, or None if it is not of the form that is built here."""
    if op.kind != "prelu" or not graph.data:
        return None
    x, slopes, y = (graph.tensors[t] for t in (*op.inputs, *op.outputs))
    if (
        not has_constant_parameters(graph, op)
        or x.is_dynamic
        or {x.dtype, slopes.dtype, y.dtype} != {"float32"}
        or not x.shape
        or x.shape != y.shape
        or slopes.shape[-1:] != x.shape[-1:]
        or math.prod(slopes.shape) != x.shape[-1]
    ):
        return None
    lanes, size = float_arithmetic(isa).lanes, math.prod(x.shape)
    block = math.lcm(x.shape[-1], lanes)
    if not 0 < block <= size:
        return None
    return Prelu(x.shape, lanes, block * max(1, min(_LEAST_BLOCK, size) // block))


def prelu_argument(graph: Graph, op: Op, shape: Prelu) -> npt.NDArray[np.float32]:
    """The slopes of a block."""
    return np.resize(constant_operand(graph, op, 1), shape.block)


@cache
def prelu_kernel(shape: Prelu) -> tvm.tirx.PrimFunc:
    """A kernel of input, slopes and output: ``y[i] = x[i] if x[i] >= 0 else x[i] * slopes[i]``."""
    size = math.prod(shape.shape)
    with IRBuilder() as builder, T.prim_func(s_tir=True, private=True):
        T.func_name("prelu")
        x = T.arg("x", T.Buffer(shape.shape, "float32"))
        slopes = T.arg("slopes", T.Buffer((shape.block,), "float32"))
        y = T.arg("y", T.Buffer(shape.shape, "float32"))
        begin, end = bounds_of_call(-(-size // shape.block), prelu_iterations(shape) > 0)
        T.func_attr({"tirx.noalias": True})
        source = T.decl_buffer((size,), "float32", data=x.data)
        result = T.decl_buffer((size,), "float32", data=y.data)
        with T.serial(begin, end) as i, T.serial(0, shape.block // shape.lanes) as v:
            # The last block overlaps the one before it, and begins with the first channel, too.
            first = i * shape.block
            first = T.min(first, size - shape.block) if size % shape.block else first
            at = T.Ramp(first + v * shape.lanes, 1, shape.lanes)
            value = T.bind(source[at])
            scaled = value * slopes[T.Ramp(v * shape.lanes, 1, shape.lanes)]
            is_negative = value < T.Broadcast(T.float32(0), shape.lanes)
            T.buffer_store(result, T.Select(is_negative, scaled, value), [at])
    return builder.get()


def prelu_iterations(shape: Prelu) -> int:
    """Those of the kernel's outer loop that threads may divide; 0 if it is not worth it."""
    size = math.prod(shape.shape)
    return -(-size // shape.block) if size >= ELEMENTS_WORTH_DIVIDING else 0
