"""Limits of single operators on the Edge TPU: each says in one line what it refuses, and helps.

Shapes are taken as four-dimensional, ``[batch, y, x, z]``, filled up with ones in front, as the
Edge TPU's compiler does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdse.graph.model import Graph, Op, Tensor
from tdse.graph.unpack import constant_bytes

UNSUPPORTED_TYPE = "Operation is working on an unsupported data type"
UNSUPPORTED_RANK = "Tensor has unsupported rank"
DYNAMIC = "Operation is working on a dynamic-sized tensor"
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
# Coral: SOFTMAX takes at most so many elements.
MOST_SOFTMAX = 16_000
# Coral says that some sizes of a resize are not mapped "to avoid loss in precision", and not which.
# Known: 1x1 to 33x33 and 33x33 to 513x513x21 are not (test data of Coral's), 256x256 to 512x512x32
# is not, 64x64 to 128x128x32 is (google-coral/edgetpu issue 31), doubling up to 48x48 is. The
# borders are put between: a factor of 8, and 4 Mi elements.
MOST_RESIZE_FACTOR, MOST_RESIZE_ELEMENTS = 8, 1 << 22


@dataclass(frozen=True)
class Refusal:
    """Why an operator is not mapped.

    Attributes:
        status: the compiler's word for it, as in its log.
        detail: what is wrong with this operator.
        remedy: what would help, as a user could do it; empty where nothing is known.
    """

    status: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


Limit = Callable[[Graph, Op], Refusal | None]


def no_activation(graph: Graph, op: Op) -> Refusal | None:
    """The operator has no fused activation function."""
    fused = op.attributes.get("fused_activation_function", "none")
    if fused == "none":
        return None
    return _limitation(f"it has the activation {fused} fused", "make the activation an operator")


def same_dilation(graph: Graph, op: Op) -> Refusal | None:
    """A convolution has the same dilation in x and y."""
    x, y = (op.attributes.get(f"dilation_{axis}_factor", 1) for axis in "wh")
    if x == y:
        return None
    return _limitation(f"its dilation is {x} in x and {y} in y", "use the same dilation in both")


def no_dilation(graph: Graph, op: Op) -> Refusal | None:
    """A convolution has no dilation."""
    factors = [op.attributes.get(f"dilation_{axis}_factor", 1) for axis in "wh"]
    if factors == [1, 1]:
        return None
    return _limitation("it is dilated", "use a platform with runtime = 13 or later")


def constant_parameters(graph: Graph, op: Op) -> Refusal | None:
    """All but the first operand are constants of the model, or state that it keeps."""
    for index in op.inputs[1:]:
        if index < 0 or graph.is_constant(index) or graph.tensors[index].is_variable:
            continue
        name = graph.tensors[index].name
        return _limitation(f"its parameter {name!r} is no constant", "make it a constant")
    return None


def constant_filter(graph: Graph, op: Op) -> Refusal | None:
    """The filter of a transposed convolution, its second operand, is a constant."""
    if graph.is_constant(op.inputs[1]):
        return None
    return _limitation("its filter is no constant", "make it a constant")


def zero_constant(graph: Graph, op: Op) -> Refusal | None:
    """A concatenation with a constant has two operands, and the constant is all zero."""
    constants = [index for index in op.inputs if graph.is_constant(index)]
    if not constants:
        return None
    remedy = "concatenate one zero constant with one tensor, or use PAD"
    if len(op.inputs) != 2:
        return _limitation(f"of its {len(op.inputs)} operands one is a constant", remedy)
    tensor = graph.tensors[constants[0]]
    zero = tensor.quantization.zero_points[0] if tensor.quantization else 0
    if np.all(values(graph, constants[0]) == zero):
        return None
    return _limitation(f"its constant {tensor.name!r} is not all zero", remedy)


def default_format(graph: Graph, op: Op) -> Refusal | None:
    """The weights of a dense layer are in the default format."""
    form = op.attributes.get("weights_format", "default")
    return None if form == "default" else _limitation(f"its weights are in the format {form}", "")


def one_dimensional_output(graph: Graph, op: Op) -> Refusal | None:
    """Only the last dimension of the result may exceed 1."""
    return _one_dimensional(graph.tensors[op.outputs[0]], "result")


def softmax_size(graph: Graph, op: Op) -> Refusal | None:
    """A softmax is over one dimension, of at most 16,000 elements."""
    tensor = graph.tensors[op.inputs[0]]
    size = math.prod(tensor.shape)
    if size > MOST_SOFTMAX:
        return _limitation(f"it is over {size:,} elements, at most {MOST_SOFTMAX:,} are", "")
    return _one_dimensional(tensor, "operand")


def one_dimensional_alpha(graph: Graph, op: Op) -> Refusal | None:
    """The slopes of a PRELU differ along the innermost dimension only."""
    return _one_dimensional(graph.tensors[op.inputs[1]], "alpha")


def reduces_no_batch(graph: Graph, op: Op) -> Refusal | None:
    """A reduction does not reduce the batch."""
    return _batch(graph, op, _axes(graph, op, values(graph, op.inputs[1])), "reduces")


def reduces_plane(graph: Graph, op: Op) -> Refusal | None:
    """A reduction is along x and y only."""
    if 3 in _axes(graph, op, values(graph, op.inputs[1])):
        return _limitation("it reduces the depth", "use a platform with runtime = 13 or later")
    return None


def depth_multiple(graph: Graph, op: Op) -> Refusal | None:
    """A mean over the depth is over a multiple of four channels."""
    depth = _four(graph.tensors[op.inputs[0]])[3]
    if 3 not in _axes(graph, op, values(graph, op.inputs[1])) or depth % 4 == 0:
        return None
    return _limitation(
        f"it is over a depth of {depth}, no multiple of 4", "split this MEAN, or pad its depth"
    )


def pads_no_batch(graph: Graph, op: Op) -> Refusal | None:
    """Nothing is padded in the batch."""
    padded = values(graph, op.inputs[1]).reshape(-1, 2)
    return _batch(graph, op, _axes(graph, op, np.flatnonzero(padded.any(axis=1))), "pads")


def pads_plane(graph: Graph, op: Op) -> Refusal | None:
    """Only x and y are padded."""
    padded = values(graph, op.inputs[1]).reshape(-1, 2)
    if 3 in _axes(graph, op, np.flatnonzero(padded.any(axis=1))):
        return _limitation("it pads the depth", "use a platform with runtime = 13 or later")
    return None


def packs_no_batch(graph: Graph, op: Op) -> Refusal | None:
    """Nothing is packed along the batch."""
    rank = len(graph.tensors[op.outputs[0]].shape)
    axis = int(op.attributes.get("axis", 0))  # type: ignore[arg-type]
    return _batch(graph, op, {4 - rank + axis % rank}, "packs")


def splits_no_batch(graph: Graph, op: Op) -> Refusal | None:
    """Nothing is split along the batch."""
    # Operands: axis, data.
    rank = len(graph.tensors[op.inputs[1]].shape)
    axes = {4 - rank + int(axis) % rank for axis in values(graph, op.inputs[0]).ravel()}
    return _batch(graph, op, axes, "splits")


def unit_strides(graph: Graph, op: Op) -> Refusal | None:
    """All strides are 1, and no mask makes or skips dimensions."""
    if not np.all(values(graph, op.inputs[3]) == 1):
        return _limitation("a stride is not 1", "")
    for mask in ("ellipsis_mask", "new_axis_mask"):
        if op.attributes.get(mask, 0):
            return _limitation(f"it has the mask {mask}", "slice with plain bounds")
    return None


def leading_ones(graph: Graph, op: Op) -> Refusal | None:
    """What is squeezed are the leading dimensions."""
    tensor = graph.tensors[op.inputs[0]]
    kept = graph.tensors[op.outputs[0]].shape
    if tensor.shape[len(tensor.shape) - len(kept) :] == kept:
        return None
    return _limitation(f"it squeezes inner dimensions of {list(tensor.shape)}", "use RESHAPE")


def resize_size(graph: Graph, op: Op) -> Refusal | None:
    """A resize is by a moderate factor, to a moderate size."""
    (_, *before, _), after = _four(graph.tensors[op.inputs[0]]), _four(graph.tensors[op.outputs[0]])
    sizes = f"{before[0]}x{before[1]} to {after[1]}x{after[2]}x{after[3]}"
    if math.prod(after) > MOST_RESIZE_ELEMENTS:
        return _limitation(f"{sizes} is too large a resize", "resize in fewer channels, or less")
    if any(new > MOST_RESIZE_FACTOR * old for old, new in zip(before, after[1:3], strict=True)):
        remedy = "use TILE or ADD to spread a 1x1 tensor" if before == [1, 1] else "resize in steps"
        return _limitation(f"{sizes} loses precision", remedy)
    return None


def recent_resize(graph: Graph, op: Op) -> Refusal | None:
    """A resize of version 3 has pixel centres that compilers before 16 do not know."""
    if op.version <= 2:
        return None
    return Refusal(
        "Operation version not supported",
        f"version {op.version} is newer than the compiler",
        "use a platform with runtime = 14",
    )


def values(graph: Graph, index: int) -> npt.NDArray[np.generic]:
    """The elements of a constant; none where the model does not hold it."""
    tensor = graph.tensors[index]
    if not tensor.is_constant or tensor.dtype not in np.sctypeDict:
        return np.zeros(0, np.int32)
    return np.frombuffer(constant_bytes(graph, index), tensor.dtype)


def _axes(graph: Graph, op: Op, axes: npt.NDArray[np.generic]) -> set[int]:
    """Axes of the first operand as those of a four-dimensional one; negative outside of that."""
    rank = len(graph.tensors[op.inputs[0]].shape)
    return {4 - rank + int(axis) % rank for axis in axes} if rank else set()


def _batch(graph: Graph, op: Op, axes: set[int], does: str) -> Refusal | None:
    if all(axis > 0 for axis in axes):
        return None
    return _limitation(f"it {does} along the batch", "")


def _one_dimensional(tensor: Tensor, role: str) -> Refusal | None:
    if all(size == 1 for size in tensor.shape[:-1]):
        return None
    return _limitation(f"its {role} has the shape {list(tensor.shape)}, not one dimension", "")


def _four(tensor: Tensor) -> tuple[int, ...]:
    return (1, 1, 1, 1, *tensor.shape)[-4:]


def _limitation(detail: str, remedy: str) -> Refusal:
    return Refusal(LIMITATION, detail, remedy)
