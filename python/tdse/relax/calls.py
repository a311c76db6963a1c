"""Functions that only call other functions of their module, as data flow: read, and written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import tvm
from tvm import relax

from tdse.errors import TdseError

# Whatever stands for a tensor: its index in a graph, or a variable of another function.
T = TypeVar("T", bound=Hashable)

_HINT = "run tdse.relax.Partition right after from_tflite"


def follow(
    function: relax.Function,
    what: str,
    given: Sequence[T],
    compute: Callable[[relax.Call, tuple[T, ...]], Sequence[T]],
    variables: dict[T, Any] | None = None,
) -> tuple[T, ...]:
    """What ``function`` returns when it is given ``given``.

    Args:
        function: a function of calls of global functions, and of tuples and their elements.
        what: what an error calls the function.
        given: one for each parameter.
        compute: from a call and what it is given to what it returns, one for each tensor.
        variables: takes the variable that each was first bound to.

    Raises:
        TdseError: there is something else in the function, or a number of tensors differs.
    """
    return _Reader(what, compute, {} if variables is None else variables).read(function, given)


@dataclass(frozen=True)
class Step(Generic[T]):
    """A call: of which function, on what, and what it makes; several are the fields of a tuple."""

    function: tvm.ir.GlobalVar
    inputs: tuple[T, ...]
    outputs: tuple[T, ...]


def function_of(
    name: str,
    parameters: Mapping[T, relax.Var],
    steps: Sequence[Step[T]],
    returned: Sequence[T],
    *,
    name_of: Callable[[T], str],
    is_tuple: bool,
    given: Mapping[str, Any],
) -> relax.Function:
    """A function of calls.

    Args:
        name: of the function.
        parameters: by what they stand for.
        steps: in an order in which they can run.
        returned: what it returns.
        name_of: for the variables of what is made.
        is_tuple: it returns a tuple.
        given: its attributes.
    """
    # A builder for each function, because one does not give out a variable's name twice.
    builder = relax.BlockBuilder()
    values: dict[T, Any] = dict(parameters)
    with builder.function(name, list(parameters.values()), attrs=dict(given)):
        with builder.dataflow():
            for step in steps:
                parts: list[Any] = [relax.Call(step.function, [values[t] for t in step.inputs])]
                if len(step.outputs) > 1:
                    bound = builder.emit(parts[0])
                    parts = [relax.TupleGetItem(bound, i) for i in range(len(step.outputs))]
                for made, part in zip(step.outputs, parts, strict=True):
                    emit = builder.emit_output if made in returned else builder.emit
                    values[made] = emit(part, name_of(made))
        results = [values[t] for t in returned]
        builder.emit_func_output(relax.Tuple(results) if is_tuple else results[0])
    return builder.get()[name]


def given_attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a module or function."""
    return dict(owner.attrs) if owner.attrs is not None else {}


def callee(module: tvm.IRModule, call: relax.Call, caller: str) -> Any:
    """The function that ``call`` calls.

    Raises:
        TdseError: it is not in the module.
    """
    if call.op not in module.functions:
        name = call.op.name_hint
        raise TdseError(f"{caller} calls {name}, which is not in the IRModule", hint=_HINT)
    return module.functions[call.op]


class _Reader(Generic[T]):
    def __init__(
        self,
        what: str,
        compute: Callable[[relax.Call, tuple[T, ...]], Sequence[T]],
        variables: dict[T, Any],
    ) -> None:
        self._what = what
        self._compute = compute
        self._variables = variables
        # A variable stands for one tensor, or is a tuple of them.
        self._bound: dict[Any, list[T] | T] = {}

    def read(self, function: relax.Function, given: Sequence[T]) -> tuple[T, ...]:
        for parameter, value in zip(function.params, self._counted(given, function), strict=True):
            self._bind(parameter, value)
        body = function.body
        for block in body.blocks if isinstance(body, relax.SeqExpr) else []:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise self._unknown(binding)
                self._bind(binding.var, self._value(binding.value))
        returned = self._value(body.body if isinstance(body, relax.SeqExpr) else body)
        return tuple(returned) if isinstance(returned, list) else (returned,)

    def _counted(self, given: Sequence[T], function: relax.Function) -> Sequence[T]:
        if len(given) != len(function.params):
            raise self._another_count(self._what, len(function.params), len(given))
        return given

    def _bind(self, variable: Any, value: list[T] | T) -> None:
        self._bound[variable] = value
        if not isinstance(value, list):
            self._variables.setdefault(value, variable)

    def _value(self, expression: Any) -> list[T] | T:
        if isinstance(expression, relax.Var) and expression in self._bound:
            return self._bound[expression]
        if isinstance(expression, relax.Tuple):
            return [self._tensor(field) for field in expression.fields]
        if isinstance(expression, relax.TupleGetItem):
            of = self._value(expression.tuple_value)
            if isinstance(of, list):
                return of[expression.index]
        if isinstance(expression, relax.Call) and isinstance(expression.op, tvm.ir.GlobalVar):
            made = self._compute(expression, tuple(map(self._tensor, expression.args)))
            is_tuple = isinstance(expression.ty, relax.TupleType)
            count = len(expression.ty.fields) if is_tuple else 1
            if len(made) != count:
                raise self._another_count(expression.op.name_hint, count, len(made))
            return list(made) if is_tuple else made[0]
        raise self._unknown(expression)

    def _tensor(self, expression: Any) -> T:
        value = self._value(expression)
        if isinstance(value, list):
            raise self._unknown(expression)
        return value

    def _another_count(self, name: str, count: int, before: int) -> TdseError:
        return TdseError(f"{name} has {count} tensors where it had {before}", hint=_HINT)

    def _unknown(self, expression: Any) -> TdseError:
        text = " ".join(str(expression).split())
        return TdseError(
            f"{self._what} has more than calls of the module's functions",
            why=text if len(text) <= 80 else f"{text[:77]}...",
            hint=_HINT,
        )
