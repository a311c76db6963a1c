"""Copies the bodies of operators into a function under construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, te, tirx

from tdse.graph.model import Graph

# Integers that float32 holds exactly, and so their differences.
_SMALL_INTEGERS = ("int8", "uint8", "int16")


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
    """Copies a body into a function under construction.

    Attributes:
        builder: of the function.
        body: a Relax function, or a module with a function ``main``.
        is_lowering: compute what is constant, and replace (de)quantisations by kernels.
    """

    builder: relax.BlockBuilder
    body: Any
    is_lowering: bool
    values: dict[Any, Any] = field(default_factory=dict)

    def inline(self, arguments: Sequence[Any]) -> list[Any]:
        """Copy the body, called with ``arguments``, and return the values of its results."""
        is_module = isinstance(self.body, tvm.IRModule)
        function = self.body["main"] if is_module else self.body
        if len(function.params) != len(arguments):
            raise UnsupportedError(
                f"its body takes {len(function.params)} tensors and not {len(arguments)}"
            )
        for parameter, argument in zip(function.params, arguments, strict=True):
            if not tvm_ffi.structural_equal(parameter.ty, argument.ty):
                raise UnsupportedError(f"its body takes {parameter.ty} and not {argument.ty}")
            self.values[parameter] = argument
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
        if self.is_lowering:
            folded = _fold(value, arguments)
            if folded is not None:
                return folded
            emitted = _emit_quantization(self.builder, value, arguments)
            if emitted is not None:
                return emitted
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


def _emit_quantization(
    builder: relax.BlockBuilder, call: relax.Call, arguments: Sequence[Any]
) -> Any:
    """The kernel of a (de)quantisation with one scale for the whole tensor; None for other calls.

    TVM writes scale and zero point into the kernel. Here they are an argument, so that operators
    that differ in nothing else share a kernel. Halves are rounded to even, for which processors
    have an instruction, while TVM calls a function of the C library for each element.
    """
    name = getattr(call.op, "name", "")
    if name not in ("relax.quantize", "relax.dequantize"):
        return None
    data, scale, zero = arguments
    if not all(
        isinstance(v, tvm.ir.GenericConst) and v.value.numpy().size == 1 for v in (scale, zero)
    ):
        return None
    dtypes = str(data.ty.dtype), str(call.attrs.out_dtype)
    factor = scale.value.numpy().astype(np.float32).reshape(())
    offset = zero.value.numpy().astype(np.float32).reshape(())
    if name == "relax.quantize" and dtypes[0] == "float32" and dtypes[1] in _SMALL_INTEGERS:
        values, function = (np.float32(1.0) / factor, offset), _quantize(dtypes[1])
    elif name == "relax.dequantize" and dtypes[1] == "float32" and dtypes[0] in _SMALL_INTEGERS:
        values, function = (factor, offset), _dequantize
    else:
        return None
    # Tensors without dimensions: with an index, TVM would not see an elementwise kernel to fuse.
    parameters = [relax.const(np.asarray(v, np.float32), "float32") for v in values]
    return builder.emit_te(
        function, data, *parameters, primfunc_name_hint=name.removeprefix("relax.")
    )


def _quantize(dtype: str) -> Callable[[te.Tensor, te.Tensor, te.Tensor], te.Tensor]:
    limits = np.iinfo(dtype)

    def quantize(x: te.Tensor, factor: te.Tensor, offset: te.Tensor) -> te.Tensor:
        def element(*at: Any) -> Any:
            stored = te.nearbyint(x(*at) * factor()) + offset()
            low, high = (tirx.const(float(v), "float32") for v in (limits.min, limits.max))
            return te.max(te.min(stored, high), low).astype(dtype)

        return te.compute(x.shape, element, name="quantized")

    return quantize


def _dequantize(x: te.Tensor, factor: te.Tensor, offset: te.Tensor) -> te.Tensor:
    return te.compute(
        x.shape,
        lambda *at: (x(*at).astype("float32") - offset()) * factor(),
        name="dequantized",
    )
