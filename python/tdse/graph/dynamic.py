"""Which tensors have a shape that is not known before the model runs.

A converter writes -1 into ``shape_signature`` where it did not know a dimension, and something
that may be meaningless into ``shape``. Most of these come from a batch size that the caller was
meant to choose: LiteRT takes ``shape`` at its word, and so does this. What remains are operators
whose output shape depends on values.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .model import Op


@dataclass(frozen=True)
class RawTensor:
    """What the model file says of a tensor's shape.

    Attributes:
        shape: as stored; empty where it is absent.
        signature: ``shape_signature``; empty where it is absent.
        has_rank: False for an unknown rank, and in every file of an old converter.
    """

    shape: tuple[int, ...]
    signature: tuple[int, ...]
    has_rank: bool

    @property
    def is_open(self) -> bool:
        """The converter did not know some dimension."""
        return any(size < 0 for size in self.signature)


# Kinds whose named outputs have as many elements as the values of their inputs call for.
_BY_VALUE: Mapping[str, tuple[int, ...]] = {"where": (0,), "unique": (0,)}

# Kinds whose output names a resource and has no shape to know.
_HANDLES = frozenset({"hashtable", "var_handle"})

# Kinds with operands whose values determine the output shape (positions of these operands).
_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "arg_max": (1,),
    "arg_min": (1,),
    "batch_to_space_nd": (1, 2),
    "broadcast_args": (0, 1),
    "broadcast_to": (1,),
    "conv3d_transpose": (0,),
    "expand_dims": (1,),
    "fill": (0,),
    "max": (1,),
    "mean": (1,),
    "min": (1,),
    "mirror_pad": (1,),
    "multinomial": (1,),
    "one_hot": (1,),
    "pad": (1,),
    "padv2": (1,),
    "random_standard_normal": (0,),
    "random_uniform": (0,),
    "range": (0, 1, 2),
    "reduce_all": (1,),
    "reduce_any": (1,),
    "reduce_max": (1,),
    "reduce_min": (1,),
    "reduce_prod": (1,),
    "reshape": (1,),
    "resize_bilinear": (1,),
    "resize_nearest_neighbor": (1,),
    "rfft2d": (1,),
    "scatter_nd": (2,),
    "slice": (1, 2),
    "space_to_batch_nd": (1, 2),
    "sparse_to_dense": (1,),
    "split": (0,),
    "split_v": (1, 2),
    "strided_slice": (1, 2, 3),
    "sum": (1,),
    "tile": (1,),
    "topk_v2": (1,),
    "transpose": (1,),
    "transpose_conv2d": (0,),
}


def dynamic_tensors(
    tensors: Sequence[RawTensor], ops: Sequence[Op], constants: Collection[int]
) -> frozenset[int]:
    """Indices of the tensors whose shape is not known before the model runs.

    Args:
        tensors: all tensors of the subgraph.
        ops: its operators in topological order.
        constants: indices of the tensors whose value the model holds.
    """
    dynamic = {
        index for index, tensor in enumerate(tensors) if any(size < 0 for size in tensor.shape)
    }
    known = set(constants)
    # A converter that knows has_rank sets it for all tensors but those of unknown rank.
    tells_rank = any(tensor.has_rank for tensor in tensors)
    for op in ops:
        inputs = [index for index in op.inputs if index >= 0]
        for position, index in enumerate(op.outputs):
            if index < 0:
                continue
            tensor = tensors[index]
            unranked = (
                not tensor.shape
                and not tensor.has_rank
                and (op.is_custom or tells_rank)
                and op.kind not in _HANDLES
            )
            if (
                unranked
                or position in _BY_VALUE.get(op.kind, ())
                or not _fits(op, tensor, tensors)
                or (tensor.is_open and _by_values(op, inputs, tensors, known, dynamic))
            ):
                dynamic.add(index)
        if op.kind in ("shape", "rank"):
            if inputs and inputs[0] not in dynamic:
                known.update(op.outputs)
        elif inputs and all(index in known for index in inputs):
            known.update(op.outputs)
    return frozenset(dynamic)


def _fits(op: Op, output: RawTensor, tensors: Sequence[RawTensor]) -> bool:
    """False for a RESHAPE whose stored shape cannot hold the elements of its input."""
    if op.kind != "reshape" or not op.inputs or op.inputs[0] < 0 or not output.is_open:
        return True
    return math.prod(output.shape) == math.prod(tensors[op.inputs[0]].shape)


def _by_values(
    op: Op,
    inputs: Sequence[int],
    tensors: Sequence[RawTensor],
    known: Collection[int],
    dynamic: Collection[int],
) -> bool:
    """True where an open dimension of an output comes from values, not from the batch size."""
    if any(index in dynamic for index in inputs):
        return True
    positions = _SHAPE_OPERANDS.get(op.kind, ())
    operands = [op.inputs[p] for p in positions if p < len(op.inputs) and op.inputs[p] >= 0]
    if any(index not in known for index in operands):
        return True
    # With every operand that shapes the output known, the opening can only be an input's.
    return not operands and not any(tensors[index].is_open for index in inputs)
