"""Operators that have kernels of their own on a GPU, so that their results are LiteRT's exactly.

The kernels are loops without an order; ``GpuTarget.schedule`` binds them to threads.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from tdse.graph.model import Graph, Op

from .byte_tables import ENTRIES, table_of
from .llvm_lower import Constant, KernelCall
from .llvm_pool import Pool, pool_arguments, pool_of


def own_call(graph: Graph, ops: tuple[int, ...]) -> KernelCall | None:
    """The call of a kernel that is written for operators of these kinds; None if there is none.

    They read quantisation from the flatbuffer, so a graph without one has none.

    Args:
        graph: the model.
        ops: one operator, or some that one table may stand for.
    """
    if not graph.data:
        return None
    call = _table_call(graph, ops)
    return call or (_average_call(graph, graph.ops[ops[0]]) if len(ops) == 1 else None)


def _table_call(graph: Graph, ops: tuple[int, ...]) -> KernelCall | None:
    """A look-up in a table of what LiteRT makes of each byte."""
    table = table_of(graph, ops)
    if table is None:
        return None
    given, result = graph.tensors[table.given], graph.tensors[table.result]
    function = _table_kernel(given.shape, given.dtype, result.dtype)
    return KernelCall(function, (table.given, Constant(table.values), table.result))


def _average_call(graph: Graph, op: Op) -> KernelCall | None:
    """An average over windows in integers; TVM's, in float32, rounds halves to even."""
    shape = pool_of(graph, op)
    if shape is None or not shape.is_average:
        return None
    rows, columns = (counts.astype(np.int32) for counts in pool_arguments(shape))
    columns = np.ascontiguousarray(columns[:: shape.channels])
    constants = Constant(rows), Constant(columns)
    return KernelCall(_average_kernel(shape), (op.inputs[0], *constants, op.outputs[0]))


@cache
def _table_kernel(shape: tuple[int, ...], dtype_in: str, dtype_out: str) -> tvm.tirx.PrimFunc:
    """A kernel (input, table, output) that replaces each byte by its entry of the table."""
    x = te.placeholder(shape, dtype_in, "x")
    table = te.placeholder((ENTRIES,), dtype_out, "table")

    def entry(*at: Any) -> Any:
        return table(x(*at).astype("uint8").astype("int32"))

    return te.create_prim_func([x, table, te.compute(shape, entry, name="looked_up")])


@cache
def _average_kernel(shape: Pool) -> tvm.tirx.PrimFunc:
    """A kernel (input, positions of rows, positions of columns, output), for each window."""
    (kh, kw), (sh, sw), (top, left), (oh, ow) = (
        shape.window,
        shape.stride,
        shape.padding,
        shape.output,
    )
    x = te.placeholder((1, shape.height, shape.width, shape.channels), shape.dtype, "x")
    rows, columns = (
        te.placeholder((oh,), "int32", "rows"),
        te.placeholder((ow,), "int32", "columns"),
    )
    ky, kx = te.reduce_axis((0, kh), "ky"), te.reduce_axis((0, kw), "kx")

    def total(_: Any, i: Any, j: Any, channel: Any) -> Any:
        row, column = i * sh + ky - top, j * sw + kx - left
        inside = tirx.all(row >= 0, row < shape.height, column >= 0, column < shape.width)
        value = tirx.if_then_else(inside, x[0, row, column, channel].astype("int32"), 0)
        return te.sum(value, [ky, kx])

    totals = te.compute((1, oh, ow, shape.channels), total, name="totals")

    def rounded(_: Any, i: Any, j: Any, channel: Any) -> Any:
        """The quotient, halves away from zero."""
        count, sum_ = rows[i] * columns[j], totals[0, i, j, channel]
        half = tirx.truncdiv(count, 2)
        moved = tirx.Select(sum_ >= 0, sum_ + half, sum_ - half)
        return tirx.truncdiv(moved, count).astype(shape.dtype)

    averages = te.compute((1, oh, ow, shape.channels), rounded, name="averages")
    return te.create_prim_func([x, rows, columns, averages])
