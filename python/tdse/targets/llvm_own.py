"""Operators that have kernels of their own, instead of what TVM would make of them."""

from __future__ import annotations

from tdse.graph.model import Graph, Op

from .byte_tables import table_of
from .llvm_arithmetic import Arithmetic, integer_arithmetic
from .llvm_binary import binary_arguments, binary_iterations, binary_kernel, binary_of
from .llvm_concat import concat_axis, concat_kernel
from .llvm_constants import constant_operand
from .llvm_conv import ZEROS, Conv, Tiles, conv_arguments, conv_arithmetic, conv_of
from .llvm_conv_kernel import (
    conv_iterations,
    conv_kernel,
    padded_image,
    padding_iterations,
    padding_kernel,
)
from .llvm_depthwise import (
    depthwise_arguments,
    depthwise_iterations,
    depthwise_kernel,
    depthwise_of,
)
from .llvm_depthwise_float import (
    float_depthwise_arguments,
    float_depthwise_iterations,
    float_depthwise_kernel,
)
from .llvm_isa import Isa
from .llvm_logistic import logistic_iterations, logistic_kernel, logistic_shape
from .llvm_lower import Constant, KernelCall
from .llvm_mean import mean_arguments, mean_kernel, mean_of
from .llvm_pad import pad_iterations, pad_kernel, pad_of
from .llvm_pool import pool_arguments, pool_kernel, pool_of
from .llvm_pool_float import float_pool_iterations, float_pool_kernel
from .llvm_prelu import prelu_argument, prelu_iterations, prelu_kernel, prelu_of
from .llvm_resize import resize_arguments, resize_iterations, resize_kernel, resize_of
from .llvm_softmax import softmax_kernel, softmax_shape
from .llvm_softmax_bytes import byte_softmax_arguments, byte_softmax_kernel, byte_softmax_shape
from .llvm_table import table_argument, table_iterations, table_kernel
from .llvm_tuned import best_tiles


def own_calls(graph: Graph, ops: tuple[int, ...], isa: Isa) -> tuple[KernelCall, ...]:
    """The calls of kernels that are written for operators of these kinds; none without any.

    They read weights and quantisation from the flatbuffer, so a graph without one has none.

    Args:
        graph: the model.
        ops: one operator, or some that one table may stand for.
        isa: what kernels are built for.
    """
    if not graph.data:
        return ()
    calls = _table(graph, ops, isa)
    if calls or len(ops) > 1:
        return calls
    for make in _MAKERS:
        calls = make(graph, graph.ops[ops[0]], isa)
        if calls:
            return calls
    return ()


def _table(graph: Graph, ops: tuple[int, ...], isa: Isa) -> tuple[KernelCall, ...]:
    table = table_of(graph, ops)
    if table is None:
        return ()
    given, result = graph.tensors[table.given], graph.tensors[table.result]
    function = table_kernel(given.shape, given.dtype, result.dtype, isa)
    constant = Constant(table_argument(table.values, isa))
    iterations = table_iterations(given.shape, isa)
    return (KernelCall(function, (table.given, constant, table.result), iterations),)


