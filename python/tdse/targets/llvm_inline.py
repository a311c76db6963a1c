"""Copies the bodies of operators into a function under construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, te, tirx

from tdse.graph.model import Graph


class UnsupportedError(Exception):
    """A part of a function that has no counterpart in a sequence of kernels."""


def variable(graph: Graph, index: int) -> relax.Var:
    """A Relax variable for a tensor of the graph."""
    return relax.Var(f"t{index}", tensor_type(graph, index))


def tensor_type(graph: Graph, index: int) -> relax.TensorType:
    """The Relax type of a tensor of the graph."""
    tensor = graph.tensors[index]
    return relax.TensorType(tensor.shape, tensor.dtype)


def check_types(graph: Graph, results: Sequence[Any], tensors: Sequence[int]) -> None:
    """Demand that a body gives tensors as the graph has them.

    Raises:
        UnsupportedError: a number, type or shape differs.
    """
    if len(results) != len(tensors):
        raise UnsupportedError(f"its body returns {len(results)} tensors and not {len(tensors)}")
    for result, index in zip(results, tensors, strict=True):
        if not has_type(result, graph, index):
            wanted = graph.tensors[index]
            raise UnsupportedError(
                f"its body returns {result.ty} and not {wanted.dtype} {list(wanted.shape)}"
            )


def has_type(value: Any, graph: Graph, index: int) -> bool:
    """Whether a Relax value has the element type and shape of a tensor of the graph."""
    return bool(tvm_ffi.structural_equal(value.ty, tensor_type(graph, index)))


@dataclass
class Inliner:
    """Copies a body into a function under construction, computing what is constant on the way."""

    builder: relax.BlockBuilder
    body: Any
    values: dict[Any, Any] = field(default_factory=dict)

    def inline(self, arguments: Sequence[Any]) -> list[Any]:
        """Copy the body, called with ``arguments``, and return the values of its results."""
        is_module = isinstance(self.body, tvm.IRModule)
        function = self.body["main"] if is_module else self.body
        if len(function.params) != len(arguments):
            raise UnsupportedError(
                f"its body takes {len(function.params)} tensors and not {len(arguments)}"
            )
        self.values.update(zip(function.params, arguments, strict=True))
        for block in function.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise UnsupportedError(f"its body has a {type(binding).__name__}")
                self.values[binding.var] = self._copy(binding.value)
        return self._flat(self._value(function.body.body))

    def _copy(self, value: Any) -> Any:
        if isinstance(value, relax.If | relax.Function):
            raise UnsupportedError("its body has control flow")
        if isinstance(value, relax.TupleGetItem):
            of = self._value(value.tuple_value)
            if isinstance(of, relax.Tuple):
                return of.fields[value.index]
            return self.builder.emit(relax.TupleGetItem(of, value.index))
        if not isinstance(value, relax.Call):
            return self._value(value)
        arguments = [self._value(argument) for argument in value.args]
        folded = _fold(value, arguments)
        if folded is not None:
            return folded
        if _is_plain_quantize(value, arguments):
            return _emit_quantize(self.builder, arguments, str(value.attrs.out_dtype))
        return self.builder.emit(
            relax.Call(self._operation(value.op), arguments, value.attrs, value.ty_args)
        )

    def _value(self, value: Any) -> Any:
        if isinstance(value, relax.Var):
            return self.values[value]
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._value(item) for item in value.fields])
        if isinstance(value, tvm.ir.GlobalVar):
            return self._operation(value)
        return value

    def _operation(self, operation: Any) -> Any:
        if not isinstance(operation, tvm.ir.GlobalVar):
            return operation
        if operation not in self.values:
            if not isinstance(self.body, tvm.IRModule):
                raise UnsupportedError(f"its body calls {operation.name_hint}")
            function = self.body[operation]
            if not isinstance(function, tirx.PrimFunc):
                raise UnsupportedError(f"its body calls the function {operation.name_hint}")
            self.values[operation] = self.builder.add_func(function, operation.name_hint)
        return self.values[operation]

    def _flat(self, value: Any) -> list[Any]:
        if isinstance(value, relax.Tuple):
            return list(value.fields)
        if isinstance(value.ty, relax.TupleType):
            count = len(value.ty.fields)
            return [self.builder.emit(relax.TupleGetItem(value, i)) for i in range(count)]
        return [value]


def _fold(call: relax.Call, arguments: Sequence[Any]) -> tvm.ir.GenericConst | None:
    """The value of a call on constants, for what the importer does to weights.

    TVM's own constant folding compiles a kernel for each, which takes many times as long.
    """
    name = getattr(call.op, "name", "")
    if name not in ("relax.dequantize", "relax.reshape", "relax.permute_dims", "relax.astype"):
        return None
    tensors = [a for a in arguments if not isinstance(a, relax.ShapeExpr)]
    if not all(isinstance(a, tvm.ir.GenericConst) for a in tensors):
        return None
    arrays = [a.value.numpy() for a in tensors]
    data = arrays[0]
    if name == "relax.dequantize":
        if str(call.attrs.out_dtype) != "float32" or data.dtype.kind not in "iu":
            return None
        rank, axis = data.ndim, int(call.attrs.axis)
        scale, zero = (
            a.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if a.size > 1 else a
            for a in arrays[1:]
        )
        wide = np.int64 if data.dtype == np.int32 else np.int32
        result = (data.astype(wide) - zero).astype(np.float32) * scale.astype(np.float32)
    elif name == "relax.reshape":
        result = data.reshape([int(v) for v in arguments[1].values])
    elif name == "relax.permute_dims":
        axes = call.attrs.axes
        result = data.transpose(None if axes is None else [int(v) for v in axes])
    else:
        result = data.astype(str(call.attrs.dtype))
    return relax.const(np.ascontiguousarray(result), str(result.dtype))


def _is_plain_quantize(call: relax.Call, arguments: Sequence[Any]) -> bool:
    """A quantisation from float32 to at most 16 bits with one scale for the whole tensor."""
    if getattr(call.op, "name", "") != "relax.quantize":
        return False
    data, scale, zero = arguments
    return (
        str(call.attrs.out_dtype) in ("int8", "uint8", "int16")
        and str(data.ty.dtype) == "float32"
        and all(
            isinstance(v, tvm.ir.GenericConst) and v.value.numpy().size == 1 for v in (scale, zero)
        )
    )


def _emit_quantize(builder: relax.BlockBuilder, arguments: Sequence[Any], dtype: str) -> Any:
    """Quantise by a multiplication, and round halves to even.

    Processors have an instruction for that, while TVM's own lowering calls a function of the C
    library for each element. Results differ by one step where a value lies between two.
    """
    data, scale, zero = arguments
    factor = np.float32(1.0) / scale.value.numpy().astype(np.float32).reshape(())
    offset = float(zero.value.numpy().reshape(()))
    limits = np.iinfo(dtype)

    def quantize(x: te.Tensor) -> te.Tensor:
        def element(*at: Any) -> Any:
            stored = te.nearbyint(x(*at) * tirx.const(float(factor), "float32"))
            stored = stored + tirx.const(offset, "float32")
            low, high = (tirx.const(float(v), "float32") for v in (limits.min, limits.max))
            return te.max(te.min(stored, high), low).astype(dtype)

        return te.compute(x.shape, element, name="quantized")

    return builder.emit_te(quantize, data, primfunc_name_hint="quantize")
