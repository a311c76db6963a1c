"""Relax functions of operators as sequences of TIR kernels.

The bodies of a run of operators are joined into one function, so that TVM fuses across them; what
remains after lowering must be calls of TIR kernels, which the executor makes itself.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import tvm
from tvm import relax, te, tirx

from tdse.errors import TargetError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.quiet import quiet_stderr

from .llvm_inline import Inliner, UnsupportedError, check_types, variable
from .tvm_errors import IMPORT_ERRORS, reason_of

Array = npt.NDArray[Any]
# Of a kernel, and how many iterations threads may divide; 0: none.
Schedule = Callable[[tirx.PrimFunc], tuple[tirx.PrimFunc, int]]


@dataclass(frozen=True, eq=False)
class Local:
    """A tensor between two kernels."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor whose value is known."""

    value: Array


# A kernel's argument: a tensor index of the graph, or something that only the region has.
Argument = int | Local | Constant


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel; it writes its last arguments.

    Attributes:
        function: the kernel.
        arguments: tensors.
        iterations: of the kernel's outermost loop, where threads may divide it: the kernel takes
            the first iteration of a call, and the one after its last, as two more arguments. Else
            0.
    """

    function: tirx.PrimFunc
    arguments: tuple[Argument, ...]
    iterations: int = 0


def lower_bodies(
    graph: Graph,
    ops: Sequence[int],
    bodies: Mapping[int, Any],
    target: tvm.target.Target,
    schedule: Schedule,
) -> list[KernelCall]:
    """Kernels that compute ``ops`` from the bodies of these operators.

    Args:
        graph: the model.
        ops: operator indices in topological order.
        bodies: a Relax function, or a module with a function ``main``, for each of ``ops``: it
            takes the inputs of the operator's slice and returns its outputs.
        target: what to lower for.
        schedule: gives a kernel the loops that suit it, and says how many iterations of the
            outermost one threads may divide.

    Raises:
        TargetError: something in them cannot become a kernel; ``why`` says what.
    """
    with quiet_stderr():
        try:
            joined, outputs = _join(graph, ops, bodies)
            module = _lowered(joined, target)
            return _calls(module, op_border(graph, tuple(ops))[0], outputs, schedule)
        except UnsupportedError as error:
            reason = str(error)
        # What is left of the attempt logs a warning when it is destroyed.
        gc.collect()
    labels = ", ".join(graph.ops[op].label for op in ops[:3])
    raise TargetError(f"TVM cannot lower {labels}", where=graph.name, why=reason)


def _lowered(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    try:
        with target:
            return _PASSES(module)
    except IMPORT_ERRORS as error:
        raise UnsupportedError(reason_of(error)) from None


def _relu(builder: relax.BlockBuilder, call: relax.Call) -> Any:
    return builder.call_te(_clipped, call.args[0], 0, None)


def _clip(builder: relax.BlockBuilder, call: relax.Call) -> Any:
    low, high = (limit.value for limit in call.args[1:])
    return builder.call_te(_clipped, call.args[0], low, high)


def _clipped(x: te.Tensor, low: float, high: float | None) -> te.Tensor:
    """``x`` moved to a limit where it is beyond; a NaN stays, which TVM's own kernels lose."""

    def element(*at: Any) -> Any:
        value = x(*at)
        if high is not None:
            value = tirx.Select(value > tirx.const(high, x.dtype), tirx.const(high, x.dtype), value)
        return tirx.Select(value < tirx.const(low, x.dtype), tirx.const(low, x.dtype), value)

    return te.compute(x.shape, element, name="clipped")


_PASSES = tvm.transform.Sequential(
    [
        relax.transform.LegalizeOps({"relax.nn.relu": _relu, "relax.clip": _clip}),
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
    values: dict[int, Any] = {t: variable(graph, t) for t in inputs}
    builder = relax.BlockBuilder()
    with builder.function("main", list(values.values())):
        with builder.dataflow():
            for op in ops:
                given, made = op_border(graph, (op,))
                inliner = Inliner(builder, bodies[op], is_lowering=True)
                results = inliner.inline([values[t] for t in given])
                check_types(graph, results, made)
                values.update(zip(made, results, strict=True))
            returned = builder.emit_output(relax.Tuple([values[t] for t in outputs]))
        builder.emit_func_output(returned)
    return builder.get(), outputs


def _calls(
    module: tvm.IRModule, inputs: Sequence[int], outputs: Sequence[int], schedule: Schedule
) -> list[KernelCall]:
    """The kernel calls of a lowered ``main``, its results written to ``outputs``."""
    main = module["main"]
    values: dict[Any, Any] = dict(zip(main.params, inputs, strict=True))
    calls: list[KernelCall] = []
    kernels: dict[str, tuple[tirx.PrimFunc, int]] = {}

    def value_of(expression: Any) -> Any:
        if isinstance(expression, tvm.ir.GenericConst):
            return Constant(expression.value.numpy())
        if isinstance(expression, relax.Tuple):
            return [value_of(item) for item in expression.fields]
        if isinstance(expression, relax.TupleGetItem):
            return value_of(expression.tuple_value)[expression.index]
        if isinstance(expression, relax.Var):
            return values[expression]
        raise UnsupportedError(f"it needs {_name_of(expression)}")

    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if not _is_call_tir(value):
                values[binding.var] = value_of(value)
                continue
            if len(value.args) > 2:
                raise UnsupportedError("a kernel has shapes that are not known")
            name = value.args[0].name_hint
            if name not in kernels:
                kernels[name] = schedule(module[value.args[0]])
            types = value.ty_args[0]
            is_tuple = isinstance(types, relax.TupleType)
            made = [_local(kind) for kind in (types.fields if is_tuple else [types])]
            arguments = [value_of(argument) for argument in value.args[1].fields]
            function, iterations = kernels[name]
            calls.append(KernelCall(function, (*arguments, *made), iterations))
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
        dataclasses.replace(call, arguments=tuple(renamed.get(a, a) for a in call.arguments))
        for call in calls
    ]
    for result, _ in copies:
        raise UnsupportedError(f"a result is {type(result).__name__.lower()} and not computed")
    return done


def _is_call_tir(value: Any) -> bool:
    return isinstance(value, relax.Call) and value.op == tvm.ir.Op.get("relax.call_tir")


def _name_of(expression: Any) -> str:
    if isinstance(expression, relax.Call):
        return str(getattr(expression.op, "name", expression.op))
    return type(expression).__name__


def _local(kind: Any) -> Local:
    shape = kind.shape
    if not isinstance(shape, relax.ShapeExpr):
        raise UnsupportedError("a tensor has a shape that is not known")
    sizes = []
    for size in shape.values:
        if not isinstance(size, tirx.IntImm):
            raise UnsupportedError("a tensor has a shape that is not known")
        sizes.append(int(size))
    return Local(str(kind.dtype), tuple(sizes))
