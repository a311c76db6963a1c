"""Whether the parts of an unpacked model refer to each other in a way that makes a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .model import Op, Tensor
from .unpack import UnreadableError, indices, is_outside


def check_buffers(model: Any, size: int) -> None:
    """Check that what is stored behind the flatbuffer lies within the file's ``size`` bytes.

    Raises:
        UnreadableError: one does not, or a tensor's value is in another file.
    """
    for index, buffer in enumerate(model.buffers or []):
        if is_outside(buffer) and buffer.offset + buffer.size > size:
            raise UnreadableError(
                f"buffer {index} goes beyond the file's {size} bytes",
                "the file is damaged or cut off, copy it again",
            )
    for index, operator in enumerate(model.subgraphs[0].operators or []):
        if operator.largeCustomOptionsOffset + operator.largeCustomOptionsSize > size:
            raise UnreadableError(
                f"the options of operator {index} go beyond the file's {size} bytes",
                "the file is damaged or cut off, copy it again",
            )
    for index, tensor in enumerate(model.subgraphs[0].tensors or []):
        if tensor.externalBuffer:
            raise UnreadableError(
                f"the value of tensor {index} is in another file",
                "convert the model with its weights inside",
            )


def check_indices(model: Any) -> None:
    """Check that every index in subgraph 0 points at something.

    Raises:
        UnreadableError: an index is out of range.
    """
    subgraph = model.subgraphs[0]
    count, buffers = len(subgraph.tensors or []), len(model.buffers or [])
    for index, tensor in enumerate(subgraph.tensors or []):
        if tensor.buffer >= buffers:
            raise UnreadableError(
                f"tensor {index} is in buffer {tensor.buffer}, but there are {buffers}"
            )
    for index, operator in enumerate(subgraph.operators or []):
        codes = len(model.operatorCodes or [])
        if operator.opcodeIndex >= codes:
            raise UnreadableError(
                f"operator {index} has code {operator.opcodeIndex}, but there are {codes}"
            )
        for vector in (operator.inputs, operator.outputs, operator.intermediates):
            _check_range(indices(vector), -1, count, f"operator {index}")
    _check_range(indices(subgraph.inputs), 0, count, "the model's input list")
    _check_range(indices(subgraph.outputs), 0, count, "the model's output list")
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            entries = (signature.inputs or []) + (signature.outputs or [])
            _check_range([entry.tensorIndex for entry in entries], 0, count, "a signature")


def check_order(
    ops: Sequence[Op],
    tensors: Sequence[Tensor],
    inputs: Sequence[int],
    outputs: Sequence[int],
    stored: frozenset[int],
) -> None:
    """Check that each tensor has one source, and operators come after what they read.

    Args:
        ops: operators in the order of the file.
        tensors: all tensors of the subgraph.
        inputs: the model's inputs.
        outputs: the model's outputs.
        stored: indices of the constant tensors whose elements are all in the file.

    Raises:
        UnreadableError: a tensor is read before, or without, being produced.
    """
    producer: dict[int, Op] = {}
    for op in ops:
        for tensor in op.outputs:
            if tensor < 0:
                continue
            if tensor in producer:
                raise UnreadableError(
                    f"{_named(tensors[tensor])} is produced by operator {producer[tensor].label} "
                    f"and by operator {op.label}"
                )
            if tensor in inputs or tensors[tensor].is_constant:
                raise UnreadableError(
                    f"operator {op.label} writes to {_named(tensors[tensor])}, "
                    "an input or constant of the model"
                )
            producer[tensor] = op
    available = set(inputs) | stored | {tensor.index for tensor in tensors if tensor.is_variable}
    for op in ops:
        for position, tensor in enumerate(op.inputs):
            if tensor < 0 or tensor in available:
                continue
            if tensor in producer:
                raise UnreadableError(
                    f"operator {op.label} reads {_named(tensors[tensor])} before operator "
                    f"{producer[tensor].label} produces it"
                )
            # LiteRT takes a RESHAPE's shape from its attributes if its second operand is empty.
            if not (op.kind == "reshape" and position == 1):
                raise UnreadableError(
                    f"operator {op.label} reads {_named(tensors[tensor])}, which has no value"
                )
        available.update(op.outputs)
    for tensor in outputs:
        if tensor not in available:
            raise UnreadableError(f"output {_named(tensors[tensor])} is produced by no operator")


def _check_range(values: Sequence[int], least: int, count: int, where: str) -> None:
    for value in values:
        if not least <= value < count:
            raise UnreadableError(f"{where} refers to tensor {value}, but there are {count}")


def _named(tensor: Tensor) -> str:
    return f"tensor {tensor.index} ({tensor.name!r})" if tensor.name else f"tensor {tensor.index}"
