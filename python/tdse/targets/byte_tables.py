"""Elementwise operators on 8-bit tensors as look-ups in a table of 256 bytes.

So are operators on two tensors of which one is a single constant, and operators that together make
each byte of one tensor of a byte of another, as ``x * sigmoid(x)`` does::

    s = logistic(x); y = mul(x, s)    ->    y = table[x]

The table holds what LiteRT itself makes of each of the 256 values, so the result is exact, also for
operators that TVM cannot import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tdse.graph.border import op_border
from tdse.graph.model import Graph, Tensor
from tdse.graph.slice import slice_model
from tdse.runtime.litert import invoke, make_interpreter

ENTRIES = 256

# Kinds that treat each element alone and alike.
_ELEMENTWISE = frozenset(
    {
        "abs",
        "ceil",
        "cos",
        "elu",
        "exp",
        "floor",
        "gelu",
        "hard_swish",
        "leaky_relu",
        "log",
        "logistic",
        "neg",
        "quantize",
        "relu",
        "relu6",
        "relu_0_to_1",
        "relu_n1_to_1",
        "round",
        "rsqrt",
        "sign",
        "sin",
        "sqrt",
        "square",
        "tanh",
    }
)

# Kinds that join each element with the same number, where one operand is just that.
_WITH_A_NUMBER = frozenset({"add", "div", "maximum", "minimum", "mul", "squared_difference", "sub"})


@dataclass(frozen=True)
class ByteTable:
    """What stands for operators that make each byte of one tensor of a byte of another.

    Attributes:
        given: the tensor that is looked up.
        result: the tensor that is made.
        values: 256 entries of the result's type; entry ``b`` is the result for the byte with the
            bit pattern ``b``, so that negative int8 values come last.
    """

    given: int
    result: int
    values: npt.NDArray[Any]


def table_groups(graph: Graph, ops: Sequence[int]) -> list[tuple[int, ...]]:
    """Operators in groups that one table each can stand for; every other operator alone.

    Args:
        graph: the model.
        ops: operator indices, ascending.

    Returns:
        Groups, each ascending, in an order in which they can be computed.
    """
    left = set(ops)
    groups = []
    for op in reversed(ops):
        if op in left:
            group = _group_of(graph, op, left)
            left.difference_update(group)
            groups.append(group)
    return groups[::-1]


def _group_of(graph: Graph, last: int, among: set[int]) -> tuple[int, ...]:
    """The most operators that end in ``last`` and make its result of a single tensor."""
    found: tuple[int, ...] = (last,)
    group = found
    if not _is_bytewise(graph, last):
        return found
    while True:
        more = next(
            (
                producer
                for tensor in op_border(graph, group)[0]
                if (producer := graph.producer.get(tensor, -1)) in among
                and _is_bytewise(graph, producer)
                and len(op_border(graph, tuple(sorted((*group, producer))))[1]) == 1
            ),
            None,
        )
        if more is None:
            return found
        group = tuple(sorted((*group, more)))
        if len(op_border(graph, group)[0]) == 1:
            found = group


def table_of(graph: Graph, ops: tuple[int, ...]) -> ByteTable | None:
    """The table that stands for operators, or None if none can, or LiteRT does not run them.

    Args:
        graph: the model.
        ops: operator indices, ascending: one, or a group of ``table_groups``.
    """
    if not graph.data or not all(_is_bytewise(graph, op) for op in ops):
        return None
    inputs, outputs = op_border(graph, ops)
    if len(inputs) != 1 or len(outputs) != 1:
        return None
    (source,), (made,) = inputs, outputs
    given, result = graph.tensors[source], graph.tensors[made]
    size = math.prod(given.shape)
    values = np.empty(ENTRIES, result.dtype)
    try:
        interpreter = make_interpreter(slice_model(graph, ops).data)
        for start in range(0, ENTRIES, size):
            # Every position takes part, so that a kernel's vector code and its rest are both seen.
            place = (start + np.arange(size)) % ENTRIES
            row = place.astype(np.uint8).view(given.dtype).reshape(given.shape)
            (output,) = invoke(interpreter, [row])
            values[place] = output.reshape(-1)
    except (RuntimeError, ValueError):
        # Then there is nothing to be equal to.
        return None
    return ByteTable(source, made, values)


def _is_bytewise(graph: Graph, op_index: int) -> bool:
    """Whether an operator makes each byte of bytes at the same place, and of numbers."""
    op = graph.ops[op_index]
    if op.is_custom or len(op.outputs) != 1:
        return False
    if op.kind not in (_ELEMENTWISE if len(op.inputs) == 1 else _WITH_A_NUMBER):
        return False
    result = graph.tensors[op.outputs[0]]
    given = [t for t in op.inputs if t < 0 or not _is_number(graph.tensors[t])]
    return bool(given) and all(
        t >= 0 and not graph.is_constant(t) and _maps_bytes(graph.tensors[t], result) for t in given
    )


def _is_number(tensor: Tensor) -> bool:
    return tensor.is_constant and math.prod(tensor.shape) == 1


def _maps_bytes(given: Tensor, result: Tensor) -> bool:
    return (
        given.is_8_bit
        and result.is_8_bit
        and given.shape == result.shape
        and math.prod(given.shape) > 0
        and not (given.is_constant or given.is_dynamic or result.is_dynamic)
    )
