"""What the Edge TPU runs: a table of operators, by version of the runtime, each with its source.

A runtime belongs to a compiler: 10 to the first, 12 to 2.1, 13 to 14.1 and 15, 14 to 16.
"""

from __future__ import annotations

from dataclasses import dataclass

from tdse.edgetpu import limits
from tdse.edgetpu.limits import Limit, Refusal
from tdse.edgetpu.package import CUSTOM_OP
from tdse.graph.model import Graph, Op

RUNTIMES = (10, 12, 13, 14)
NOT_SUPPORTED = "Operation not supported"

_CORAL = "Coral, TensorFlow models on the Edge TPU, table of supported operations"
_OBSERVED = "a compiled model among Coral's test data"

_DTYPES = ("int8", "uint8")
# Of these operators' operands, those from the second on may be of other types: biases are int32,
# shapes and axes int32, state int16.
_DATA: dict[str, tuple[int, ...]] = {
    "split": (1,),
    "transpose_conv2d": (1, 2),
    "conv2d": (0, 1),
    "depthwise_conv2d": (0, 1),
    "fully_connected": (0, 1),
    "prelu": (0, 1),
}
_ALL_OPERANDS = frozenset(
    {"add", "sub", "mul", "maximum", "minimum", "squared_difference", "concatenation", "pack"}
)


@dataclass(frozen=True)
class Row:
    """An operator that the Edge TPU runs.

    Attributes:
        since: first version of the runtime that does.
        limits: what must hold.
        source: where that is said.
        until: last version of the runtime for which this row stands; None for the newest.
    """

    since: int = 10
    limits: tuple[Limit, ...] = ()
    source: str = _CORAL
    until: int | None = None


_WEIGHTS = (limits.constant_parameters,)
TABLE: dict[str, tuple[Row, ...]] = {
    "add": (Row(),),
    "average_pool2d": (Row(limits=(limits.no_activation,)),),
    "concatenation": (Row(limits=(limits.no_activation, limits.zero_constant)),),
    "conv2d": (Row(limits=(*_WEIGHTS, limits.same_dilation)),),
    "depthwise_conv2d": (
        Row(until=12, limits=(*_WEIGHTS, limits.no_dilation)),
        Row(since=13, limits=(*_WEIGHTS, limits.same_dilation)),
    ),
    "expand_dims": (Row(since=13),),
    "fully_connected": (
        Row(limits=(*_WEIGHTS, limits.default_format, limits.one_dimensional_output)),
    ),
    "l2_normalization": (Row(),),
    "logistic": (Row(),),
    # Only the unidirectional one has a name of its own in TFLite besides LSTM.
    "lstm": (Row(since=14, limits=_WEIGHTS),),
    "unidirectional_sequence_lstm": (Row(since=14, limits=_WEIGHTS),),
    "maximum": (Row(),),
    "max_pool2d": (Row(limits=(limits.no_activation,)),),
    "mean": (
        Row(until=12, limits=(limits.reduces_no_batch, limits.reduces_plane)),
        Row(since=13, limits=(limits.reduces_no_batch, limits.depth_multiple)),
    ),
    "minimum": (Row(),),
    "mul": (Row(),),
    "pack": (Row(since=13, limits=(limits.packs_no_batch,)),),
    "pad": (
        Row(until=12, limits=(limits.pads_no_batch, limits.pads_plane)),
        Row(since=13, limits=(limits.pads_no_batch,)),
    ),
    "prelu": (Row(since=13, limits=(*_WEIGHTS, limits.one_dimensional_alpha)),),
    "quantize": (Row(since=13),),
    "reduce_max": (Row(since=14, limits=(limits.reduces_no_batch,)),),
    "reduce_min": (Row(since=14, limits=(limits.reduces_no_batch,)),),
    "relu": (Row(),),
    "relu6": (Row(),),
    "relu_n1_to_1": (Row(),),
    "reshape": (Row(),),
    "resize_bilinear": (
        Row(until=13, limits=(limits.recent_resize, limits.resize_size)),
        Row(since=14, limits=(limits.resize_size,)),
    ),
    "resize_nearest_neighbor": (
        Row(until=13, limits=(limits.recent_resize, limits.resize_size)),
        Row(since=14, limits=(limits.resize_size,)),
    ),
    "rsqrt": (Row(since=14),),
    "slice": (Row(),),
    "softmax": (Row(limits=(limits.softmax_size,)),),
    "space_to_depth": (Row(),),
    "split": (Row(limits=(limits.splits_no_batch,)),),
    "squared_difference": (Row(since=14),),
    "squeeze": (Row(until=12, limits=(limits.leading_ones,)), Row(since=13)),
    "strided_slice": (Row(limits=(limits.unit_strides,)),),
    "sub": (Row(),),
    "sum": (Row(since=13, limits=(limits.reduces_no_batch,)),),
    "tanh": (Row(),),
    "tile": (Row(since=14, source=_OBSERVED),),
    "transpose": (Row(since=14),),
    "transpose_conv2d": (Row(since=13, limits=(limits.constant_filter,)),),
}


