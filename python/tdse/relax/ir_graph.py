"""The graph of a lifted Relax module: operators in the field's terms, without a flatbuffer."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

import tvm
from tvm import relax

from tdse.graph.kinds import size_bytes
from tdse.graph.model import AttributeValue, Graph, Op, Tensor

from .calls import callee, follow

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
    types: list[Any] = [parameter.ty for parameter in main.params]
    inputs = tuple(range(len(types)))
    calls: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = []
    variables: dict[int, Any] = {}

    def numbered(call: relax.Call, reads: tuple[int, ...]) -> tuple[int, ...]:
        is_tuple = isinstance(call.ty, relax.TupleType)
        first = len(types)
        types.extend(call.ty.fields if is_tuple else [call.ty])
        made = tuple(range(first, len(types)))
        calls.append((callee(module, call, "main"), reads, made))
        return made

    outputs = follow(main, "main", inputs, numbered, variables)
    tensors = []
    for index, kind in enumerate(types):
        shape, dtype = tuple(int(size) for size in kind.shape.values), str(kind.dtype)
        label = str(variables[index].name) if index in variables else f"t{index}"
        size = size_bytes(dtype, shape)
        tensors.append(Tensor(index, label, shape, dtype, None, False, False, size, False))
    ops = [_op(i, *call, tensors) for i, call in enumerate(calls)]
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


def kind_of_body(function: relax.Function) -> str:
    """The field's term for what a function computes: that of its first call on an input."""
    call = _head(function)
    name = str(getattr(call.op, "name", "")) if call is not None else "identity"
    if name in ("relax.call_tir", "relax.call_dps_packed", "relax.call_pure_packed"):
        called = call.args[0]
        return str(getattr(called, "name_hint", getattr(called, "global_symbol", "call")))
    if name == "relax.nn.conv2d":
        groups, layout = int(call.attrs.groups), str(call.attrs.data_layout)
        channels = int(call.args[0].ty.shape.values[layout.index("C")])
        return "depthwise_conv2d" if groups == channels and groups > 1 else "conv2d"
    if name == "relax.matmul":
        is_matrix = len(call.args[1].ty.shape.values) == 2
        return "fully_connected" if is_matrix else "batch_matmul"
    return _KINDS.get(name, name.rpartition(".")[2] or "call")


def _op(
    index: int,
    function: relax.Function,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    tensors: list[Tensor],
) -> Op:
    kind = kind_of_body(function)
    head = _head(function)
    constants = _constants(function)
    return Op(
        index=index,
        kind=kind,
        tflite_name=str(getattr(head.op, "name", kind)) if head is not None else kind,
        version=1,
        inputs=inputs,
        outputs=outputs,
        attributes=_attributes(function, head, constants),
        macs=_macs(head),
        parameter_bytes=sum(array.nbytes for array in constants),
        input_bytes=sum(tensors[t].size_bytes for t in dict.fromkeys(inputs)),
        output_bytes=sum(tensors[t].size_bytes for t in outputs),
    )


def _head(function: relax.Function) -> Any:
    """The first call that reads a parameter, directly or not; None where there is none."""
    known = set(function.params)
    for block in function.body.blocks:
        for binding in block.bindings:
            read: list[Any] = []
            relax.analysis.post_order_visit(binding.value, read.append)
            if any(isinstance(node, relax.Var) and node in known for node in read):
                if isinstance(binding.value, relax.Call):
                    return binding.value
                known.add(binding.var)
    return None


def _constants(function: relax.Function) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.GenericConst):
            found.append(node.value.numpy())

    relax.analysis.post_order_visit(function, visit)
    return found


def _attributes(
    function: relax.Function, head: Any, constants: list[Any]
) -> dict[str, AttributeValue]:
    """What tells operators apart that cost differently: a digest of the body without weights."""
    text = [_body_text(function)]
    for array in constants:
        text.append(f"{array.dtype}{array.shape}")
        if array.dtype.kind in "iu" and array.size <= _MOST_VALUES:
            text.append(array.tobytes().hex())
    digest = hashlib.sha256("\n".join(text).encode()).hexdigest()
    found: dict[str, AttributeValue] = {"body": digest[:16]}
    attrs = getattr(head, "attrs", None)
    for name, attribute in (
        ("strides", ("stride_h", "stride_w")),
        ("dilation", ("dilation_h_factor", "dilation_w_factor")),
        ("pool_size", ("filter_height", "filter_width")),
    ):
        values = getattr(attrs, name, None)
        if values is not None and len(values) == 2:
            found.update(zip(attribute, (int(value) for value in values), strict=True))
    return found


def _body_text(function: relax.Function) -> str:
    """The function as text, the same wherever it stands in a module."""
    bare = relax.Function(function.params, function.body, function.ret_ty)
    return str(bare.script(show_meta=False))


def _macs(head: Any) -> int:
    """Multiply-accumulates of a convolution or matrix product; 0 of anything else."""
    name = str(getattr(getattr(head, "op", None), "name", ""))
    if name == "relax.matmul":
        depth = int(head.args[0].ty.shape.values[-1])
        return depth * math.prod(int(size) for size in head.ty.shape.values)
    if not name.startswith("relax.nn.conv"):
        return 0
    weight = [int(size) for size in head.args[1].ty.shape.values]
    layout = str(head.attrs.kernel_layout)
    if name.endswith("_transpose"):
        of = math.prod(int(size) for size in head.args[0].ty.shape.values)
        return of * math.prod(weight) // weight[layout.index("I")]
    of = math.prod(int(size) for size in head.ty.shape.values)
    return of * math.prod(weight) // weight[layout.index("O")]
