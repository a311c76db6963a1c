"""A function that only calls other functions of its module, as data flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from tdse.errors import TdseError

_HINT = "run tdse.relax.Partition right after from_tflite"


@dataclass(frozen=True)
class Value:
    """A tensor in a function.

    Attributes:
        call: position of the call that makes it, or -1 for a parameter of the function.
        index: which of the call's results, or of the parameters.
    """

    call: int
    index: int


@dataclass(frozen=True)
class Call:
    """A call of another function.

    Attributes:
        function: the callee.
        arguments: one for each of its parameters.
        results: types of what it returns; one if it is no tuple.
        is_tuple: it returns a tuple.
    """

    function: tvm.ir.GlobalVar
    arguments: tuple[Value, ...]
    results: tuple[Any, ...]
    is_tuple: bool


@dataclass(frozen=True)
class Calls:
    """What a function computes.

    Attributes:
        parameters: the function's own.
        calls: in their order.
        returned: the values that it returns.
        is_tuple: it returns a tuple.
        names: of the variables that values are bound to.
    """

    parameters: tuple[relax.Var, ...]
    calls: tuple[Call, ...]
    returned: tuple[Value, ...]
    is_tuple: bool
    names: dict[Value, str]


def read_calls(function: relax.Function, what: str) -> Calls:
    """The calls in ``function``; the functions that it calls are not looked at.

    Args:
        function: a function of calls of global functions, and of tuples and their elements.
        what: what an error calls the function.

    Raises:
        TdseError: there is something else in it.
    """
    return _Reader(function, what).read()


def read_main(module: tvm.IRModule) -> Calls:
    """The calls in ``main`` of ``module``.

    Raises:
        TdseError: there is no ``main``, or something else than calls in it.
    """
    if all(variable.name_hint != "main" for variable in module.get_global_vars()):
        raise TdseError("the IRModule has no function main", hint=_HINT)
    return read_calls(module["main"], "main")


def callee(module: tvm.IRModule, call: Call, caller: str) -> Any:
    """The function that ``call`` calls.

    Raises:
        TdseError: it is not in the module.
    """
    if call.function not in module.functions:
        name = call.function.name_hint
        raise TdseError(f"{caller} calls {name}, which is not in the IRModule", hint=_HINT)
    return module.functions[call.function]


class _Reader:
    def __init__(self, function: relax.Function, what: str) -> None:
        self._function = function
        self._what = what
        self._calls: list[Call] = []
        self._names: dict[Value, str] = {}
        # A variable stands for one value, or for a tuple of values.
        self._bound: dict[Any, Value | tuple[Value, ...]] = {}

    def read(self) -> Calls:
        function = self._function
        for i, parameter in enumerate(function.params):
            self._bind(parameter, Value(-1, i))
        body = function.body
        blocks = body.blocks if isinstance(body, relax.SeqExpr) else []
        for block in blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise self._unknown(binding)
                self._bind(binding.var, self._value(binding.value))
        returned = self._value(body.body if isinstance(body, relax.SeqExpr) else body)
        is_tuple = isinstance(returned, tuple)
        return Calls(
            tuple(function.params),
            tuple(self._calls),
            returned if isinstance(returned, tuple) else (returned,),
            is_tuple,
            self._names,
        )

    def _bind(self, variable: Any, value: Value | tuple[Value, ...]) -> None:
        self._bound[variable] = value
        if isinstance(value, Value):
            self._names.setdefault(value, str(variable.name))

    def _value(self, expression: Any) -> Value | tuple[Value, ...]:
        if isinstance(expression, relax.Var) and expression in self._bound:
            return self._bound[expression]
        if isinstance(expression, relax.Tuple):
            return tuple(self._tensor(field) for field in expression.fields)
        if isinstance(expression, relax.TupleGetItem):
            of = self._value(expression.tuple_value)
            if isinstance(of, tuple):
                return of[expression.index]
        if isinstance(expression, relax.Call) and isinstance(expression.op, tvm.ir.GlobalVar):
            return self._call(expression)
        raise self._unknown(expression)

    def _tensor(self, expression: Any) -> Value:
        value = self._value(expression)
        if isinstance(value, tuple):
            raise self._unknown(expression)
        return value

    def _call(self, call: relax.Call) -> Value | tuple[Value, ...]:
        arguments = tuple(self._tensor(argument) for argument in call.args)
        is_tuple = isinstance(call.ty, relax.TupleType)
        types = tuple(call.ty.fields) if is_tuple else (call.ty,)
        position = len(self._calls)
        self._calls.append(Call(call.op, arguments, types, is_tuple))
        values = tuple(Value(position, i) for i in range(len(types)))
        return values if is_tuple else values[0]

    def _unknown(self, expression: Any) -> TdseError:
        text = " ".join(str(expression).split())
        return TdseError(
            f"{self._what} has more than calls of the module's functions",
            why=text if len(text) <= 80 else f"{text[:77]}...",
            hint=_HINT,
        )
