"""The graph of a lifted Relax module: operators in the field's terms, without a flatbuffer."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from tdse.graph.kinds import size_bytes
from tdse.graph.model import AttributeValue, Graph, Op, Tensor

from .bodies import KIND, OP

_KINDS = {
    "relax.astype": "cast",
    "relax.concat": "concatenation",
    "relax.image.resize2d": "resize2d",
    "relax.matmul": "batch_matmul",
    "relax.multiply": "mul",
    "relax.subtract": "sub",
    "relax.divide": "div",
    "relax.nn.avg_pool2d": "average_pool2d",
    "relax.nn.adaptive_avg_pool2d": "mean",
    "relax.nn.conv2d_transpose": "transpose_conv2d",
    "relax.nn.leakyrelu": "leaky_relu",
    "relax.nn.log_softmax": "log_softmax",
    "relax.permute_dims": "transpose",
    "relax.sigmoid": "logistic",
    "relax.strided_slice": "strided_slice",
    "relax.max": "reduce_max",
    "relax.min": "reduce_min",
}
# Constants of at most so many elements say what to do, and are part of what an operator is.
_MOST_VALUES = 64
_CALLS = ("relax.call_tir", "relax.call_dps_packed", "relax.call_pure_packed")


# Before and after a search the same graph is asked for.
@lru_cache(maxsize=2)
def graph_of_ir(ir: bytes, name: str) -> Graph:
    """The graph of a module as ``lift`` makes it.

    Args:
        ir: the module in TVM's JSON.
        name: of the model.
    """
    module = tvm.ir.load_json(ir.decode())
    main = module["main"]
    tensors: list[Tensor] = []
    # Tensors that a variable stands for: one, or the fields of a tuple.
    index: dict[Any, tuple[int, ...]] = {}
    ops: list[Op] = []

    def add(variable: relax.Var) -> tuple[int, ...]:
        shape, dtype = _shape(variable), str(variable.ty.dtype)
        size = size_bytes(dtype, shape)
        tensor = Tensor(
            len(tensors), str(variable.name), shape, dtype, None, False, False, size, False
        )
        tensors.append(tensor)
        return (tensor.index,)

    for parameter in main.params:
        index[parameter] = add(parameter)
    calls: list[tuple[Any, Any]] = []
    for binding in main.body.blocks[0].bindings:
        variable, value = binding.var, binding.value
        if isinstance(value, relax.TupleGetItem):
            index[value.tuple_value] += add(variable)
            index[variable] = (len(tensors) - 1,)
        else:
            is_tuple = isinstance(variable.ty, relax.TupleType)
            index[variable] = () if is_tuple else add(variable)
            calls.append((variable, value))
    for variable, call in calls:
        inputs = tuple(t for argument in call.args for t in index[argument])
        ops.append(_op(module[call.op], inputs, index[variable], tensors))
    result = main.body.body
    returned = result.fields if isinstance(result, relax.Tuple) else [result]
    inputs, outputs = (tuple(index[v][0] for v in each) for each in (main.params, returned))
    return Graph(
        name=name,
        data=b"",
        sha256=hashlib.sha256(ir).hexdigest(),
        tensors=tuple(tensors),
        ops=tuple(ops),
        inputs=inputs,
        outputs=outputs,
        input_names=tuple(tensors[t].name for t in inputs),
        output_names=tuple(tensors[t].name for t in outputs),
        ir=ir,
    )


def kind_of(function: relax.Function) -> str:
    """The field's term for what the function of an operator computes: that of its first call."""
    call = _head(function)
    name = _name(call.op)
    if name in _CALLS:
        return _name(call.args[0])
    if name == "relax.nn.conv2d":
        groups, channels = int(call.attrs.groups), _size(call.args[0], call.attrs.data_layout, "C")
        return "depthwise_conv2d" if groups == channels and groups > 1 else "conv2d"
    if name == "relax.matmul":
        return "fully_connected" if len(_shape(call.args[1])) == 2 else "batch_matmul"
    return _KINDS.get(name, name.rpartition(".")[2])


def _op(
    function: relax.Function,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    tensors: list[Tensor],
) -> Op:
    head = _head(function)
    constants: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.GenericConst):
            constants.append(node.value.numpy())

    relax.analysis.post_order_visit(function, visit)
    return Op(
        index=int(function.attrs[OP]),
        kind=str(function.attrs[KIND]),
        tflite_name=_name(head.op),
        version=1,
        inputs=inputs,
        outputs=outputs,
        attributes=_attributes(function, head, constants),
        macs=_macs(head),
        parameter_bytes=sum(array.nbytes for array in constants),
        input_bytes=sum(tensors[t].size_bytes for t in dict.fromkeys(inputs)),
        output_bytes=sum(tensors[t].size_bytes for t in outputs),
    )


def _head(function: relax.Function) -> relax.Call:
    """The first call that depends on a parameter."""
    constant = relax.analysis.computable_at_compile_time(function)
    bindings = (binding for block in function.body.blocks for binding in block.bindings)
    return next(binding.value for binding in bindings if binding.var not in constant)


def _attributes(
    function: relax.Function, head: relax.Call, constants: list[Any]
) -> dict[str, AttributeValue]:
    """What tells operators apart that cost differently: a digest of the body without weights."""
    bare = relax.Function(function.params, function.body, function.ret_ty)
    body = tvm_ffi.structural_hash(bare, map_free_vars=True, skip_tensor_content=True)
    small = [c.tobytes() for c in constants if c.dtype.kind in "iu" and c.size <= _MOST_VALUES]
    digest = hashlib.sha256(b"".join([str(body).encode(), *small])).hexdigest()
    found: dict[str, AttributeValue] = {"body": digest[:16]}
    for name, terms in (
        ("strides", ("stride_h", "stride_w")),
        ("dilation", ("dilation_h_factor", "dilation_w_factor")),
        ("pool_size", ("filter_height", "filter_width")),
    ):
        values = getattr(head.attrs, name, None)
        if values is not None and len(values) == 2:
            found.update(zip(terms, map(int, values), strict=True))
    return found


def _macs(head: relax.Call) -> int:
    """Multiply-accumulates of a convolution or matrix product; 0 of anything else."""
    name = _name(head.op)
    if name == "relax.matmul":
        return math.prod(_shape(head)) * _shape(head.args[0])[-1]
    if not name.startswith("relax.nn.conv"):
        return 0
    # Each weight is used once for each place of the output, or of the input if that is transposed.
    of, axis = (head.args[0], "I") if name.endswith("_transpose") else (head, "O")
    weight = head.args[1]
    each = math.prod(_shape(weight)) // _size(weight, head.attrs.kernel_layout, axis)
    return math.prod(_shape(of)) * each


def _name(called: Any) -> str:
    """What an operator, a kernel or a function of another library is called."""
    names = (getattr(called, of, None) for of in ("name", "name_hint", "global_symbol"))
    return str(next(filter(None, names), "call"))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in value.ty.shape.values)


def _size(value: Any, layout: Any, axis: str) -> int:
    return _shape(value)[str(layout).index(axis)]