def refusal(graph: Graph, index: int, runtime: int = RUNTIMES[-1]) -> Refusal | None:
    """Why the Edge TPU cannot run an operator, alone; None if it can.

    What an operator's neighbours have to do with it is in ``mapping``.

    Args:
        graph: the model.
        index: of the operator.
        runtime: version of the runtime, one of ``RUNTIMES``.
    """
    op = graph.ops[index]
    if op.tflite_name == CUSTOM_OP:
        return None
    # The compiler looks at types first: a float operator is told as that, whatever it is.
    wrong = _wrong_type(graph, op)
    if wrong is not None:
        return wrong
    row = _row(op, runtime)
    if row is None:
        rows = () if op.is_custom else TABLE.get(op.kind, ())
        if rows:
            later = f"only from runtime {rows[0].since} on, the platform has {runtime}"
            return Refusal(NOT_SUPPORTED, later, f"update the runtime to {rows[0].since}")
        name = f"the custom operator {op.tflite_name}" if op.is_custom else op.tflite_name
        return Refusal(NOT_SUPPORTED, f"{name} is not among Coral's supported operations")
    return _wrong_shape(graph, op) or next(
        (found for limit in row.limits if (found := limit(graph, op)) is not None), None
    )


def works_on_floats(graph: Graph, index: int) -> bool:
    """Whether an operator has an operand or result that is no 8-bit integer."""
    op = graph.ops[index]
    return op.tflite_name != CUSTOM_OP and _wrong_type(graph, op) is not None


def _row(op: Op, runtime: int) -> Row | None:
    if op.is_custom:
        return None
    rows = TABLE.get(op.kind, ())
    return next(
        (row for row in rows if row.since <= runtime and runtime <= (row.until or runtime)), None
    )


def _wrong_type(graph: Graph, op: Op) -> Refusal | None:
    data = range(len(op.inputs)) if op.kind in _ALL_OPERANDS else _DATA.get(op.kind, (0,))
    operands = {op.inputs[i] for i in data if i < len(op.inputs)}
    computed = {t for t in op.inputs if t >= 0 and not graph.is_constant(t)}
    for index in sorted((operands | computed | set(op.outputs)) - {-1}):
        tensor = graph.tensors[index]
        if tensor.dtype not in _DTYPES and not tensor.is_variable:
            remedy = "quantise the model to int8 throughout" if "float" in tensor.dtype else ""
            return Refusal(
                limits.UNSUPPORTED_TYPE, f"tensor {tensor.name!r} is {tensor.dtype}", remedy
            )
    return None


def _wrong_shape(graph: Graph, op: Op) -> Refusal | None:
    for index in (*op.inputs, *op.outputs):
        if index < 0 or graph.is_constant(index):
            continue
        tensor = graph.tensors[index]
        if tensor.is_dynamic:
            return Refusal(limits.DYNAMIC, f"tensor {tensor.name!r}", "fix all shapes")
        if any(size > 1 for size in tensor.shape[:-3]):
            return Refusal(
                limits.UNSUPPORTED_RANK,
                f"tensor {tensor.name!r} has the shape {list(tensor.shape)}, of which only the "
                "three innermost dimensions may exceed 1",
                "use a batch of 1 and at most three dimensions",
            )
    return None
