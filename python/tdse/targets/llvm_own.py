"""Operators that have kernels of their own, instead of what TVM would make of them."""

from __future__ import annotations

import numpy as np

from tdse.graph.model import Graph, Op
from tdse.graph.unpack import constant_bytes

from .llvm_arithmetic import integer_arithmetic
from .llvm_binary import binary_arguments, binary_kernel, binary_of
from .llvm_concat import concat_axis, concat_kernel
from .llvm_conv import conv_arguments, conv_arithmetic, conv_of
from .llvm_conv_kernel import choose_tiles, conv_kernel
from .llvm_depthwise import depthwise_arguments, depthwise_kernel, depthwise_of
from .llvm_depthwise_float import float_depthwise_arguments, float_depthwise_kernel
from .llvm_isa import Isa
from .llvm_lower import Argument, Constant, KernelCall
from .llvm_mean import mean_arguments, mean_kernel, mean_of
from .llvm_pool import pool_arguments, pool_kernel, pool_of
from .llvm_softmax import softmax_kernel, softmax_shape
from .llvm_softmax_bytes import byte_softmax_arguments, byte_softmax_kernel, byte_softmax_shape
from .llvm_table import known_table, table_argument, table_input, table_kernel


def own_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    """The call of a kernel that is written for the operator's kind, or None if there is none.

    ``threads`` divide the work of the kernels that are worth it.

    They read weights and quantisation from the flatbuffer, so a graph without one has none.
    """
    if not graph.data:
        return None
    for make in _MAKERS:
        call = make(graph, op, isa, threads)
        if call is not None:
            return call
    return None


def _table_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    source, table = table_input(graph, op), known_table(graph, op)
    if source is None or table is None:
        return None
    given, result = graph.tensors[source], graph.tensors[op.outputs[0]]
    function = table_kernel(given.shape, given.dtype, result.dtype, isa)
    constant = Constant(table_argument(table, isa))
    return KernelCall(function, (given.index, constant, result.index))


def _conv_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = conv_of(graph, op)
    if shape is None:
        return None
    how = conv_arithmetic(graph, op, isa)
    tiles = choose_tiles(shape, how, isa)
    constants = map(Constant, conv_arguments(graph, op, shape, how, tiles))
    return KernelCall(
        conv_kernel(shape, how, tiles, isa, threads), (op.inputs[0], *constants, op.outputs[0])
    )


def _depthwise_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = depthwise_of(graph, op)
    if shape is None:
        return None
    if shape.dtype == "float32":
        constants = map(Constant, float_depthwise_arguments(graph, op))
        function = float_depthwise_kernel(shape, isa, threads)
        return KernelCall(function, (op.inputs[0], *constants, op.outputs[0]))
    how = integer_arithmetic(graph.tensors[op.inputs[1]], isa)
    constants = map(Constant, depthwise_arguments(graph, op, shape, how))
    function = depthwise_kernel(shape, how, isa)
    return KernelCall(function, (op.inputs[0], *constants, op.outputs[0]))


def _pool_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = pool_of(graph, op)
    if shape is None:
        return None
    constants = map(Constant, pool_arguments(shape))
    return KernelCall(pool_kernel(shape), (op.inputs[0], *constants, op.outputs[0]))


def _binary_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = binary_of(graph, op)
    if shape is None:
        return None
    constants = map(Constant, binary_arguments(graph, op, shape))
    operands = (_operand(graph, t) for t in op.inputs)
    return KernelCall(binary_kernel(shape), (*operands, *constants, op.outputs[0]))


def _operand(graph: Graph, tensor: int) -> Argument:
    """A tensor of the graph, or its value where that is in the file."""
    known = graph.tensors[tensor]
    if not known.is_constant:
        return tensor
    return Constant(np.frombuffer(constant_bytes(graph, tensor), known.dtype).reshape(known.shape))


def _mean_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = mean_of(graph, op)
    if shape is None:
        return None
    constants = map(Constant, mean_arguments(graph, op, shape))
    return KernelCall(mean_kernel(shape), (op.inputs[0], *constants, op.outputs[0]))


def _concat_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    axis = concat_axis(graph, op)
    if axis is None:
        return None
    operands = [graph.tensors[t] for t in op.inputs]
    function = concat_kernel(tuple(t.shape for t in operands), axis, operands[0].dtype)
    return KernelCall(function, (*op.inputs, op.outputs[0]))


def _softmax_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = softmax_shape(graph, op, isa)
    if shape is None:
        return None
    return KernelCall(softmax_kernel(shape, isa), (op.inputs[0], op.outputs[0]))


def _byte_softmax_call(graph: Graph, op: Op, isa: Isa, threads: int) -> KernelCall | None:
    shape = byte_softmax_shape(graph, op)
    if shape is None:
        return None
    function = byte_softmax_kernel(shape, graph.tensors[op.inputs[0]].dtype)
    constants = map(Constant, byte_softmax_arguments(graph, op))
    return KernelCall(function, (op.inputs[0], *constants, op.outputs[0]))


_MAKERS = (
    _table_call,
    _conv_call,
    _depthwise_call,
    _mean_call,
    _pool_call,
    _binary_call,
    _concat_call,
    _softmax_call,
    _byte_softmax_call,
)
