"""Whether the attributes and constant operands of an operator make sense for its tensors.

A runtime's kernels divide by strides and channels, and index by axes and operands, not always
after a look at them. What is only known when the model runs is left to the kernel, and so is what
a kernel needs beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from .checks import check_scales
from .kinds import size_bytes
from .model import Op, Tensor
from .unpack import UnreadableError

# A larger tensor is damage: no machine this is meant for has a tebibyte.
MAX_TENSOR_BYTES = 1 << 40

# The value of a constant integer tensor; None where the file does not hold it.
Values = Callable[[int], npt.NDArray[Any] | None]


def check_operator(op: Op, tensors: Sequence[Tensor], values: Values) -> None:
    """Check strides, channels, axes, indices and sizes of an operator, as far as they are known.

    Args:
        op: the operator.
        tensors: all tensors of its subgraph.
        values: gives the value of a constant integer tensor.

    Raises:
        UnreadableError: a kernel could not compute the operator.
    """
    checked = _Operator(op, tensors, values)
    needed = _OPERANDS.get(op.kind)
    if needed is not None:
        checked.demand(checked.inputs >= needed, f"it has {checked.inputs} of {needed} operands")
        checked.demand(-1 not in op.inputs[:needed], "an operand that it needs is not given")
        checked.demand(checked.outputs >= 1 and op.outputs[0] >= 0, "it has no output")
    for name in _POSITIVE.get(op.kind, ()):
        checked.demand(checked.number(name) >= 1, f"its {name} is {checked.number(name)}, under 1")
    if op.kind in _BIASED:
        for index in op.inputs[2:3]:
            quantization = tensors[index].quantization if index >= 0 else None
            if quantization is not None:
                check_scales(index, quantization)
    check = _CHECKS.get(op.kind)
    if check is not None:
        check(checked)


class _Operator:
    """An operator's attributes and operands, as far as they are known."""

    def __init__(self, op: Op, tensors: Sequence[Tensor], values: Values) -> None:
        self._op = op
        self._tensors = tensors
        self._values = values
        self.inputs, self.outputs = len(op.inputs), len(op.outputs)

    def demand(self, holds: bool, why: str) -> None:
        """Refuse the operator unless ``holds``."""
        if not holds:
            raise UnreadableError(f"operator {self._op.label}: {why}")

    def number(self, name: str, default: int = 0) -> int:
        """An integer attribute; 0 is what a runtime takes where there are no options."""
        value = self._op.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def numbers(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        value = self._op.attributes.get(name, ())
        return tuple(int(v) for v in value) if isinstance(value, tuple) else ()

    def shape(self, position: int) -> tuple[int, ...] | None:
        """The shape of an input; None where the file does not say it."""
        tensor = self._input(position)
        # Old converters leave the shape of what is not constant empty.
        unknown = tensor is None or tensor.is_dynamic or not (tensor.shape or tensor.is_constant)
        return None if tensor is None or unknown else tensor.shape

    def values(self, position: int) -> tuple[int, ...] | None:
        """The elements of a constant integer input, flattened; None where they are not known."""
        array = self.array(position)
        return None if array is None else tuple(array.ravel().tolist())

    def array(self, position: int) -> npt.NDArray[Any] | None:
        """A constant integer input; None where it is not known."""
        tensor = self._input(position)
        return self._values(tensor.index) if tensor is not None else None

    def demand_axis(self, axis: int, rank: int, what: str = "axis") -> None:
        """Refuse an axis that is not in [-rank, rank)."""
        self.demand(-rank <= axis < rank, f"its {what} {axis} is not one of {rank} dimensions")

    def demand_size(self, sizes: Sequence[int], what: str = "output") -> None:
        """Refuse a result whose sizes are negative, or too large to be meant."""
        self.demand(min(sizes, default=0) >= 0, f"its {what} would have the shape {list(sizes)}")
        dtype = self._tensors[self._op.outputs[0]].dtype if self._op.outputs else "int8"
        self.demand(
            size_bytes(dtype, sizes) <= MAX_TENSOR_BYTES,
            f"its {what} would have the impossible shape {list(sizes)}",
        )

    def _input(self, position: int) -> Tensor | None:
        index = self._op.inputs[position] if position < self.inputs else -1
        return self._tensors[index] if index >= 0 else None


def _filter(op: _Operator, data: int, weights: int, rank: int) -> tuple[int, int] | None:
    """Channels of the input and the filter's last dimension, if both are known."""
    shape, image = op.shape(weights), op.shape(data)
    if shape is not None:
        op.demand(len(shape) == rank, f"its filter has {len(shape)} dimensions and not {rank}")
        op.demand(min(shape) >= 1, f"its filter has the shape {list(shape)}")
    if image is None:
        return None
    op.demand(len(image) == rank, f"its input has {len(image)} dimensions and not {rank}")
    op.demand(image[-1] >= 1, "its input has no channels")
    return (image[-1], shape[-1]) if shape is not None else None


def _conv2d(op: _Operator) -> None:
    # Filter [out, height, width, in of one group].
    channels = _filter(op, 0, 1, 4)
    if channels is not None:
        given, wanted = channels
        why = f"its input has {given} channels, not a multiple of the filter's {wanted}"
        op.demand(given % wanted == 0, why)
        groups, results = given // wanted, (op.shape(1) or (0,))[0]
        op.demand(results % groups == 0, f"{results} filters are not for {groups} groups")


def _depthwise_conv2d(op: _Operator) -> None:
    # Filter [1, height, width, out].
    channels = _filter(op, 0, 1, 4)
    if channels is not None:
        given, results = channels
        op.demand(results % given == 0, f"{results} filters are not for {given} channels")


def _transpose_conv2d(op: _Operator) -> None:
    _filter(op, 2, 1, 4)
    sizes = op.values(0)
    if sizes is not None:
        op.demand_size(sizes)


def _conv3d(op: _Operator) -> None:
    # Filter [depth, height, width, in, out].
    _filter(op, 0, 1, 5)


def _conv3d_transpose(op: _Operator) -> None:
    _filter(op, 2, 1, 5)
    sizes = op.values(0)
    if sizes is not None:
        op.demand_size(sizes)


def _fully_connected(op: _Operator) -> None:
    shape = op.shape(1)
    if shape is not None:
        op.demand(len(shape) == 2, f"its filter has {len(shape)} dimensions and not 2")
        op.demand(min(shape) >= 1, f"its filter has the shape {list(shape)}")


def _svdf(op: _Operator) -> None:
    shape, rank = op.shape(1), op.number("rank")
    if shape:
        op.demand(shape[0] % rank == 0, f"{shape[0]} filters are not for rank {rank}")


def _concatenation(op: _Operator) -> None:
    shape = op.shape(0)
    if shape is not None:
        op.demand_axis(op.number("axis"), len(shape))


def _pack(op: _Operator) -> None:
    shape, count = op.shape(0), op.number("values_count")
    op.demand(count == op.inputs, f"it has {op.inputs} inputs and not {count}")
    if shape is not None:
        op.demand_axis(op.number("axis"), len(shape) + 1)


def _unpack(op: _Operator) -> None:
    shape, count, axis = op.shape(0), op.number("num"), op.number("axis")
    op.demand(count == op.outputs, f"it has {op.outputs} outputs and not {count}")
    if shape is not None:
        op.demand_axis(axis, len(shape))
        op.demand(shape[axis] == count, f"dimension {axis} of its input is not {count}")


def _split(op: _Operator) -> None:
    shape, axis, count = op.shape(1), op.values(0), op.number("num_splits")
    op.demand(count == op.outputs, f"it has {op.outputs} outputs and not {count}")
    if shape is not None and axis:
        op.demand_axis(axis[0], len(shape))
        size = shape[axis[0]]
        op.demand(size % count == 0, f"dimension {axis[0]} of {size} is not for {count} outputs")


def _split_v(op: _Operator) -> None:
    shape, sizes, axis = op.shape(0), op.values(1), op.values(2)
    count = op.number("num_splits")
    op.demand(count == op.outputs, f"it has {op.outputs} outputs and not {count}")
    if sizes is not None:
        op.demand(len(sizes) == count, f"it has {len(sizes)} sizes for {count} outputs")
        op.demand(min(sizes) >= -1, f"its sizes are {list(sizes)}")
    if shape is not None and axis:
        op.demand_axis(axis[0], len(shape))


def _gather(op: _Operator) -> None:
    shape, indices, axis = op.shape(0), op.array(1), op.number("axis")
    if shape is None:
        return
    op.demand_axis(axis, len(shape))
    op.demand_axis(op.number("batch_dims"), len(shape) + 1, "number of batch dimensions")
    if indices is not None:
        _demand_indices(op, indices, shape[axis])


def _gather_nd(op: _Operator) -> None:
    shape, indices = op.shape(0), op.array(1)
    if shape is None or indices is None or not indices.ndim:
        return
    depth = indices.shape[-1]
    op.demand(depth <= len(shape), f"it has indices of {depth} for {len(shape)} dimensions")
    for dimension in range(depth):
        _demand_indices(op, indices[..., dimension], shape[dimension])


def _embedding_lookup(op: _Operator) -> None:
    indices, shape = op.array(0), op.shape(1)
    if shape and indices is not None:
        _demand_indices(op, indices, shape[0])


def _demand_indices(op: _Operator, indices: npt.NDArray[Any], size: int) -> None:
    if indices.size:
        wrong = next((int(i) for i in (indices.min(), indices.max()) if not 0 <= i < size), None)
        op.demand(wrong is None, f"its index {wrong} is not one of {size}")


def _axes_operand(op: _Operator) -> None:
    shape, axes = op.shape(0), op.values(1)
    if shape is not None and axes is not None:
        for axis in axes:
            # A reduction of a scalar may name its one element.
            op.demand_axis(axis, max(len(shape), 1))


def _expand_dims(op: _Operator) -> None:
    shape, axes = op.shape(0), op.values(1)
    if shape is not None and axes:
        op.demand_axis(axes[0], len(shape) + 1)


def _squeeze(op: _Operator) -> None:
    shape = op.shape(0)
    if shape is not None:
        for axis in op.numbers("squeeze_dims"):
            op.demand_axis(axis, len(shape))
            op.demand(shape[axis] == 1, f"it removes dimension {axis} of size {shape[axis]}")


def _transpose(op: _Operator) -> None:
    shape, order = op.shape(0), op.values(1)
    if shape is not None and order is not None:
        for axis in order:
            op.demand_axis(axis, len(shape))
        whole = sorted(axis % len(shape) for axis in order) == list(range(len(shape)))
        op.demand(whole, f"its order {list(order)} is not one of {len(shape)} dimensions")


def _one_hot(op: _Operator) -> None:
    shape, depth, axis = op.shape(0), op.values(1), op.number("axis")
    if shape is not None:
        op.demand(-1 <= axis <= len(shape), f"its axis {axis} is beyond {len(shape)} dimensions")
    if depth:
        op.demand_size((*(shape or ()), depth[0]))


def _reverse_sequence(op: _Operator) -> None:
    shape = op.shape(0)
    if shape is not None:
        for name in ("seq_dim", "batch_dim"):
            axis = op.number(name)
            op.demand(0 <= axis < len(shape), f"its {name} is {axis} of {len(shape)} dimensions")


def _paddings(op: _Operator, position: int) -> npt.NDArray[Any] | None:
    """Paddings or crops, shape [dimensions, 2]."""
    pads = op.array(position)
    if pads is None:
        return None
    op.demand(pads.ndim == 2 and pads.shape[1] == 2, f"its paddings have {list(pads.shape)}")
    op.demand(not pads.size or int(pads.min()) >= 0, f"its paddings are {pads.tolist()}")
    return pads


def _pad(op: _Operator) -> None:
    shape, pads = op.shape(0), _paddings(op, 1)
    if shape is not None and pads is not None:
        op.demand(len(pads) == len(shape), f"it pads {len(pads)} of {len(shape)} dimensions")
        op.demand_size([n + sum(p) for n, p in zip(shape, pads.tolist(), strict=True)])


def _mirror_pad(op: _Operator) -> None:
    _pad(op)
    shape, pads = op.shape(0), op.array(1)
    if shape is not None and pads is not None:
        for size, amount in zip(shape, pads.max(axis=1, initial=0).tolist(), strict=True):
            op.demand(amount <= size, f"it mirrors {amount} of {size} elements")


def _blocks(op: _Operator) -> None:
    sizes = op.values(1)
    if sizes is not None:
        op.demand(min(sizes, default=1) >= 1, f"its block has the shape {list(sizes)}")
    _paddings(op, 2)


def _slice(op: _Operator) -> None:
    shape, begins, sizes = op.shape(0), op.values(1), op.values(2)
    for given in (begins, sizes):
        if shape is not None and given is not None:
            op.demand(len(given) == len(shape), f"it cuts {len(given)} of {len(shape)} dimensions")
    if shape is None or begins is None or sizes is None:
        return
    for size, begin, count in zip(shape, begins, sizes, strict=True):
        inside = 0 <= begin <= size and count >= -1 and begin + count <= size
        op.demand(inside, f"it takes {count} elements from {begin} of a dimension of {size}")


def _strided_slice(op: _Operator) -> None:
    strides = op.values(3)
    if strides is not None:
        op.demand(0 not in strides, f"its strides are {list(strides)}")
    counts = {len(given) for given in map(op.values, (1, 2, 3)) if given is not None}
    op.demand(len(counts) < 2, "its begins, ends and strides are not of one length")


def _resize(op: _Operator) -> None:
    shape, sizes = op.shape(0), op.values(1)
    if sizes is not None:
        op.demand(len(sizes) == 2 and min(sizes) >= 1, f"its size is {list(sizes)}")
        if shape is not None:
            op.demand(len(shape) == 4, f"its input has {len(shape)} dimensions and not 4")
            op.demand(min(shape[1:3]) >= 1, f"its input has the shape {list(shape)}")
            op.demand_size((shape[0], *sizes, shape[3]))


def _topk(op: _Operator) -> None:
    shape, count = op.shape(0), op.values(1)
    if shape and count:
        op.demand(0 <= count[0] <= shape[-1], f"it takes {count[0]} of {shape[-1]} elements")


def _reshape(op: _Operator) -> None:
    sizes = op.values(1) or op.numbers("new_shape")
    op.demand(min(sizes, default=0) >= -1, f"its new shape is {list(sizes)}")
    op.demand(sizes.count(-1) < 2, f"its new shape {list(sizes)} leaves two sizes open")
    op.demand_size([abs(size) for size in sizes])


def _sizes_operand(position: int) -> Callable[[_Operator], None]:
    def check(op: _Operator) -> None:
        sizes = op.values(position)
        if sizes is not None:
            op.demand_size(sizes)

    return check


def _tile(op: _Operator) -> None:
    shape, times = op.shape(0), op.values(1)
    if shape is not None and times is not None:
        op.demand(len(times) == len(shape), f"it repeats {len(times)} of {len(shape)} dimensions")
        op.demand_size([n * t for n, t in zip(shape, times, strict=True)])


_STRIDES = ("stride_w", "stride_h")
_DILATIONS = ("dilation_w_factor", "dilation_h_factor")
_POOL = (*_STRIDES, "filter_width", "filter_height")
_DEEP = (*_STRIDES, "stride_d", *_DILATIONS, "dilation_d_factor")

# Attributes that a kernel divides by, or counts elements with.
_POSITIVE: Mapping[str, tuple[str, ...]] = {
    "average_pool2d": _POOL,
    "conv2d": (*_STRIDES, *_DILATIONS),
    "conv3d": _DEEP,
    "conv3d_transpose": _DEEP,
    "depth_to_space": ("block_size",),
    "depthwise_conv2d": (*_STRIDES, *_DILATIONS),
    "l2_pool2d": _POOL,
    "max_pool2d": _POOL,
    "space_to_depth": ("block_size",),
    "split": ("num_splits",),
    "split_v": ("num_splits",),
    "svdf": ("rank",),
    "transpose_conv2d": _STRIDES,
}

# Operands that an operator cannot do without, and that its kernel takes for granted.
_ONE_OPERAND = """
    abs average_pool2d cast cos depth_to_space dequantize elu exp floor gelu hard_swish
    l2_normalization l2_pool2d leaky_relu local_response_normalization log log_softmax logical_not
    logistic max_pool2d neg quantize rank relu relu6 relu_0_to_1 relu_n1_to_1 reshape round rsqrt
    shape sin softmax space_to_depth sqrt square squeeze tanh unpack where zeros_like
"""
_TWO_OPERANDS = """
    add arg_max arg_min batch_matmul conv2d conv3d depthwise_conv2d div equal expand_dims fill
    floor_div floor_mod fully_connected gather gather_nd greater greater_equal less less_equal
    logical_and logical_or maximum mean minimum mirror_pad mul not_equal pad pow prelu reduce_all
    reduce_any reduce_max reduce_min reduce_prod resize_bilinear resize_nearest_neighbor reverse_v2
    split squared_difference sub sum tile topk_v2 transpose
"""
_THREE_OPERANDS = """
    batch_to_space_nd conv3d_transpose padv2 range select select_v2 slice space_to_batch_nd split_v
    svdf transpose_conv2d
"""
_FOUR_OPERANDS = "one_hot strided_slice"
_OPERANDS: Mapping[str, int] = {
    kind: count
    for count, kinds in enumerate((_ONE_OPERAND, _TWO_OPERANDS, _THREE_OPERANDS, _FOUR_OPERANDS), 1)
    for kind in kinds.split()
}

# The third operand of these is a bias, whose scale is that of the products.
_BIASED = frozenset({"conv2d", "depthwise_conv2d", "fully_connected"})

_CHECKS: Mapping[str, Callable[[_Operator], None]] = {
    "arg_max": _axes_operand,
    "arg_min": _axes_operand,
    "batch_to_space_nd": _blocks,
    "broadcast_to": _sizes_operand(1),
    "concatenation": _concatenation,
    "conv2d": _conv2d,
    "conv3d": _conv3d,
    "conv3d_transpose": _conv3d_transpose,
    "cumsum": _axes_operand,
    "depthwise_conv2d": _depthwise_conv2d,
    "embedding_lookup": _embedding_lookup,
    "expand_dims": _expand_dims,
    "fill": _sizes_operand(0),
    "fully_connected": _fully_connected,
    "gather": _gather,
    "gather_nd": _gather_nd,
    "mean": _axes_operand,
    "mirror_pad": _mirror_pad,
    "one_hot": _one_hot,
    "pack": _pack,
    "pad": _pad,
    "padv2": _pad,
    "reduce_all": _axes_operand,
    "reduce_any": _axes_operand,
    "reduce_max": _axes_operand,
    "reduce_min": _axes_operand,
    "reduce_prod": _axes_operand,
    "reshape": _reshape,
    "resize_bilinear": _resize,
    "resize_nearest_neighbor": _resize,
    "reverse_sequence": _reverse_sequence,
    "reverse_v2": _axes_operand,
    "slice": _slice,
    "space_to_batch_nd": _blocks,
    "split": _split,
    "split_v": _split_v,
    "squeeze": _squeeze,
    "strided_slice": _strided_slice,
    "sum": _axes_operand,
    "svdf": _svdf,
    "tile": _tile,
    "topk_v2": _topk,
    "transpose": _transpose,
    "transpose_conv2d": _transpose_conv2d,
    "unpack": _unpack,
}