def _conv(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = conv_of(graph, op)
    if shape is None:
        return ()
    how = conv_arithmetic(graph, op, shape, isa)
    return conv_calls(graph, op, shape, how, best_tiles(shape, how, isa), isa)


def conv_calls(
    graph: Graph, op: Op, shape: Conv, how: Arithmetic, tiles: Tiles, isa: Isa
) -> tuple[KernelCall, ...]:
    """The calls of a convolution or a fully connected layer whose kernel has these tiles."""
    constants = [Constant(value) for value in conv_arguments(graph, op, shape, how, tiles)]
    iterations = conv_iterations(shape, how, tiles)
    function = conv_kernel(shape, how, tiles, isa)
    image = padded_image(shape, how)
    if image is None:
        return (KernelCall(function, (op.inputs[0], *constants, op.outputs[0]), iterations),)
    zeros = [] if how.taps == 1 else [constants[ZEROS]]
    return (
        KernelCall(
            padding_kernel(shape, how),
            (op.inputs[0], *zeros, image),
            padding_iterations(shape, how),
        ),
        KernelCall(function, (image, *constants, op.outputs[0]), iterations),
    )


def _depthwise(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = depthwise_of(graph, op)
    if shape is None:
        return ()
    if shape.dtype == "float32":
        constants = map(Constant, float_depthwise_arguments(graph, op))
        function = float_depthwise_kernel(shape, isa)
        iterations = float_depthwise_iterations(shape, isa)
        return (KernelCall(function, (op.inputs[0], *constants, op.outputs[0]), iterations),)
    how = integer_arithmetic(graph.tensors[op.inputs[1]], isa)
    constants = map(Constant, depthwise_arguments(graph, op, shape, how))
    function, iterations = depthwise_kernel(shape, how, isa), depthwise_iterations(shape, how)
    return (KernelCall(function, (op.inputs[0], *constants, op.outputs[0]), iterations),)


def _pool(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = pool_of(graph, op)
    if shape is None:
        return ()
    if shape.dtype == "float32":
        iterations = float_pool_iterations(shape, isa)
        return (KernelCall(float_pool_kernel(shape, isa), (*op.inputs, *op.outputs), iterations),)
    constants = map(Constant, pool_arguments(shape))
    return (KernelCall(pool_kernel(shape), (op.inputs[0], *constants, op.outputs[0])),)


def _binary(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = binary_of(graph, op)
    if shape is None:
        return ()
    constants = map(Constant, binary_arguments(graph, op, shape))
    operands = (
        Constant(constant_operand(graph, op, position)) if graph.is_constant(tensor) else tensor
        for position, tensor in enumerate(op.inputs)
    )
    arguments = *operands, *constants, op.outputs[0]
    return (KernelCall(binary_kernel(shape), arguments, binary_iterations(shape)),)


def _mean(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = mean_of(graph, op)
    if shape is None:
        return ()
    constants = map(Constant, mean_arguments(graph, op, shape))
    return (KernelCall(mean_kernel(shape), (op.inputs[0], *constants, op.outputs[0])),)


def _concat(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    axis = concat_axis(graph, op)
    if axis is None:
        return ()
    operands = [graph.tensors[t] for t in op.inputs]
    function = concat_kernel(tuple(t.shape for t in operands), axis, operands[0].dtype)
    return (KernelCall(function, (*op.inputs, op.outputs[0])),)


def _softmax(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = softmax_shape(graph, op, isa)
    if shape is None:
        return ()
    return (KernelCall(softmax_kernel(shape, isa), (op.inputs[0], op.outputs[0])),)


def _byte_softmax(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = byte_softmax_shape(graph, op)
    if shape is None:
        return ()
    function = byte_softmax_kernel(shape, graph.tensors[op.inputs[0]].dtype)
    constants = map(Constant, byte_softmax_arguments(graph, op))
    return (KernelCall(function, (op.inputs[0], *constants, op.outputs[0])),)


def _prelu(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = prelu_of(graph, op, isa)
    if shape is None:
        return ()
    slopes = Constant(prelu_argument(graph, op, shape))
    arguments = op.inputs[0], slopes, op.outputs[0]
    return (KernelCall(prelu_kernel(shape), arguments, prelu_iterations(shape)),)


def _resize(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = resize_of(graph, op)
    if shape is None:
        return ()
    constants = map(Constant, resize_arguments(op, shape))
    function, iterations = resize_kernel(shape), resize_iterations(shape)
    return (KernelCall(function, (op.inputs[0], *constants, op.outputs[0]), iterations),)


def _pad(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = pad_of(graph, op)
    if shape is None:
        return ()
    return (KernelCall(pad_kernel(shape), (op.inputs[0], op.outputs[0]), pad_iterations(shape)),)


def _logistic(graph: Graph, op: Op, isa: Isa) -> tuple[KernelCall, ...]:
    shape = logistic_shape(graph, op)
    if shape is None:
        return ()
    return (
        KernelCall(logistic_kernel(shape), (*op.inputs, *op.outputs), logistic_iterations(shape)),
    )


_MAKERS = (
    _conv,
    _depthwise,
    _mean,
    _pool,
    _binary,
    _concat,
    _softmax,
    _byte_softmax,
    _prelu,
    _resize,
    _pad,
    _logistic,
)
