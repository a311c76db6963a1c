"""Whether the parts of an unpacked model refer to each other in a way that makes a graph."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from .kinds import size_bytes
from .model import Op, Quantization, Tensor
from .unpack import UnreadableError, indices, is_outside, text

_DAMAGED = "the file is damaged or cut off, copy it again"


def check_buffers(model: Any, size: int) -> None:
    """Check that what is stored behind the flatbuffer lies within the file's ``size`` bytes.

    Raises:
        UnreadableError: one does not, a tensor's value is in another file, or a buffer that is
            named does not exist.
    """
    buffers = len(model.buffers or [])
    for index, buffer in enumerate(model.buffers or []):
        if is_outside(buffer) and buffer.offset + buffer.size > size:
            raise UnreadableError(f"buffer {index} goes beyond the file's {size} bytes", _DAMAGED)
    for metadata in model.metadata or []:
        if metadata.buffer >= buffers:
            raise UnreadableError(
                f"metadata {text(metadata.name)!r} is in buffer {metadata.buffer}, but there are "
                f"{buffers}",
                _DAMAGED,
            )
    for subgraph in model.subgraphs:
        for index, operator in enumerate(subgraph.operators or []):
            if operator.largeCustomOptionsOffset + operator.largeCustomOptionsSize > size:
                raise UnreadableError(
                    f"the options of operator {index} go beyond the file's {size} bytes", _DAMAGED
                )
        for index, tensor in enumerate(subgraph.tensors or []):
            if tensor.externalBuffer:
                raise UnreadableError(
                    f"the value of tensor {index} is in another file",
                    "convert the model with its weights inside",
                )


def check_calls(calls: Sequence[Collection[int]]) -> None:
    """Check that subgraphs call others that exist, and never themselves.

    Args:
        calls: for each subgraph, the numbers of those that its operators run.

    Raises:
        UnreadableError: a subgraph does not exist, or runs itself, perhaps through others.
    """
    for number, called in enumerate(calls):
        for other in called:
            if not 0 <= other < len(calls):
                raise UnreadableError(
                    f"subgraph {number} runs subgraph {other}, but there are {len(calls)}"
                )
    try:
        tuple(TopologicalSorter(dict(enumerate(calls))).static_order())
    except CycleError as error:
        number = error.args[1][0]
        raise UnreadableError(f"subgraph {number} runs itself without an end") from None


def check_indices(model: Any, number: int) -> None:
    """Check that every index in subgraph ``number`` points at something.

    Raises:
        UnreadableError: an index is out of range.
    """
    subgraph = model.subgraphs[number]
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
        if signature.subgraphIndex == number:
            entries = (signature.inputs or []) + (signature.outputs or [])
            _check_range([entry.tensorIndex for entry in entries], 0, count, "a signature")


def check_quantization(
    index: int, quantization: Quantization, shape: Sequence[int], dtype: str
) -> None:
    """Check the scales and zero points of a tensor whose elements they are applied to.

    Types of more than 16 bits are no activations or weights, and floating-point tensors are not
    quantised, whatever a converter leaves there.

    Raises:
        UnreadableError: one has no meaning, or there is not one for each index of the axis.
    """
    bounds = _STORED_RANGES.get(dtype)
    if bounds is None:
        return
    check_scales(index, quantization)
    low, high = bounds
    for zero_point in quantization.zero_points:
        if not low <= zero_point <= high:
            raise UnreadableError(f"tensor {index} of {dtype} has the zero point {zero_point}")
    count = len(quantization.scales)
    if count > 1 and (not shape or shape[quantization.axis] != count):
        raise UnreadableError(
            f"tensor {index} has {count} scales along dimension {quantization.axis} of its shape "
            f"{list(shape)}"
        )


def check_scales(index: int, quantization: Quantization) -> None:
    """Check that a tensor's scales are numbers above zero.

    Raises:
        UnreadableError: one is not.
    """
    for scale in quantization.scales:
        if not (math.isfinite(scale) and scale > 0.0):
            raise UnreadableError(f"tensor {index} has the scale {scale}")


def check_sparsity(
    index: int, sparsity: Any, shape: Sequence[int], stored_bytes: int, dtype: str
) -> None:
    """Check that a sparse tensor's stored elements have a place in it, each its own.

    Dimensions are walked in ``traversalOrder``: first those of the tensor, a blocked one counted
    in blocks, then the blocks' own. Each is dense, or has the segments and indices of a
    compressed sparse row.

    Args:
        index: of the tensor, for messages.
        sparsity: the schema's ``SparsityParametersT``.
        shape: of the tensor.
        stored_bytes: bytes of its buffer.
        dtype: of its elements.

    Raises:
        UnreadableError: an index lies outside, or there are fewer elements than are called for.
    """

    def demand(holds: bool, why: str) -> None:
        if not holds:
            raise UnreadableError(f"the sparse tensor {index} has {why}")

    order, blocked = indices(sparsity.traversalOrder), indices(sparsity.blockMap)
    levels = sparsity.dimMetadata or []
    demand(sorted(order) == list(range(len(shape) + len(blocked))), "no order of its dimensions")
    demand(len(set(blocked)) == len(blocked), "a dimension that is blocked twice")
    demand(all(0 <= axis < len(shape) for axis in blocked), "a block in no dimension")
    demand(len(levels) == len(order), f"{len(levels)} descriptions of {len(order)} dimensions")
    block = {
        axis: int(level.denseSize)
        for axis, level in zip(order, levels, strict=True)
        if axis >= len(shape)
    }
    demand(all(size >= 1 for size in block.values()), "a block without elements")
    sizes = {axis: int(size) for axis, size in enumerate(shape)} | block
    for position, axis in enumerate(blocked):
        size = block[len(shape) + position]
        demand(shape[axis] % size == 0, f"blocks of {size} along {shape[axis]} elements")
        sizes[axis] = int(shape[axis]) // size
    count = 1
    for axis, level in zip(order, levels, strict=True):
        if not level.format:
            demand(level.denseSize == sizes[axis], f"{level.denseSize} of {sizes[axis]} elements")
            count *= sizes[axis]
            continue
        segments, places = _level(level.arraySegments), _level(level.arrayIndices)
        demand(len(segments) == count + 1, f"{len(segments)} segment borders for {count} segments")
        falls = bool((np.diff(segments) < 0).any())
        whole = segments[0] == 0 and segments[-1] == len(places)
        demand(not falls and whole, "segments that do not hold its indices")
        inside = not len(places) or (places.min() >= 0 and places.max() < sizes[axis])
        demand(bool(inside), f"an index outside of {sizes[axis]} elements")
        count = len(places)
    needed = size_bytes(dtype, [count])
    demand(stored_bytes >= needed, f"{stored_bytes} bytes for {count} elements of {dtype}")


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
    given = set(inputs)
    for op in ops:
        for tensor in op.outputs:
            if tensor < 0:
                continue
            if tensor in producer:
                raise UnreadableError(
                    f"{_named(tensors[tensor])} is produced by operator {producer[tensor].label} "
                    f"and by operator {op.label}"
                )
            if tensor in given or tensors[tensor].is_constant:
                raise UnreadableError(
                    f"operator {op.label} writes to {_named(tensors[tensor])}, "
                    "an input or constant of the model"
                )
            producer[tensor] = op
    available = given | stored | {tensor.index for tensor in tensors if tensor.is_variable}
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


# Smallest and largest stored value of the types that are quantised.
_STORED_RANGES = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (2, 4, 8, 16)
    for sign in ("", "u")
}


def _level(vector: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A vector of a sparse dimension; its type is a union of three."""
    values = getattr(vector, "values", None)
    return np.asarray([] if values is None else values, np.int64)


def _check_range(values: Sequence[int], least: int, count: int, where: str) -> None:
    for value in values:
        if not least <= value < count:
            raise UnreadableError(f"{where} refers to tensor {value}, but there are {count}")


def _named(tensor: Tensor) -> str:
    return f"tensor {tensor.index} ({tensor.name!r})" if tensor.name else f"tensor {tensor.index}"
