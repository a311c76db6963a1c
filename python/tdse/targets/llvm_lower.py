"""Relax functions of operators as sequences of TIR kernels.

The bodies of a run of operators are joined into one function, so that TVM fuses across them; what
remains after lowering must be calls of TIR kernels, which the executor makes itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tdse.errors import TargetError
from tdse.graph.model import Graph

from .llvm_import import IMPORT_ERRORS, op_border, reason_of
from .llvm_isa import Isa
from .llvm_schedule import schedule_kernel
from .quiet import quiet_stderr

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Local:
    """A tensor between two kernels; equal only to itself."""

    dtype: str
    shape: tuple[int, ...]
    number: int


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose value is known."""

    value: Array


# A kernel's argument: a tensor index of the graph, or something that only the region has.
Argument = int | Local | Constant


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel; it writes its last arguments."""

    function: tvm.tirx.PrimFunc
    arguments: tuple[Argument, ...]


def lower_bodies(
    graph: Graph, ops: Sequence[int], bodies: Mapping[int, Any], isa: Isa
) -> list[KernelCall]:
    """Kernels that compute ``ops`` from the bodies of these operators.

    Args:
        graph: the model.
        ops: operator indices in topological order.
        bodies: a Relax function, or a module with a function ``main``, for each of ``ops``: it
            takes the inputs of the operator's slice and returns its outputs.
        isa: what to lower for.

    Raises:
        TargetError: something in them cannot become a kernel; ``why`` says what.
    """
    with quiet_stderr():
        try:
            joined, outputs = _join(graph, ops, bodies)
            module = _lowered(joined, isa)
            return _calls(module, op_border(graph, tuple(ops))[0], outputs)
        except _UnsupportedError as error:
            reason = str(error)
    labels = ", ".join(graph.ops[op].label for op in ops[:3])
    raise TargetError(f"TVM cannot lower {labels}", where=graph.name, why=reason)


class _UnsupportedError(Exception):
    """A part of a function that has no counterpart in a sequence of kernels."""


def _lowered(module: tvm.IRModule, isa: Isa) -> tvm.IRModule:
    try:
        with isa.target:
            return _PASSES(module)
    except IMPORT_ERRORS as error:
        raise _UnsupportedError(reason_of(error)) from None


_PASSES = tvm.transform.Sequential(
    [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
)


def _join(
    graph: Graph, ops: Sequence[int], bodies: Mapping[int, Any]
) -> tuple[tvm.IRModule, tuple[int, ...]]:
    """One function of several operators, and the tensors that it returns, as a tuple.

    Before, bodies of operators 4 and 5 with a tensor t7 between them::

        def main(a): b = relu(a); return b
        def main(c): d = tanh(c); return d

    After::

        def main(t6): b = relu(t6); d = tanh(b); return (d,)
    """
    inputs, outputs = op_border(graph, tuple(ops))
    values: dict[int, Any] = {t: _variable(graph, t) for t in inputs}
    builder = relax.BlockBuilder()
    with builder.function("main", list(values.values())):
        with builder.dataflow():
            for op in ops:
                given, made = op_border(graph, (op,))
                inliner = _Inliner(builder, bodies[op])
                results = inliner.inline([values[t] for t in given])
                if len(results) != len(made):
                    raise _UnsupportedError(
                        f"its body returns {len(results)} tensors and not {len(made)}"
                    )
                values.update(zip(made, results, strict=True))
            returned = builder.emit_output(relax.Tuple([values[t] for t in outputs]))
        builder.emit_func_output(returned)
    return builder.get(), outputs


def _variable(graph: Graph, index: int) -> relax.Var:
    tensor = graph.tensors[index]
    return relax.Var(f"t{index}", relax.TensorType(tensor.shape, tensor.dtype))


@dataclass
class _Inliner:
    """Copies a body into a function under construction, computing what is constant on the way."""

    builder: relax.BlockBuilder
    body: Any
    values: dict[Any, Any] = field(default_factory=dict)

    def inline(self, arguments: Sequence[Any]) -> list[Any]:
        """Copy the body, called with ``arguments``, and return the values of its results."""
        is_module = isinstance(self.body, tvm.IRModule)
        function = self.body["main"] if is_module else self.body
        if len(function.params) != len(arguments):
            raise _UnsupportedError(
                f"its body takes {len(function.params)} tensors and not {len(arguments)}"
            )
        self.values.update(zip(function.params, arguments, strict=True))
        for block in function.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise _UnsupportedError(f"its body has a {type(binding).__name__}")
                self.values[binding.var] = self._copy(binding.value)
        return self._flat(self._value(function.body.body))

    def _copy(self, value: Any) -> Any:
        if isinstance(value, relax.If | relax.Function):
            raise _UnsupportedError("its body has control flow")
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
                raise _UnsupportedError(f"its body calls {operation.name_hint}")
            function = self.body[operation]
            if not isinstance(function, tvm.tirx.PrimFunc):
                raise _UnsupportedError(f"its body calls the function {operation.name_hint}")
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


def _calls(
    module: tvm.IRModule, inputs: Sequence[int], outputs: Sequence[int]
) -> list[KernelCall]:
    """The kernel calls of a lowered ``main``, its results written to ``outputs``."""
    main = module["main"]
    values: dict[Any, Any] = dict(zip(main.params, inputs, strict=True))
    calls: list[KernelCall] = []
    kernels: dict[str, tvm.tirx.PrimFunc] = {}
    locals_made = 0

    def value_of(expression: Any) -> Any:
        if isinstance(expression, tvm.ir.GenericConst):
            return Constant(expression.value.numpy())
        if isinstance(expression, relax.Tuple):
            return [value_of(item) for item in expression.fields]
        if isinstance(expression, relax.TupleGetItem):
            return value_of(expression.tuple_value)[expression.index]
        if isinstance(expression, relax.Var):
            return values[expression]
        raise _UnsupportedError(f"it needs {_name_of(expression)}")

    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if not _is_call_tir(value):
                values[binding.var] = value_of(value)
                continue
            if len(value.args) > 2:
                raise _UnsupportedError("a kernel has shapes that are not known")
            name = value.args[0].name_hint
            if name not in kernels:
                kernels[name] = schedule_kernel(module[value.args[0]])
            types = value.ty_args[0]
            is_tuple = isinstance(types, relax.TupleType)
            made = []
            for kind in types.fields if is_tuple else [types]:
                made.append(_local(kind, locals_made))
                locals_made += 1
            arguments = [value_of(argument) for argument in value.args[1].fields]
            calls.append(KernelCall(kernels[name], (*arguments, *made)))
            values[binding.var] = made if is_tuple else made[0]
    return _with_outputs(calls, value_of(main.body.body), outputs)


def _with_outputs(
    calls: Sequence[KernelCall], results: Sequence[Argument], outputs: Sequence[int]
) -> list[KernelCall]:
    """The calls, writing results to the tensors ``outputs`` of the graph.

    A result that no kernel makes, or that is returned twice, is copied.
    """
    renamed: dict[Argument, int] = {}
    copies = []
    for result, output in zip(results, outputs, strict=True):
        if isinstance(result, Local) and result not in renamed:
            renamed[result] = output
        else:
            copies.append((result, output))
    done = [
        KernelCall(call.function, tuple(renamed.get(a, a) for a in call.arguments))
        for call in calls
    ]
    for result, _ in copies:
        raise _UnsupportedError(f"a result is {type(result).__name__.lower()} and not computed")
    return done


def _is_call_tir(value: Any) -> bool:
    return isinstance(value, relax.Call) and value.op == tvm.ir.Op.get("relax.call_tir")


def _name_of(expression: Any) -> str:
    if isinstance(expression, relax.Call):
        return str(getattr(expression.op, "name", expression.op))
    return type(expression).__name__


def _local(kind: Any, number: int) -> Local:
    shape = kind.shape
    if not isinstance(shape, relax.ShapeExpr):
        raise _UnsupportedError("a tensor has a shape that is not known")
    sizes = []
    for size in shape.values:
        if not isinstance(size, tvm.tirx.IntImm):
            raise _UnsupportedError("a tensor has a shape that is not known")
        sizes.append(int(size))
    return Local(str(kind.dtype), tuple(sizes), number)
